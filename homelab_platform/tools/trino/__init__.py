"""Trino: its client, its accounts, its certificates."""
