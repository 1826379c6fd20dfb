"""Iceberg tables: metadata files, snapshots, the catalog."""
