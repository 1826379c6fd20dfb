"""Procedures over several assets (backup, drill, restore, patch): resumable steps over one journal."""
