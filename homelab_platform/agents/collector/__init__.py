"""The collector of this machine's own telemetry."""
