"""Backup, drill, restore, patch, retention: resumable steps over a journal."""
