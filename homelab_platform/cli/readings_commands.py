"""`homelab ingest`, `query`, `readings`: sensor data in and out.

Belongs here: options, progress and how answers are printed. Not here: what a reading is or how it gets into the table
(readings/).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homelab_platform.cli import common, output
from homelab_platform.cli.undo_commands import undo
from homelab_platform.errors import HomelabError, Problem

if TYPE_CHECKING:
    from homelab_platform.cli.file_outcomes import FileOutcome
    from homelab_platform.lab.resolved import ResolvedStream
    from homelab_platform.readings.decode.mapping import Mapping
    from homelab_platform.readings.ingest import IngestReport
    from homelab_platform.readings.query.run import QueryResult
    from homelab_platform.servers.site.site import Site
    from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
    from homelab_platform.tools.trino.client import TrinoResult


class Engine(StrEnum):
    """Who answers a query."""

    duckdb = "duckdb"
    trino = "trino"


class Format(StrEnum):
    """How a query's rows are written."""

    table = "table"
    csv = "csv"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(ingest)
    app.command()(query)
    family = typer.Typer(
        help="Look into the readings: what was rejected, take a delivery back, simulate.", no_args_is_help=True
    )
    family.command()(rejected)
    family.command()(simulate)
    family.command()(undo)
    app.add_typer(family, name="readings")


def ingest(
    files: Annotated[list[Path] | None, typer.Argument(help="NDJSON, CSV or Parquet, gzip or not.")] = None,
    stream: Annotated[str, typer.Option(help="Stream that the files belong to.")] = "files",
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", "-m", metavar="FIELD=COLUMN", help="ts, device, sensor, value, unit, site. Repeatable."),
    ] = None,
    constant: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="FIELD=VALUE", help="A field that is the same in every row. Repeatable."),
    ] = None,
    melt: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Columns that are sensors of their own. Repeatable.")
    ] = None,
    timezone: Annotated[str | None, typer.Option("--tz", help="Time zone of times without one.")] = None,
    time_format: Annotated[str | None, typer.Option("--time-format", help="strptime format of the time.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of text that is not UTF-8, such as cp1251.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates columns, where it is not found.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal mark of numbers: , or .")] = None,
    new_stream: Annotated[
        bool, typer.Option("--new-stream", help="The stream is new: do not ask whether it was misspelt.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Values that differ from those of the table replace them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would become of the first lines of each file, and stop.")
    ] = False,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Bring files of readings into the table; without files, whatever waits in the bucket.

    Safe to repeat: a reading counts once, however often it is delivered. Exit code 1 when a file gave nothing, or
    holds lines that contradict each other.
    """
    from homelab_platform.cli.file_outcomes import await_outcomes, confirm_stream
    from homelab_platform.readings.sources.files import put_files

    path = common.find_lab(lab)
    spelling = {"encoding": encoding, "separator": separator, "decimal": decimal}
    given = (mapping or [], constant or [], melt or [])
    chosen = _mapping(*given, timezone, time_format, spelling, replaces=replace)
    paths = list(files or ())
    streams = common.resolved_lab(path).streams
    zone = streams[stream].tz if stream in streams else None
    if dry_run:
        _tell_plans(paths, chosen, zone, as_json=as_json)
        return
    if paths and stream not in streams and not new_stream:
        confirm_stream(stream, streams)
    lakehouse = common.running_site(path).lakehouse
    with output.steps(quiet=as_json) as progress:
        uploaded = put_files(lakehouse, paths, stream=stream, mapping=chosen, zone=zone, progress=progress)
        report = _taken_in(lakehouse, [file.key for file in uploaded], streams, _committed(progress))
        outcomes = await_outcomes(lakehouse, uploaded, progress)
    _tell_ingest(report, outcomes, as_json=as_json)
    failed = any(outcome.failed for outcome in outcomes) if outcomes else bool(report.failed)
    raise typer.Exit(1 if failed else 0)


def _tell_plans(paths: list[Path], mapping: Mapping | None, zone: str | None, *, as_json: bool) -> None:
    from homelab_platform.readings.sources.files import describe

    plans = describe(paths, mapping=mapping, zone=zone)
    output.write_json([plan.to_dict() for plan in plans]) if as_json else output.say("\n".join(map(str, plans)))


def _taken_in(
    lakehouse: Lakehouse,
    keys: list[str],
    streams: MappingOf[str, ResolvedStream],
    progress: Callable[[IngestReport], None],
) -> IngestReport:
    """Ingest the objects `keys`, those that were taken back before as well; without any, whatever waits."""
    from homelab_platform.readings.ingest import bring_back, ingest_objects, ingest_pending

    if not keys:
        return ingest_pending(lakehouse, streams, progress=progress)
    bring_back(lakehouse, keys)
    return ingest_objects(lakehouse, keys, streams, progress=progress)


def _tell_ingest(report: IngestReport, outcomes: Sequence[FileOutcome], *, as_json: bool) -> None:
    from homelab_platform.cli.file_outcomes import say_outcomes

    if as_json:
        output.write_json({"files": [outcome.to_dict() for outcome in outcomes], **_ingest_dict(report)})
    elif outcomes:
        say_outcomes(outcomes)
    else:
        _say_ingest(report)


def _committed(progress: Callable[[str], None]) -> Callable[[IngestReport], None]:
    return lambda report: progress(f"{report.rows:,} readings from {report.objects:,} objects committed")


def _ingest_dict(report: IngestReport) -> dict[str, Any]:
    return {
        **dataclasses.asdict(report),
        "failed": [{"object": key, **problem.to_dict()} for key, problem in report.failed],
    }


def _mapping(
    columns: list[str],
    constants: list[str],
    melt: list[str],
    timezone: str | None,
    time_format: str | None,
    spelling: dict[str, str | None],
    *,
    replaces: bool,
) -> Mapping | None:
    """The mapping that the options describe, or None when there are none; raises HomelabError for a bad one."""
    from homelab_platform.readings.decode.mapping import Mapping

    data: dict[str, Any] = {}
    problems = []
    for kind, options in (("column", columns), ("const", constants)):
        for option in options:
            name, equals, value = option.partition("=")
            if not equals or not value:
                problems.append(Problem(option, "is not FIELD=VALUE", "For example --map value=temperature."))
            data[name] = {kind: _number(value) if kind == "const" and name == "value" else value}
    if timezone or time_format:
        source = data.setdefault("ts", {"column": "ts"})
        source.update({k: v for k, v in (("tz", timezone), ("format", time_format)) if v})
    if melt:
        data["melt"] = melt
    if any(spelling.values()):
        data["text"] = {name: value for name, value in spelling.items() if value}
    if problems:
        raise HomelabError(problems)
    found = Mapping.parse(data) if data else None
    return dataclasses.replace(found or Mapping(), replaces=True) if replaces else found


def _number(text: str) -> float | str:
    with suppress(ValueError):
        return float(text)
    return text


def _say_ingest(report: IngestReport) -> None:
    output.say(
        f"{output.count(report.rows, 'reading')} from {output.count(report.objects, 'object')} in "
        f"{output.duration(report.seconds)}; {report.duplicates:,} already there, {report.rejected:,} rejected."
    )
    if report.rejected:
        output.say("See why: homelab readings rejected")
    if report.failed:
        output.print_problems([problem for _key, problem in report.failed])


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's or Trino's dialect; - reads it from stdin.")],
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="Default: table on a terminal, else CSV.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Stop after this many seconds.")] = None,
    engine: Annotated[Engine, typer.Option(help="Who answers; trino where the site runs it.")] = Engine.duckdb,
    user: Annotated[
        str | None, typer.Option("--as", metavar="PERSON", help="Ask Trino as a person of the lab, with their rights.")
    ] = None,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Ask the lab's tables: hive.default.sensor_data, hive.marts.readings_hourly and the others."""
    from homelab_platform.readings.query import output as query_output

    text = sys.stdin.read() if sql == "-" else sql
    site = common.running_site(common.find_lab(lab))
    chosen = Format.json if as_json else form or (Format.table if sys.stdout.isatty() else Format.csv)
    writers = {
        Format.table: query_output.format_table,
        Format.csv: query_output.format_csv,
        Format.json: query_output.format_json,
    }
    with _answer(site, engine, user, text, limit, timeout) as result:
        written = writers[chosen](result, sys.stdout)
        if result.truncated:
            output.note(f"Only the first {output.count(written, 'row')}; there are more (--limit).")


def _answer(
    site: Site, engine: Engine, user: str | None, sql: str, limit: int | None, timeout: float | None
) -> QueryResult | TrinoResult:
    """The rows of a query from the engine that was asked for."""
    if engine is Engine.duckdb:
        from homelab_platform.readings.query.run import run_query

        if user is not None:
            raise HomelabError.of("--as", "people have rights in Trino only", "Add --engine trino.")
        return run_query(site.lakehouse, sql, limit=limit, timeout=timeout)
    from homelab_platform.readings.query.trino import run_on_trino

    return run_on_trino(_trino_of(site, user), sql, limit=limit, timeout=timeout)


def _trino_of(site: Site, user: str | None) -> TrinoEndpoint:
    """The site's Trino as the platform's own account or as a person."""
    from dataclasses import replace

    from homelab_platform.servers.site.files import Layout
    from homelab_platform.servers.trino import person_password

    found = site.engines.trino
    if found is None:
        raise HomelabError.of("--engine trino", "this site runs no Trino", "Start it: homelab up --profile full")
    if user is None:
        return found
    return replace(found, user=user, password=person_password(Layout(site.root).trino, user))


REJECTED = (
    "SELECT ingested_at, source, line, reason, left(raw, 200) AS raw FROM hive.default.sensor_data_rejected "
    "ORDER BY ingested_at DESC, source, line"
)


def rejected(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    form: Annotated[Format | None, typer.Option("--format", "-f", help="table, csv or json.")] = None,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Lines that were not readings: where they came from, which line, and why."""
    query(REJECTED, form=form, limit=limit, timeout=None, engine=Engine.duckdb, user=None, lab=lab, as_json=as_json)


def _span(text: str) -> float:
    from homelab_platform.lab.quantities import Bad, duration

    try:
        return duration(text)
    except Bad as bad:
        raise HomelabError.of(f"--for {text}", bad.what, bad.remedy) from None


def simulate(
    stream: Annotated[str, typer.Argument(help="Stream of the lab whose sensors are simulated.")],
    span: Annotated[str, typer.Option("--for", help="How much time, ending now: 1h, 7d.")] = "1h",
    seed: Annotated[int, typer.Option(help="Same seed, same readings.")] = 1,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Write simulated readings of a stream, marked as simulated (quality = 'simulated'), and ingest them."""
    from datetime import UTC, datetime, timedelta

    from homelab_platform.cli.file_outcomes import await_entries
    from homelab_platform.readings.ingest import ingest_objects
    from homelab_platform.readings.sources.simulator import put_simulated

    path = common.find_lab(lab)
    streams = common.resolved_lab(path).streams
    if stream not in streams:
        raise HomelabError.of(stream, "the lab has no such stream", f"It has: {', '.join(streams) or 'none'}.")
    site = common.running_site(path)
    end = datetime.now(UTC)
    with output.steps(quiet=as_json) as progress:
        start = end - timedelta(seconds=_span(span))
        keys = put_simulated(site.lakehouse, streams[stream], start=start, end=end, seed=seed, progress=progress)
        ingest_objects(site.lakehouse, keys, streams, progress=_committed(progress))
        entries = await_entries(site.lakehouse, {key: key for key in keys}, progress).values()
    counts = {name: sum(getattr(entry, name) for entry in entries) for name in ("rows", "duplicates", "rejected")}
    if as_json:
        output.write_json({"stream": stream, "objects": len(keys), **counts})
    else:
        readings = output.count(counts["rows"], "simulated reading")
        output.say(f"{readings} of {stream}; {counts['duplicates']:,} already there, {counts['rejected']:,} rejected.")
