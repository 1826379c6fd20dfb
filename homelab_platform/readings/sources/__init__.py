"""Where readings come from: this machine's telemetry, files that people drop, simulated sensors.

Each source ends with immutable raw objects in the raw bucket; none of them knows the tables.
"""
