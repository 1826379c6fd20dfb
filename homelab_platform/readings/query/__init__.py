"""Queries of people: by DuckDB, by Trino, and how their rows are printed."""
