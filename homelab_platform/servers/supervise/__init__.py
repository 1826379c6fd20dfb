"""Processes under supervision: start, health, restart, stop."""
