"""Tables computed from readings, as Iceberg tables of the namespace `marts`: hourly, daily, health, gaps, anomalies,
and whatever a lab adds.

`sql/` holds each mart's SQL and what its columns mean, `tables` reads them, `relations` says what their SQL may read,
`refresh` computes the days that changed and commits them, `anomaly_rows` runs the detector of
readings/marts/anomalies.py, `checks` runs their tests, `lineage` says which columns a column is made from.
"""

from homelab_platform.readings.marts.commit import MartReport
from homelab_platform.readings.marts.refresh import ensure_mart_tables, refresh_mart, remove_mart
from homelab_platform.readings.marts.tables import MARTS, Mart, marts_of

__all__ = ["MARTS", "Mart", "MartReport", "ensure_mart_tables", "marts_of", "refresh_mart", "remove_mart"]
