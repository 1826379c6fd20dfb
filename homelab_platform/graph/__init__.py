"""The Dagster graph of a lab; the only folder that imports dagster."""
