"""Rules about streams of readings: names that S3 and SQL take, sources that exist, columns that agree.

Belongs here: streams, buckets, tables, columns.

Sources: the bucket naming rules of Amazon S3; the reserved words of Trino's SQL grammar and of DuckDB's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab import interfaces
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.model.streams import Prometheus, Stream
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts, ref
from homelab_platform.wire.exposition import selectors

_RESERVED = """
    all alter analyse analyze and any array as asc asymmetric between both by case cast check collate column
    constraint create cross cube current_catalog current_date current_path current_role current_schema
    current_time current_timestamp current_user deallocate default deferrable delete desc describe distinct do
    drop else end escape except execute exists extract false fetch for foreign from full group grouping having
    in initially inner insert intersect into is join json_array json_exists json_object json_query json_table
    json_value lambda lateral leading left like limit listagg localtime localtimestamp natural normalize not
    null offset on only or order outer pivot placing prepare primary qualify recursive references returning
    right rollup select show skip some summarize symmetric table then to trailing trim true uescape union unique
    unnest unpivot using values variadic when where window with
"""
RESERVED = frozenset(_RESERVED.split())
CONTRACT = (
    "ts", "date", "site", "device", "sensor", "value", "unit", "quality", "source", "ingested_at",
)  # fmt: skip
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,127}")


def bucket_name(ctx: RuleContext) -> Iterable[Problem]:
    """S3 takes names of 3 to 63 lower-case letters, digits, dots and hyphens; NiFi finds out at the first write."""
    for path, name in _buckets(ctx):
        if complaint := bucket_complaint(name):
            better = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
            usable = better != name and not bucket_complaint(better)
            remedy = f"Write {better}." if usable else "Use 3 to 63 lower-case letters, digits and hyphens."
            yield ctx.problem(path, f"the bucket name {q.shown(name)} {complaint}", remedy, "bucket-name")


def _buckets(ctx: RuleContext) -> Iterator[tuple[Path, str]]:
    for name, stream in ctx.lab.streams.items():
        if stream.bucket is not None:
            yield ("streams", name, "bucket"), stream.bucket
    for name, workload in ctx.lab.workloads.items():
        for key in ("buckets", "bucket"):
            many = workload.settings.get(key)
            for index, bucket in enumerate(many if isinstance(many, list) else [many]):
                if isinstance(bucket, str):
                    yield ("workloads", name, key, index), bucket
    for name, host in ctx.lab.hosts.items():
        for service, said in host.services.items():
            yield from _service_buckets(("hosts", name, "services", service), said or {})


def _service_buckets(path: Path, said: dict[str, object]) -> Iterator[tuple[Path, str]]:
    for key in ("buckets", "bucket"):
        many = said.get(key)
        for index, bucket in enumerate(many if isinstance(many, list) else [many]):
            if isinstance(bucket, str):
                yield (*path, key, index), bucket


def bucket_complaint(name: str) -> str:
    """What is wrong with the name of a bucket; '' when nothing is."""
    if not 3 <= len(name) <= 63:
        return f"has {len(name)} characters"
    if not _BUCKET.fullmatch(name) or ".." in name:
        return "is not one that S3 takes"
    if name.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or name.endswith(
        ("-s3alias", "--ol-s3", ".mrap", "--x-s3")
    ):
        return "is reserved by S3"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return ""
    return "looks like an address"


def reserved_sql_name(ctx: RuleContext) -> Iterable[Problem]:
    """A table or column that is called like a word of SQL must be quoted in every query, and breaks all others."""
    for name, stream in ctx.lab.streams.items():
        namespace, _, table = stream.table.partition(".")
        for word, what_is in ((namespace, "the schema"), (table, "the table")):
            if word in RESERVED and not (word == "default" and word == namespace):
                what = f"{name}: {what_is} {word} of {stream.table} is a reserved word of SQL"
                path: Path = ("streams", name, "table")
                yield ctx.problem(path, what, f"Call it {word}_data, for example.", "reserved-sql-name")
        if namespace in ("information_schema", "system", "pg_catalog"):
            what = f"{name}: the schema {namespace} belongs to the SQL engine"
            yield ctx.problem(("streams", name, "table"), what, f"Write default.{table}.", "reserved-sql-name")
        for column in stream.columns:
            path = ("streams", name, "columns", column)
            if column in CONTRACT:
                what = f"{name}: every reading has a column {column} already"
                yield ctx.problem(path, what, f"Call it {name}_{column}, for example.", "reserved-sql-name", key=True)
            elif column in RESERVED:
                what = f"{name}: the column {column} is a reserved word of SQL"
                yield ctx.problem(path, what, f"Call it {column}_of, for example.", "reserved-sql-name", key=True)
            elif not _COLUMN.fullmatch(column):
                better = re.sub(r"[^a-z0-9_]+", "_", column.lower()).strip("_")
                what = f"{name}: {q.shown(column)} cannot be a column"
                hint = f" Write {better}." if _COLUMN.fullmatch(better) else ""
                remedy = f"Columns are lower-case letters, digits and underscores, a letter first.{hint}"
                yield ctx.problem(path, what, remedy, "reserved-sql-name", key=True)


def own_tables(ctx: RuleContext) -> Iterable[Problem]:
    """Tables that the platform itself fills cannot be a stream's."""
    resolved = ctx.resolved
    marts = {mart.rpartition(".")[2] for mart in (resolved.marts if resolved else ())}
    for name, stream in ctx.lab.streams.items():
        table = stream.table.rpartition(".")[2]
        if table.endswith("_rejected") or table in marts:
            kind = "keeps what was rejected" if table.endswith("_rejected") else "is computed from others"
            what = f"{name}: the table {stream.table} {kind}; a stream cannot fill it"
            yield ctx.problem(("streams", name, "table"), what, "Write default.sensor_data.", "own-tables")


def columns_disagree(ctx: RuleContext) -> Iterable[Problem]:
    """Streams that share a table share its columns: one of two types could not be stored."""
    seen: dict[tuple[str, str], tuple[str, str, Path]] = {}
    for name, stream in ctx.lab.streams.items():
        for column, kind in stream.columns.items():
            path: Path = ("streams", name, "columns", column)
            first, other, where = seen.setdefault((stream.table, column), (kind, name, path))
            if first != kind:
                what = f"{name}: {column} is {kind} here and {first} in {other} {ref(ctx, where, path)}"
                remedy = f"Use one type, or give {name} a table of its own (table: default.{name.replace('-', '_')})."
                yield ctx.problem(path, what, remedy, "columns-disagree")


def stream_source(ctx: RuleContext) -> Iterable[Problem]:
    """A stream whose broker, server or flow is not in the lab never brings a reading."""
    here = facts(ctx).names_here
    for name, stream in ctx.lab.streams.items():
        for path, what, remedy in _source_complaints(name, stream, here):
            yield ctx.problem(path, f"{name}: {what}", remedy, "stream-source")


def _source_complaints(name: str, stream: Stream, here: set[str]) -> Iterator[tuple[Path, str, str]]:
    path: Path = ("streams", name, "from")
    source = stream.from_
    if source.mqtt and source.mqtt.broker is None and interfaces.MQTT not in here:
        yield (
            (*path, "mqtt"), "readings come by MQTT, but the lab has no broker",
            "Add mosquitto: to workloads, or name one (broker: 192.168.0.5).",
        )  # fmt: skip
    if source.mqtt and (complaint := topic_complaint(source.mqtt.topic)):
        yield (*path, "mqtt", "topic"), complaint, "Write it as MQTT does: sensors/+/environment, sensors/#."
    if source.prometheus:
        yield from _prometheus_complaints((*path, "prometheus"), source.prometheus, here)
    if stream.via == "nifi" and "nifi" not in here:
        yield (
            ("streams", name, "via"),
            "readings come through NiFi, which is not in the lab",
            "Add nifi:, or write via: direct.",
        )
    if source.rest and source.rest.statistics and source.rest.shape == "readings":
        yield (*path, "rest", "shape"), "statistics are not of the shape readings", "Leave shape out."
    if source.rest and not re.match(r"https?://[^\s/]+", source.rest.url):
        yield (*path, "rest", "url"), f"{q.shown(source.rest.url)} is no address", "Write https://… in full."


def _prometheus_complaints(path: Path, source: Prometheus, here: set[str]) -> Iterator[tuple[Path, str, str]]:
    if source.exporter is None:
        if source.server is None and interfaces.PROMETHEUS not in here:
            remedy = "Add monitoring: to workloads, or name one (server: http://…, exporter: 192.168.0.5:9100)."
            yield path, "readings come from Prometheus, but the lab has none", remedy
        if not source.query:
            yield path, "a Prometheus server is asked for nothing", "Write what it is asked (query: node_load1)."
        return
    if source.server is not None:
        yield (*path, "server"), "readings come from exporters and from a server", "Make one stream for each."
    try:
        selectors(source.query)
    except ValueError as error:
        yield (*path, "query"), str(error), "Name metrics joined by `or`, or ask a server (server: http://…)."


def topic_complaint(topic: str) -> str:
    """What is wrong with an MQTT topic filter (MQTT 5.0, section 4.7.1); '' when nothing is."""
    levels = topic.split("/")
    if not topic or len(topic.encode()) > 65_535 or "\x00" in topic:
        return "an MQTT topic has 1 to 65,535 bytes"
    if "#" in topic and (topic.count("#") > 1 or levels[-1] != "#"):
        return f"{q.shown(topic)}: # stands alone at the end of a topic"
    if any("+" in level and level != "+" for level in levels):
        return f"{q.shown(topic)}: + stands alone between slashes"
    return ""


def sensor_twice(ctx: RuleContext) -> Iterable[Problem]:
    """Two streams with the same files or topic would count every reading twice, under two names."""
    seen: dict[tuple[str, str], tuple[str, Path]] = {}
    for name, stream in ctx.lab.streams.items():
        source = stream.from_
        places = {
            "mqtt": f"{source.mqtt.broker}:{source.mqtt.port}/{source.mqtt.topic}" if source.mqtt else "",
            "files": source.files.path.strip("/") if source.files else "",
            "http": source.http.path if source.http else "",
        }
        for kind, place in places.items():
            path: Path = ("streams", name, "from", kind)
            first, where = seen.setdefault((kind, place), (name, path)) if place else (name, path)
            if first != name and ctx.lab.streams[first].table == stream.table:
                what = f"{name} reads what {first} reads already {ref(ctx, where, path)}"
                yield ctx.problem(path, what, "Join the two streams, or give each a source of its own.", "sensor-twice")


RULES = (bucket_name, reserved_sql_name, own_tables, columns_disagree, stream_source, sensor_twice)
