"""Derived facts of readings: streams, buckets, tables and marts.

Belongs here: everything between a sensor and the last mart. Units: durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab import interfaces
from homelab_platform.lab.marts import MartText, reads_of
from homelab_platform.lab.model.streams import Stream
from homelab_platform.lab.resolve.chosen import Draft, facts_of, plain
from homelab_platform.lab.resolved import (
    ResolvedBucket,
    ResolvedColumn,
    ResolvedGrant,
    ResolvedHost,
    ResolvedMart,
    ResolvedSensor,
    ResolvedStream,
    ResolvedTable,
    ResolvedWorkload,
)
from homelab_platform.names import LAKE_BUCKET, RAW_BUCKET

OLD_VERSIONS, UNFINISHED = 30 * 86_400, 2 * 86_400  # seconds that replaced objects and broken-off uploads stay
_LAKE_ACCESS = {
    "guest": ResolvedGrant(right="read", under=("marts/",)),
    "ingest": ResolvedGrant(right="change"),
    "trino": ResolvedGrant(right="change"),
}
"""Guests read files of marts alone; what they may ask of Trino is Trino's own rule."""


def resolve_streams(
    draft: Draft, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]
) -> dict[str, ResolvedStream]:
    """Every stream of the lab by name."""
    return {name: _stream(draft, name, draft.lab.streams[name], hosts, workloads) for name in sorted(draft.lab.streams)}


def _stream(
    draft: Draft,
    name: str,
    stream: Stream,
    hosts: Mapping[str, ResolvedHost],
    workloads: Mapping[str, ResolvedWorkload],
) -> ResolvedStream:
    return ResolvedStream(
        name=name,
        source=stream.from_.kind,
        source_settings=_source(draft, stream, hosts, workloads),
        bucket=stream.bucket or RAW_BUCKET,
        prefix=f"{name}/",
        table=stream.table,
        devices=tuple(sorted(stream.devices)),
        sensors={
            sensor: ResolvedSensor(
                name=sensor,
                unit=said.unit,
                low=said.range[0] if said.range else None,
                high=said.range[1] if said.range else None,
                every=said.every,
            )
            for sensor, said in stream.sensors.items()
        },
        columns=dict(stream.columns),
        tz=stream.tz,
        keep_raw=stream.keep.raw,
        keep_table=stream.keep.table,
    )


def _source(
    draft: Draft, stream: Stream, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]
) -> dict[str, Any]:
    kind = stream.from_.kind
    facts: dict[str, object] = facts_of(getattr(stream.from_, kind), exclude_none=True)
    facts["site"] = stream.site
    nifi = draft.first("nifi")
    usual = "nifi" if nifi and kind != "machine" else "direct"
    facts["via"] = stream.via or usual
    if kind == "mqtt":
        facts.setdefault("broker", _reached_at(draft, interfaces.MQTT, hosts, workloads))
    if kind == "prometheus" and not facts.get("exporter"):
        facts.setdefault("server", _reached_at(draft, interfaces.PROMETHEUS, hosts, workloads))
    return {key: value for key, value in facts.items() if value is not None}


def _reached_at(
    draft: Draft, word: str, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]
) -> str | None:
    """Where the lab's own broker or Prometheus answers."""
    name = draft.first(word)
    if name is not None:
        found = workloads[name]
        return found.address or found.hostname or f"{name}.{found.namespace}.svc.cluster.local"
    return next(
        (h.address or h.dns_names[0] for h in hosts.values() if interfaces.service_with(h.services, word)), None
    )


def resolve_buckets(
    draft: Draft, streams: Mapping[str, ResolvedStream], workloads: Mapping[str, ResolvedWorkload]
) -> dict[str, ResolvedBucket]:
    """The raw bucket and the lake, buckets that streams name, and those that workloads ask for."""
    encrypted = any(w.settings.get("encrypted") == "at-rest" for w in workloads.values())
    found: dict[str, ResolvedBucket] = {}
    if streams:
        found[LAKE_BUCKET] = _bucket(LAKE_BUCKET, "platform", encrypted, access=_LAKE_ACCESS)
        found[RAW_BUCKET] = _raw_bucket(RAW_BUCKET, "platform", encrypted, streams)
    for stream in streams.values():
        if stream.bucket not in found:
            found[stream.bucket] = _raw_bucket(stream.bucket, stream.name, encrypted, streams)
    for name, workload in workloads.items():
        for bucket, versioning in _asked_for(draft, name, workload):
            own = {name: ResolvedGrant(right="change")}
            found.setdefault(bucket, _bucket(bucket, name, encrypted, versioning=versioning, access=own))
    return dict(sorted(found.items()))


def _bucket(name: str, owner: str, encrypted: bool, *, versioning: bool = False, **said: object) -> ResolvedBucket:
    return ResolvedBucket(
        name=name,
        owner=owner,
        encrypted=encrypted,
        versioning=versioning,
        old_versions=OLD_VERSIONS if versioning else None,
        unfinished=UNFINISHED,
        **said,
    )


def _raw_bucket(name: str, owner: str, encrypted: bool, streams: Mapping[str, ResolvedStream]) -> ResolvedBucket:
    """A bucket of raw objects: each stream's own time, and for each producer the prefixes of its streams alone."""
    own = sorted((s for s in streams.values() if s.bucket == name), key=lambda stream: stream.prefix)
    producers: dict[str, list[str]] = {}
    for stream in own:
        producers.setdefault(_producer(stream), []).append(stream.prefix)
    access = {user: ResolvedGrant(right="put", under=tuple(prefixes)) for user, prefixes in sorted(producers.items())}
    access["ingest"] = ResolvedGrant(right="read")
    return _bucket(name, owner, encrypted, keep={s.prefix: s.keep_raw for s in own}, access=access)


def _producer(stream: ResolvedStream) -> str:
    """Who writes a stream's raw objects: NiFi, or our own collector."""
    return "nifi" if stream.source_settings.get("via") == "nifi" else "collector"


def _asked_for(draft: Draft, name: str, workload: ResolvedWorkload) -> list[tuple[str, bool]]:
    entry = draft.chosen[name].entry
    rows: list[tuple[str, bool]] = []
    for bucket, spec in entry.buckets.items() if entry else ():
        full = bucket if bucket.startswith(name) else f"{name}-{bucket}"
        rows.append((full[:63], bool(getattr(spec, "versioning", False))))
    listed = workload.settings.get("buckets")
    rows += [(str(bucket), False) for bucket in listed] if isinstance(listed, list) else []
    return rows


def resolve_tables(streams: Mapping[str, ResolvedStream]) -> dict[str, ResolvedTable]:
    """Each table that streams fill, and beside it the one for what is no reading."""
    found: dict[str, ResolvedTable] = {}
    for table in sorted({stream.table for stream in streams.values()}):
        own = {name: s for name, s in streams.items() if s.table == table}
        kept = [s.keep_table for s in own.values()]
        keep = None if None in kept else max(k for k in kept if k is not None)
        columns = {c: kind for name in sorted(own) for c, kind in sorted(own[name].columns.items())}
        found[table] = ResolvedTable(name=table, streams=tuple(own), bucket=LAKE_BUCKET, keep=keep, columns=columns)
        rejected = f"{table}_rejected"
        found[rejected] = ResolvedTable(name=rejected, streams=tuple(own), bucket=LAKE_BUCKET, keep=keep)
    return found


def resolve_marts(
    streams: Mapping[str, ResolvedStream], tables: Mapping[str, ResolvedTable], own: Mapping[str, MartText]
) -> dict[str, ResolvedMart]:
    """The marts over the readings (hourly, daily, health of devices, gaps and anomalies), and the lab's own."""
    readings = tuple(sorted({stream.table for stream in streams.values()}))
    if not readings:
        return {}
    rejected = tuple(name for name in tables if name.endswith("_rejected"))
    every: dict[str, float] = {}
    for stream in streams.values():
        for sensor in stream.sensors.values():
            if sensor.every is not None:
                every[sensor.name] = min(sensor.every, every.get(sensor.name, sensor.every))
    devices = sorted({device for stream in streams.values() for device in stream.devices})
    marts = (
        ResolvedMart(name="readings_hourly", reads=readings),
        ResolvedMart(name="readings_daily", reads=readings),
        ResolvedMart(name="device_health", reads=(*readings, *rejected), settings={"devices": devices}),
        ResolvedMart(name="gaps", reads=readings, settings={"every": every}),
        ResolvedMart(name="anomalies", reads=readings),
    )
    found = {mart.name: mart for mart in marts}
    for name, text in own.items():
        if name not in found:
            found[name] = _own_mart(text, readings, rejected)
    return found


def _own_mart(text: MartText, readings: tuple[str, ...], rejected: tuple[str, ...]) -> ResolvedMart:
    file = text.file
    try:
        found = reads_of(text.sql, text.sql_file)
    except HomelabError:
        reads: set[str] = set()  # rules/marts.py says where its SQL is wrong
    else:
        reads = {table.removeprefix("marts.") for table in found.tables}
        reads |= set(readings) if found.relations & {"readings", "history"} else set()
        reads |= set(rejected) if "rejected" in found.relations else set()
    columns = tuple(
        ResolvedColumn(name=name, kind=column.type, about=column.about, unit=column.unit)
        for name, column in file.columns.items()
    )
    return ResolvedMart(
        name=text.name,
        reads=tuple(sorted(reads)),
        about=file.about,
        sql=text.sql,
        columns=columns,
        sort=tuple(file.sort),
        lookback=file.lookback,
        apart=tuple(file.apart),
        tests=plain(file.tests.model_dump(exclude_defaults=True)),
    )
