"""How old tables and marts may become: Dagster's freshness policies, from what the lab says of its sensors.

Belongs here: the policy of each. Not here: the check `freshness`, which looks at each series by itself.
"""

from datetime import timedelta

import dagster as dg

from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.documents import table_key
from homelab_platform.plan.layers import make_key

INTERVALS = 5
LEAST = timedelta(minutes=15)
MART_LAG = timedelta(hours=1)
"""How much later than its table a mart may be: it is computed every few minutes, and behind other work."""


def freshness_policies(lab: ResolvedLab) -> dict[str, dg.FreshnessPolicy]:
    """The policy of each table whose sensors have a known pace, and of the marts, by asset key.

    A table is late when none of its sensors was heard of for five intervals of the slowest, and 15 minutes at least.
    """
    tables: dict[str, timedelta] = {}
    for stream in lab.streams.values():
        paces = [sensor.every for sensor in stream.sensors.values() if sensor.every]
        if paces:
            key = table_key(stream.table)
            window = max(LEAST, timedelta(seconds=INTERVALS * max(paces)))
            tables[key] = max(window, tables.get(key, LEAST))
    if not tables:
        return {}
    lag = max(tables.values()) + MART_LAG
    windows = tables | {make_key("mart", name): lag for name in lab.marts}
    return {key: dg.FreshnessPolicy.time_window(fail_window=window) for key, window in windows.items()}
