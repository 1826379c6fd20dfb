"""NiFi's REST interface: probes of flows, changes to them, their definitions."""
