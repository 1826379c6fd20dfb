"""Servers that are installed once for this user and shared by every checkout."""
