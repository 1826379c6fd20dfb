"""The site on a lab's own cluster: where its servers are, and what they must have before anything starts.

Belongs here: reading the environment that `helm/homelab-platform` gives each pod, and the step that its init containers
run (`python -m homelab_platform.servers.site.in_cluster`): wait for PostgreSQL, make databases and, for who works with
readings, buckets that are missing. Not here: what the graph does with them (sites/cluster.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint

PATIENCE = 300.0
"""Seconds that a starting pod waits for PostgreSQL: on a Pi it may come up in the same minute."""
_CHART = "The chart helm/homelab-platform sets it; look at the pod's environment."


def postgres_here(environment: Mapping[str, str]) -> PostgresEndpoint:
    """The database of Dagster's instance. Raises HomelabError that names the variable that is missing or wrong."""
    port = _said(environment, "HOMELAB_PG_PORT")
    if not port.isdigit():
        raise HomelabError.of("HOMELAB_PG_PORT", f"is {port!r}, not a port", _CHART)
    return PostgresEndpoint(
        _said(environment, "HOMELAB_PG_HOST"),
        int(port),
        _said(environment, "HOMELAB_PG_USER"),
        _said(environment, "HOMELAB_PG_DATABASE"),
        _said(environment, "HOMELAB_PG_PASSWORD"),
    )


def lakehouse_here(environment: Mapping[str, str]) -> Lakehouse:
    """The lakehouse of this cluster. Raises HomelabError that names the variable that is missing or wrong.

    Every variable may instead be given as `NAME_FILE`, the path of a file (a mounted secret) with the value.
    """
    objects = ObjectsEndpoint(
        _said(environment, "HOMELAB_S3_URL"),
        _said(environment, "HOMELAB_S3_ACCESS_KEY"),
        _said(environment, "HOMELAB_S3_SECRET_KEY"),
        environment.get("HOMELAB_S3_REGION") or "us-east-1",
    )
    lake = _said(environment, "HOMELAB_LAKE_DATABASE")
    return Lakehouse(postgres_here(environment).with_database(lake), objects)


def _said(environment: Mapping[str, str], name: str) -> str:
    file = environment.get(f"{name}_FILE")
    if file:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise HomelabError.of(f"{name}_FILE", f"{file} cannot be read: {error.strerror}", _CHART) from None
    value = environment.get(name, "")
    if not value:
        raise HomelabError.of(name, "is not set", _CHART)
    return value


def prepare(environment: Mapping[str, str], patience: float = PATIENCE) -> None:
    """Wait for PostgreSQL and make what is missing: databases; buckets too, if the environment knows an S3 server.

    Raises HomelabError when a server refuses, or does not answer within `patience` seconds.
    """
    from homelab_platform.tools.postgres import create_database, database_exists, wait_until_ready

    dagster = postgres_here(environment)
    wait_until_ready(dagster.with_database("postgres"), patience)
    for name in (dagster.database, _said(environment, "HOMELAB_LAKE_DATABASE")):
        if not database_exists(dagster, name):
            create_database(dagster, name)
    if "HOMELAB_S3_URL" in environment:
        from homelab_platform.tools.objects.client import ObjectStore

        lakehouse = lakehouse_here(environment)
        with ObjectStore(lakehouse.objects) as store:
            for bucket in (lakehouse.raw_bucket, lakehouse.lake_bucket):
                store.ensure_bucket(bucket)


def main() -> int:
    """The init containers' one step; says what is in the way in the pod's log."""
    try:
        prepare(os.environ)
    except HomelabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
