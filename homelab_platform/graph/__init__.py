"""The Dagster side: assets per layer, checks, sensors, schedules, resources. The only folder that imports dagster."""
