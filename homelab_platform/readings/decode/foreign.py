"""Files of other programs that are neither tables nor lines of JSON, to records with their line numbers.

Belongs here: telling the formats apart by their first bytes; JSON arrays, InfluxDB's line protocol and annotated CSV,
Prometheus' text, Zigbee2MQTT's log. Not here: tables of text (wire/tabular.py, files.py), or what a reading is
(record.py).

Sources: InfluxData, "Line protocol reference" and "Annotated CSV"; Prometheus, "Exposition formats".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from homelab_platform.readings.decode.lines import BrokenObject
from homelab_platform.wire import exposition
from homelab_platform.wire.payload import flatten

Kind = Literal["ndjson", "csv", "parquet", "json", "influx-csv", "line-protocol", "prometheus", "zigbee2mqtt-log"]
SUFFIXES: Mapping[str, Kind] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".json": "json",
    ".lp": "line-protocol",
    ".prom": "prometheus",
    ".log": "zigbee2mqtt-log",
}
"""Suffixes of objects that settle the format; any other is told by the content, or is NDJSON."""
MOST_JSON = 256 * 1024 * 1024
_Z2M = re.compile(
    r"\[?(?:[Zz]igbee2[Mm][Qq][Tt][:\s]*\w*\s+)?(\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d+)?)\]?:?\s+.*?"
    r"MQTT publish: topic '([^']+)', payload '(.*)'\s*$"
)
_Z2M_START = re.compile(r"(?:\[?[Zz]igbee2[Mm][Qq][Tt]|\[\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:\.\d+)?\] )")
_SAMPLE = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?[ \t]+[-+0-9.eEInfNa]+(?:[ \t]+-?\d+)?[ \t]*\r?$")
_POINT = re.compile(r"[^\s,=#][^\s]*(?:\\ [^\s]*)* [^\s=,]+=.+")


class Found(NamedTuple):
    """One record of a file, or why there is none; `raw` is the text that it was."""

    line: int
    record: dict[str, Any] | None
    reason: str = ""
    raw: str = ""


def kind_of(text: str) -> Kind:
    """The format of a text by its first lines (without a byte order mark)."""
    lines = [line for line in text.split("\n")[:60] if line.strip(" \t\r\0")]
    first = lines[0].strip(" \t\r\0") if lines else ""
    plain = next((line for line in lines if not line.startswith("#")), "").rstrip("\r")
    found: Kind = "csv"
    if first.startswith(("#group,", "#datatype,", "#default,")):
        found = "influx-csv"
    elif _Z2M_START.match(first):
        found = "zigbee2mqtt-log"
    elif first[:1] in ("[", "{"):
        found = "ndjson" if any(_is_object(line) for line in lines[:5] if line[:1] == "{") else "json"
    elif any(line.startswith(("# HELP ", "# TYPE ")) for line in lines) or _SAMPLE.fullmatch(plain):
        found = "prometheus"
    elif _POINT.fullmatch(plain) and _is_point(plain.strip()):
        found = "line-protocol"
    return found


def _is_object(line: str) -> bool:
    try:
        return isinstance(orjson.loads(line.strip(" \t\r\0")), dict)
    except orjson.JSONDecodeError:
        return False


def _is_point(line: str) -> bool:
    from line_protocol_parser import LineFormatError, parse_line  # type: ignore[import-untyped]

    try:
        parse_line(line)
    except (LineFormatError, ValueError):
        return False
    return True


def json_array(data: bytes) -> Iterator[Found]:
    """The objects of a JSON array, numbered from 1, or the one object. Raises BrokenObject."""
    try:
        found = orjson.loads(data.strip(b"\0 \t\r\n").removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise BrokenObject(f"not JSON: {error}") from None
    items = _items(found)
    if items is None:
        raise BrokenObject("its JSON is neither an array of objects nor one object")
    for number, item in enumerate(items, 1):
        if isinstance(item, dict):
            yield Found(number, item)
        else:
            yield Found(number, None, "not a JSON object", orjson.dumps(item).decode()[:8192])


def _items(found: Any) -> list[Any] | None:
    """The items of an array; of arrays in an array, as Home Assistant answers; or the one object."""
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        return None
    return [item for inner in found for item in (inner if isinstance(inner, list) else [inner])]


def line_protocol(lines: Iterable[str]) -> Iterator[Found]:
    """The points of InfluxDB's line protocol: name, tags, fields, timestamp."""
    from line_protocol_parser import LineFormatError, parse_line

    for number, line in enumerate(lines, 1):
        text = line.strip(" \t\r\n\0")
        if not text or text.startswith("#"):
            continue
        try:
            point = parse_line(text)
        except (LineFormatError, ValueError) as error:
            yield Found(number, None, f"not line protocol: {str(error).rstrip('.')}", text)
            continue
        point["timestamp"] = point.pop("time", None)
        yield Found(number, {"name": point.pop("measurement"), **point}, raw=text)


def prometheus(text: str) -> Iterator[Found]:
    """The samples of a Prometheus exposition; times in ms where it gives them."""
    for number, line in enumerate(text.split("\n"), 1):
        found = next(exposition.samples(line), None)
        if isinstance(found, exposition.Fault):
            yield Found(number, None, f"not Prometheus' text: {found.reason}", found.text)
        elif found is not None:
            record: dict[str, Any] = {"ts": found.at_ms, "sensor": exposition.sensor_name(found), "value": found.value}
            labels = dict(found.labels)
            record |= {"metric": found.name, "unit": exposition.unit_of(found.name) or None}
            record |= {"labels": orjson.dumps(labels).decode()} if labels else {}
            record |= {"device": labels["instance"]} if labels.get("instance") else {}
            if found.value != found.value or abs(found.value) == float("inf"):
                continue  # as from an exporter: a sample without a number is none
            yield Found(number, record, raw=line)


def influx_csv(lines: Iterable[str]) -> Iterator[Found]:
    """The points of annotated CSV: tables one after the other, each with its annotations and header."""
    names: list[str] = []
    annotated = False
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if text.startswith("#"):
            annotated = True
            continue
        if not text.strip(", \0"):
            annotated = True
            continue
        cells = next(csv.reader([text]), [])
        if annotated:
            names, annotated = cells, False
        elif len(cells) > len(names):
            yield Found(number, None, f"{len(cells)} cells, the header has {len(names)}", text)
        else:
            yield _influx_point(number, dict(zip(names, cells, strict=False)), text)


_INFLUX = ("", "result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement")


def _influx_point(number: int, row: dict[str, str], text: str) -> Found:
    if "error" in row and "_value" not in row:
        return Found(number, None, f"InfluxDB's error: {row['error']}", text)
    if "_time" not in row:
        return Found(number, None, "no column _time: it is not a table of points", text)
    tags = {name: cell for name, cell in row.items() if name not in _INFLUX and cell}
    if "_value" in row:
        fields: dict[str, Any] = {row.get("_field") or "value": _cell(row["_value"])}
    else:  # pivoted: a column for each field
        fields = {name: shown for name, cell in tags.items() if isinstance(shown := _cell(cell), float)}
        tags = {name: cell for name, cell in tags.items() if name not in fields}
    return Found(
        number,
        {"name": row.get("_measurement", ""), "tags": tags, "fields": fields, "timestamp": row["_time"]},
        raw=text,
    )


def _cell(text: str) -> float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def zigbee2mqtt_log(lines: Iterable[str]) -> Iterator[Found]:
    """What Zigbee2MQTT published, by its log: one record for each message with quantities; the topic is its device.

    Other lines of the log are no readings and are passed over.
    """
    for number, line in enumerate(lines, 1):
        found = _Z2M.match(line.strip(" \t\r\n\0"))
        if found is None:
            continue
        at, topic, payload = found.groups()
        try:
            said = orjson.loads(payload)
        except orjson.JSONDecodeError:
            continue
        base, _, device = topic.partition("/")
        if not isinstance(said, dict) or device.startswith("bridge") or not device:
            continue
        flat = flatten(said, lists=True)
        numbers = {k: v for k, v in flat.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if numbers:
            seen = flat.get("last_seen")
            yield Found(number, {"time": seen or at, "device": device, "base": base, **numbers}, raw=line.strip())


def of_text(kind: Kind) -> Callable[[Iterable[str]], Iterator[Found]]:
    """The reader of a format of lines."""
    readers: dict[str, Callable[[Iterable[str]], Iterator[Found]]] = {
        "influx-csv": influx_csv,
        "line-protocol": line_protocol,
        "zigbee2mqtt-log": zigbee2mqtt_log,
        "prometheus": lambda lines: prometheus("".join(lines)),
    }
    return readers[kind]


def is_series(kind: Kind) -> bool:
    """Whether the records of a format are points of a time series database."""
    return kind in ("influx-csv", "line-protocol")
