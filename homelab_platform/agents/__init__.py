"""Processes with a main(): the bridge from MQTT, the collector of this machine, the pulse of the daemon."""
