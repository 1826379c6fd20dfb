"""What an asset's page shows: documents, differences and exhibits as Dagster metadata.

Belongs here: turning our plain values into MetadataValue. Not here: where the values come from (adapters, plan).
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from homelab_platform.apply.adapter import Exhibit
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.diff import shown

if TYPE_CHECKING:
    from homelab_platform.readings.quality.verdicts import CheckResult

LONGEST_TABLE = 40


def leaves(document: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The values of a document by their dotted paths, in order."""
    for name, value in sorted(document.items()):
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def document_markdown(document: Mapping[str, object]) -> str:
    """A document as a Markdown table of what a person would have written."""
    rows = list(leaves(document))
    lines = ["| what | should be |", "|---|---|"]
    lines += [f"| {_cell(path)} | {_cell(shown(value, 120))} |" for path, value in rows[:LONGEST_TABLE]]
    if len(rows) > LONGEST_TABLE:
        lines.append(f"| … | {len(rows) - LONGEST_TABLE} more |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def desired_metadata(state: DesiredState) -> dict[str, dg.MetadataValue[Any]]:
    """What an asset's page says of how it should be."""
    values: dict[str, dg.MetadataValue[Any]] = {
        "desired": dg.MetadataValue.md(document_markdown(state.document)),
        "fingerprint": dg.MetadataValue.text(state.fingerprint[:16]),
    }
    for name, url in state.links.items():
        values[name] = dg.MetadataValue.url(url)
    return values


def table_markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with equal keys as a Markdown table."""
    if not rows:
        return "Nothing yet."
    names = list(rows[0])
    lines = [f"| {' | '.join(map(_cell, names))} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell(_plain(row.get(name))) for name in names)} |" for row in rows[:LONGEST_TABLE]]
    if len(rows) > LONGEST_TABLE:
        lines.append(f"\n{len(rows) - LONGEST_TABLE} more.")
    return "\n".join(lines)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def exhibit_metadata(exhibits: Iterable[Exhibit]) -> dict[str, dg.MetadataValue[Any]]:
    """Exhibits of an adapter as metadata of a materialization."""
    return {exhibit.name: _value(exhibit) for exhibit in exhibits}


def _value(exhibit: Exhibit) -> dg.MetadataValue[Any]:
    show = _SHOWN.get(exhibit.kind)
    return show(exhibit.value) if show else dg.MetadataValue.text(str(exhibit.value))


def _number(value: float) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(float(value))


def _picture(value: bytes) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(value).decode()})")


def columns_value(rows: Iterable[Mapping[str, str]]) -> dg.MetadataValue[Any]:
    """Columns (name, type, description) as Dagster shows them on an asset's page."""
    columns = [dg.TableColumn(row["name"], row["type"], description=row.get("description") or None) for row in rows]
    return dg.MetadataValue.table_schema(dg.TableSchema(columns=columns))


def _lineage(origins: Mapping[str, Sequence[tuple[str, str]]]) -> dg.MetadataValue[Any]:
    """Which columns each column is made from: column → (asset, column)."""
    deps = {
        column: [dg.TableColumnDep(asset_key=dg.AssetKey(asset.split("/")), column_name=name) for asset, name in found]
        for column, found in origins.items()
    }
    return dg.MetadataValue.column_lineage(dg.TableColumnLineage(deps_by_column=deps))


SEVERITY = {"warn": dg.AssetCheckSeverity.WARN, "error": dg.AssetCheckSeverity.ERROR}


def verdict_result(key: dg.AssetKey, verdict: "CheckResult", pictures: Sequence[Exhibit] = ()) -> dg.AssetCheckResult:
    """A verdict as the result of the check of its name on the asset `key`."""
    return dg.AssetCheckResult(
        passed=verdict.passed,
        asset_key=key,
        check_name=verdict.name,
        description=verdict.description,
        severity=SEVERITY[verdict.severity],
        metadata=verdict_metadata(verdict, pictures),
    )


def verdict_metadata(verdict: "CheckResult", pictures: Sequence[Exhibit] = ()) -> dict[str, dg.MetadataValue[Any]]:
    """What a verdict rests on: numbers as numbers, lists of maps as tables, pictures as they are."""
    found: list[Exhibit] = []
    for name, value in verdict.metadata.items():
        kind = "table" if isinstance(value, list) else "number" if isinstance(value, int | float) else "text"
        found.append(Exhibit(name.replace("_", " "), kind, value))
    return exhibit_metadata([*found, *pictures])


_SHOWN: dict[str, Callable[[Any], dg.MetadataValue[Any]]] = {
    "markdown": dg.MetadataValue.md,
    "table": lambda rows: dg.MetadataValue.md(table_markdown(rows)),
    "png": _picture,
    "number": _number,
    "time": dg.MetadataValue.timestamp,
    "url": dg.MetadataValue.url,
    "json": dg.MetadataValue.json,
    "columns": columns_value,
    "lineage": _lineage,
}
