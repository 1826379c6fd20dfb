"""Tables computed from readings, as Iceberg tables of the namespace `marts`: hourly, daily, health, gaps, anomalies.

`tables` says what each mart holds and how it is computed, `refresh` computes the days that changed and commits them,
`anomaly_rows` runs the detector of readings/anomalies.py.
"""

from homelab_platform.readings.marts.refresh import MartReport, ensure_mart_tables, refresh_mart, remove_mart
from homelab_platform.readings.marts.tables import MARTS, Mart

__all__ = ["MARTS", "Mart", "MartReport", "ensure_mart_tables", "refresh_mart", "remove_mart"]
