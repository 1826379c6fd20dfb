"""The embedded servers of the default site: install, start, health, stop. Loopback only."""
