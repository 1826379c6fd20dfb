"""Whether Dagster's daemon lives: `python -m homelab_platform.agents.pulse [--alive]`, the probe of its pod.

Belongs here: one question to the database, without Dagster, whose own command costs seconds of CPU a time. A daemon
writes a heartbeat of each of its threads every 30 seconds; the sensors' is the one that everything else waits for.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from datetime import UTC, datetime

from homelab_platform.errors import HomelabError
from homelab_platform.servers.site.in_cluster import postgres_here
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform.tools.postgres import PostgresUnreachable, connect

LONGEST = 180.0
"""Seconds without a heartbeat after which the daemon counts as dead; Dagster's own pages call it unhealthy then too."""
_NEWEST = "SELECT max(timestamp) FROM daemon_heartbeats WHERE daemon_type = 'SENSOR'"


def silence(endpoint: PostgresEndpoint) -> float | None:
    """Seconds since the last heartbeat; None if there never was one. Raises HomelabError as `connect` does."""
    from psycopg import errors

    with closing(connect(endpoint, timeout=5, application="homelab pulse")) as connection:
        try:
            row = connection.execute(_NEWEST).fetchone()
        except errors.UndefinedTable:
            return None
    if row is None or row[0] is None:
        return None
    moment = row[0] if row[0].tzinfo else row[0].replace(tzinfo=UTC)
    return float((datetime.now(UTC) - moment).total_seconds())


def main(words: list[str]) -> int:
    """0 if the heart beats. With `--alive` also if the database does not answer: a restart would not bring it back."""
    try:
        seconds = silence(postgres_here(os.environ))
    except PostgresUnreachable as error:
        sys.stderr.write(f"{error}\n")
        return 0 if "--alive" in words else 1
    except HomelabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if seconds is None or seconds > LONGEST:
        sys.stderr.write("no heartbeat yet\n" if seconds is None else f"the last heartbeat was {seconds:.0f} s ago\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
