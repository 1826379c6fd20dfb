"""The sensor-data path: contract, sources, ingest, quality, marts. Knows no Dagster."""
