"""`table/<name>`: Iceberg tables of readings, their ingest and their upkeep."""
