"""The `homelab` command: thin, calls what the graph calls."""
