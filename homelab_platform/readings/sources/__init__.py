"""Where readings come from: files that people drop, polled addresses, statistics, simulated sensors.

Each source ends with immutable raw objects in the raw bucket; none of them knows the tables.
"""
