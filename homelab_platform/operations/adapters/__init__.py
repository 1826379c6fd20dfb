"""How each layer's assets are observed and changed, per site; free of Dagster, so that tests and the command use it."""
