"""What each kind of item is asked once its copy stands in a scratch place: rows, and questions of its own.

Belongs here: starting scratch servers, loading a copy, the findings. Not here: restoring the copy's files, or the proof
(operations/drill.py). Each rehearsal leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

from homelab_platform.layers.backups import database, lake, pin
from homelab_platform.layers.backups.manifest import Manifest, compare_rows
from homelab_platform.layers.backups.mirror import upload
from homelab_platform.names import Say
from homelab_platform.readings.quality import reconciliation, reconciliation_files
from homelab_platform.servers.scratch.servers import make_lakehouse, scratch_servers
from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.objects.client import ObjectStore


def rehearse_lake(
    restored: Path, manifest: Manifest, scratch: Path, say: Say, *, lakehouse: Lakehouse, programs: Path
) -> list[str]:
    """A copy of the lake on a PostgreSQL and an S3 server of its own, with the bucket names of `lakehouse`.

    Rows and checksums of every table are compared with the manifest; then the platform's own questions are asked: do
    all files exist, does the table agree with the ledger, is each reading there once.
    """
    with scratch_servers(scratch) as servers:
        place = Lakehouse(
            servers.postgres.with_database("lake"), servers.objects, lakehouse.raw_bucket, lakehouse.lake_bucket
        )
        make_lakehouse(place)
        lake.load_lake(manifest, restored, place, programs)
        findings = compare_rows(manifest.tables, lake.found_rows(place)) + lake.compare_lake(manifest, place)
        if findings:
            return findings
        say(f"{sum(table.rows.count for table in manifest.lake.values())} rows equal, in {len(manifest.lake)} tables")
        io = iceberg.open_io(place)
        with closing(io.store):
            pin.settle_restored(place, io)
        return _verdicts(place)


def _verdicts(place: Lakehouse) -> list[str]:
    """The platform's own checks that a restored lake does not pass."""
    found = (
        reconciliation_files.files_exist(place),
        reconciliation.rows_agree(place, everything=True),
        reconciliation.no_duplicates(place, everything=True),
    )
    return [f"{verdict.name}: {verdict.description}" for verdict in found if not verdict.passed]


def rehearse_database(restored: Path, manifest: Manifest, scratch: Path, say: Say, *, programs: Path) -> list[str]:
    """A copy of a database on a PostgreSQL of its own: rows and checksums of every table."""
    with scratch_servers(scratch) as servers:
        place = servers.postgres.with_database("restored")
        postgres.create_database(place, place.database)
        database.load_database(restored, place, programs)
        findings = compare_rows(manifest.tables, database.found_rows(place))
    if not findings:
        say(f"{sum(rows.count for rows in manifest.tables.values())} rows equal, in {len(manifest.tables)} tables")
    return findings


def rehearse_bucket(restored: Path, manifest: Manifest, scratch: Path, say: Say, *, bucket: str) -> list[str]:
    """A copy of a bucket on an S3 server of its own: every key with its size, and the hash of what is read back."""
    with scratch_servers(scratch) as servers, ObjectStore(servers.objects) as store:
        store.ensure_bucket(bucket)
        upload(store, restored, manifest.files)
        findings: list[str] = []
        for entry in manifest.files:
            found = hashlib.sha256(store.get(bucket, entry.name.removeprefix(f"s3://{bucket}/"))).hexdigest()
            if found != entry.sha256:
                findings.append(f"{entry.name}: reads back otherwise than it was saved")
    say(f"{len(manifest.files)} objects read back")
    return findings


def rehearse_files(restored: Path, manifest: Manifest, scratch: Path, say: Say) -> list[str]:
    """A copy of files, whose bytes were compared already: JSON among them can be read, and none is empty."""
    findings: list[str] = []
    for entry in manifest.files:
        content = (restored / entry.path).read_bytes()
        if not content:
            findings.append(f"{entry.name}: is empty")
        elif entry.name.endswith(".json"):
            try:
                json.loads(content)
            except ValueError as error:
                findings.append(f"{entry.name}: is not JSON: {error}")
    say(f"{len(manifest.files)} files can be read")
    return findings
