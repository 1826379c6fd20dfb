"""Guessing what the columns of a foreign file mean.

Belongs here: the words by which people call devices and values, and the decision. Whatever is not plain is refused with
the option that would settle it, because a wrong guess writes wrong readings. Not here: times (times.py), well-known
programs (shapes.py), reading the file (sampling.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from homelab_platform.readings.decode.mapping import Mapping, Source
from homelab_platform.readings.sources.sampling import CannotRead, Sample, finite, is_platform_column
from homelab_platform.readings.sources.shapes import Shape, shape_of
from homelab_platform.readings.sources.times import plain, time_source
from homelab_platform.wire.contract import column_name
from homelab_platform.wire.tabular import Options, to_number

_MOST_KEPT = 16
_DEVICES = (
    "device", "device_id", "deviceid", "device_name", "devicename", "dev", "dev_id", "dev_eui", "deveui", "host",
    "host_name", "hostname", "node", "node_id", "nodeid", "node_name", "station", "station_id", "stationid",
    "station_name", "machine", "machine_id", "instance", "logger", "logger_id", "mac", "mac_address", "serial",
    "serial_number", "serial_no", "serialnumber", "gerät", "geraet", "thing", "thing_id", "asset", "asset_id", "uuid",
)  # fmt: skip
_SENSORS = (
    "sensor", "sensor_name", "metric", "measurement", "variable", "parameter", "channel", "_field", "quantity",
    "messgröße", "sensor_type", "sensor_id", "sensorid", "entity_id", "entity",
)  # fmt: skip
_WEAK = ("name", "tag", "topic", "friendly_name", "label", "id", "room", "area", "location", "place", "raum")
"""Words that tell records apart, but not whether a device or a sensor."""
_WORDS: Map[str, Sequence[str]] = {
    "device": _DEVICES,
    "sensor": _SENSORS,
    "value": ("value", "val", "reading", "state", "y", "_value", "wert", "messwert", "valeur", "valor", "waarde"),
    "unit": ("unit", "units", "unit_of_measurement", "einheit"),
    "site": ("site", "location", "place", "room", "area"),
    "quality": ("quality",),
}
_NO_SENSOR = re.compile(
    r"^(|id|index|row|nr|no|#|unnamed:_?\d+|lat|lon|lng|latitude|longitude|altitude|elevation|.*_(id|nr|no|index)|"
    r"record|seq|sequence|packet|counter_id|year|month|day|hour|minute)$"
)
_UNITS = {
    "°c": "°C", "℃": "°C", "c": "°C", "degc": "°C", "°f": "°F", "℉": "°F", "f": "°F", "%": "%", "%rh": "%", "rh": "%",
    "hpa": "hPa", "mbar": "hPa", "kpa": "kPa", "pa": "Pa", "inhg": "inHg", "ppm": "ppm", "ppb": "ppb", "µg/m³": "µg/m³",
    "μg/m³": "µg/m³", "ug/m3": "µg/m³", "µg/m3": "µg/m³", "lux": "lx", "lx": "lx", "w": "W", "kw": "kW", "kwh": "kWh",
    "wh": "Wh", "v": "V", "mv": "mV", "a": "A", "ma": "mA", "db": "dB", "dba": "dB", "m/s": "m/s", "km/h": "km/h",
    "mph": "mph", "mm": "mm", "mm/h": "mm/h", "in": "in", "in/h": "in/h", "w/m²": "W/m²", "w/m2": "W/m²", "hz": "Hz",
    "rpm": "rpm", "m³": "m³", "m3": "m³", "l": "l", "s": "s", "min": "min", "k": "K", "º": "°", "°": "°", "g": "g",
}  # fmt: skip
_UNIT_IN = re.compile(r"^.+?[\s,_]*[\(\[]\s*([^()\[\]]{1,8})\s*[\)\]]\s*$|^.+?,\s*([^,\s(]{1,6})(?:\s*\(.*\))?\s*$|"
                      r"^.+?\s(°C|°F|℃|℉|%|hPa)$")  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """A mapping (None: the columns are the contract's own) and remarks that a person should read."""

    mapping: Mapping | None
    notes: tuple[str, ...] = field(default=())
    shape: str = ""


def guess(sample: Sample, given: Mapping | None = None, zone: str | None = None) -> Guess:
    """The mapping of a file: what `given` says, the rest guessed; None if the columns are the contract's own.

    `zone` is that of times without one where `given` says none. Raises CannotRead with what is unclear and the option
    that settles it.
    """
    asked = given or Mapping()
    notes = list(sample.notes)
    if sample.encoding.lower() not in ("utf-8", "utf8") and not asked.text.encoding:
        asked = replace(asked, text=asked.text._replace(encoding=sample.encoding))
    _check_given(sample, asked)
    shape = None if sample.series else shape_of(sample)
    if sample.series:
        mapping = _of_points(sample, asked, zone, notes)
    elif shape is not None and not asked.melt and not {"sensor", "value"} & asked.fields.keys():
        notes.append(f"read as {shape.title}")
        mapping = _of_shape(sample, asked, shape, zone, notes)
    else:
        mapping = _of_columns(sample, asked, zone, notes)
    return Guess(None if _is_plain(sample, mapping) else mapping, tuple(notes), shape.name if shape else "")


def _said(asked: Mapping) -> dict[str, Source]:
    return {n: s for n, s in asked.fields.items() if s.column is not None or s.const is not None}


def _check_given(sample: Sample, asked: Mapping) -> None:
    named = [source.column for source in asked.fields.values() if source.column] + [*asked.melt, *asked.keep]
    unknown = [name for name in dict.fromkeys(named) if name not in sample.columns]
    if asked.fields.get("ts") and asked.fields["ts"].column == "ts" and "ts" in unknown:
        unknown.remove("ts")  # only its zone or format was given; the column itself is looked for
    if unknown:
        raise CannotRead(f"has no column {', '.join(unknown)}; it has {', '.join(map(repr, sample.columns))}")


def _ts(sample: Sample, asked: Mapping, zone: str | None, notes: list[str], column: str | None = None) -> Source:
    said = asked.fields.get("ts")
    if said is not None and said.const is not None:
        return said
    if sample.format == "prometheus" and not sample.cells("ts"):
        raise CannotRead("holds samples without a time; say when they were taken with --set ts=2026-01-01T00:00:00Z")
    if column is None and "ts" in sample.columns and sample.cells("ts"):
        column = "ts"
    return time_source(sample, said, zone, notes, column)


def _of_points(sample: Sample, asked: Mapping, zone: str | None, notes: list[str]) -> Mapping:
    """A file of points: device, sensor and value are made of each."""
    fields = _said(asked)
    if not sample.cells("ts") and "ts" not in fields:
        raise CannotRead("holds points without a time; say when they were taken with --set ts=2026-01-01T00:00:00Z")
    fields["ts"] = _ts(sample, asked, zone, notes, "ts")
    if not all(row.get("device") for row in sample.rows):
        fields.setdefault("device", Source(const=sample.name))
        notes.append(f"no tag names a device; it is {sample.name!r} (--map device=tags.NAME, or --set device=NAME)")
    mapping = replace(_tidy(replace(asked, fields=fields)), series=True)
    return replace(mapping, keep=asked.keep or tuple(c for c in ("metric", "labels") if c in sample.columns))


def _of_shape(sample: Sample, asked: Mapping, shape: Shape, zone: str | None, notes: list[str]) -> Mapping:
    """A file of a well-known program."""
    fields = _said(asked)
    known = zone or shape.zone
    fields["ts"] = _ts(sample, asked, known, notes, shape.column("ts", sample))
    if shape.local and fields["ts"].tz == "UTC" and not (asked.fields.get("ts") or Source()).tz and zone is None:
        notes.append("this program writes its local time: without --tz it is wrong by the offset from UTC")
    for name in ("device", "sensor", "value", "unit"):
        column = shape.column(name, sample)
        if name not in fields and column is not None and sample.cells(column):
            fields[name] = Source(column=column)
        elif name not in fields and name in shape.const:
            fields[name] = Source(const=shape.const[name])
    fields.setdefault("device", Source(const=sample.name))
    taken = {c for s in fields.values() for c in (s.column, s.also) if c}
    kept = (
        None if shape.keep is None else tuple(c for k in shape.keep for c in sample.columns if c.lower() == k.lower())
    )
    others = [c for c in sample.columns if c not in taken and not shape.drops(c) and c not in (kept or ())]
    melt: tuple[str, ...] = ()
    if "value" not in fields:
        melt = tuple(c for c in others if _numeric(sample, c))
        if not melt:
            raise CannotRead(_no_value(sample, taken))
    keep = asked.keep or (kept if kept is not None else _kept(sample, [c for c in others if c not in melt], notes))
    units = {c: u for c in melt if (u := (shape.units or {}).get(c.removeprefix(shape.strip)) or unit_in(c))}
    names = {c: c.removeprefix(shape.strip) for c in melt if shape.strip and c.startswith(shape.strip)}
    return _tidy(replace(asked, fields=fields, melt=melt, keep=keep, units=units, names=names))


def _of_columns(sample: Sample, asked: Mapping, zone: str | None, notes: list[str]) -> Mapping:
    """Any other file, by what its columns are called and hold."""
    fields = _said(asked)
    fields["ts"] = _ts(sample, asked, zone, notes)
    taken = {c for s in fields.values() for c in (s.column, s.also) if c} | set(asked.melt) | set(asked.keep)
    for name in ("device", "sensor", "value", "unit"):
        column = None if name in fields else _named(sample, name, taken)
        if column is not None and not (asked.melt and name in ("sensor", "value")):
            fields[name] = Source(column=column)
            taken.add(column)
    if "value" not in fields and "sensor" in fields and "device" not in fields and _several(sample, taken, asked):
        fields["device"] = fields.pop("sensor")  # one row for several quantities: it names what measured them
    _weak(sample, fields, taken, asked)
    for name in ("site", "quality"):
        column = None if name in fields else _named(sample, name, taken)
        if column is not None:
            fields[name] = Source(column=column)
            taken.add(column)
    melt = asked.melt or _values(sample, fields, taken)
    fields.setdefault("device", Source(const=sample.name))
    rest = [c for c in sample.columns if c not in taken and c not in melt]
    keep = asked.keep or _kept(sample, rest, notes)
    units = dict(asked.units) or {c: unit for c in melt if (unit := unit_in(c))}
    if not melt and "unit" not in fields and (unit := unit_in(fields["value"].column or "")):
        fields["unit"] = Source(const=unit)
    return _tidy(replace(asked, fields=fields, melt=melt, keep=keep, units=units))


def _several(sample: Sample, taken: set[str], asked: Mapping) -> bool:
    return len(asked.melt or _numbers(sample, taken)) > 1


def _weak(sample: Sample, fields: dict[str, Source], taken: set[str], asked: Mapping) -> None:
    """Use a column such as `name` or `room`: for the sensor of a file of single values, else for the device."""
    by_word = {plain(column): column for column in reversed(sample.columns) if column not in taken}
    for word in _WEAK:
        column = by_word.get(word)
        if column is None or not _identifies(sample, column):
            continue
        as_sensor = "value" in fields and "sensor" not in fields and word in ("name", "tag", "topic", "label")
        goal = "sensor" if as_sensor else "device"
        if goal in fields or (goal == "sensor" and asked.melt):
            continue
        fields[goal] = Source(column=column)
        taken.add(column)


def _identifies(sample: Sample, column: str) -> bool:
    """Whether each record has a name or a number of it; one that counts records names none of them."""
    cells = [row.get(column) for row in sample.rows]
    if any(cell in (None, "") or isinstance(cell, (bool, float, dict, list)) for cell in cells):
        return False
    counts = [str(cell) for cell in cells]
    return len(counts) < 3 or len(set(counts)) < len(counts) or not all(text.isdigit() for text in counts)


def _named(sample: Sample, field_name: str, taken: set[str]) -> str | None:
    """The column that is called like the field, in the order of the words above."""
    by_word = {plain(column): column for column in reversed(sample.columns) if column not in taken}
    for word in _WORDS[field_name]:
        found = by_word.get(word)
        if found is None:
            continue
        cells = sample.cells(found)
        if field_name == "value":
            if not cells or _numeric(sample, found) or any(_is_number(sample, cell) for cell in cells):
                return found
        elif cells and all(
            isinstance(cell, str) or (isinstance(cell, int) and not isinstance(cell, bool)) for cell in cells
        ):
            return found
    return None


def _values(sample: Sample, fields: dict[str, Source], taken: set[str]) -> tuple[str, ...]:
    """Fill `sensor` and `value` from one column, or return the columns that are a sensor each."""
    if "value" in fields:
        if "sensor" not in fields:
            column = fields["value"].column or "value"
            fields["sensor"] = Source(const=sample.name if plain(column) in _WORDS["value"] else column)
        return ()
    numeric = _numbers(sample, taken)
    if not numeric:
        raise CannotRead(_no_value(sample, taken))
    if "sensor" in fields and len(numeric) > 1:
        raise CannotRead(
            f"has a column for the sensor ({fields['sensor'].column}) and several for values ({', '.join(numeric)}); "
            "name the right one with --map value=COLUMN"
        )
    if len(numeric) > 1:
        return tuple(numeric)
    fields["value"] = Source(column=numeric[0])
    fields.setdefault("sensor", Source(const=numeric[0].strip("\ufeff ")))
    taken.add(numeric[0])
    return ()


def _numbers(sample: Sample, taken: set[str]) -> list[str]:
    return [
        column
        for column in sample.columns
        if column not in taken
        and not _NO_SENSOR.match(plain(column))
        and not is_platform_column(column)
        and _numeric(sample, column)
    ]


def _no_value(sample: Sample, taken: set[str]) -> str:
    left = [c for c in sample.columns if c not in taken]
    shown = next((f", e.g. {sample.cells(c)[0]!r} in {c!r}" for c in left if sample.cells(c)), "")
    return (
        f"has no column of numbers{shown} (columns: {', '.join(map(repr, sample.columns))}); "
        "name it with --map value=COLUMN"
    )


def _is_number(sample: Sample, cell: object) -> bool:
    if not isinstance(cell, str):
        return finite(cell)
    try:
        return finite(to_number(cell, sample.decimal))
    except ValueError:
        return False


def _numeric(sample: Sample, column: str) -> bool:
    """Whether four of five cells are numbers: sensors write `nan` and `unavailable` too."""
    cells = sample.cells(column)
    return bool(cells) and sum(_is_number(sample, cell) for cell in cells) >= 0.8 * len(cells)


def unit_in(column: str) -> str:
    """The unit that a column's name ends with, as in `Temp (°C)`, `hum, %` or `Pressure [hPa]`; empty for none."""
    found = _UNIT_IN.match(column)
    said = next((part for part in found.groups() if part), "") if found else ""
    return _UNITS.get(said.strip().lower(), "")


def _kept(sample: Sample, columns: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """Further columns that come along as they are, as far as the table can name them."""
    kept: list[str] = []
    left: list[str] = []
    for column in columns:
        if re.match(r"^(|index|row|nr|no|#|unnamed:_?\d+)$", plain(column)):
            continue
        try:
            column_name(column)
        except ValueError:
            left.append(column)
            continue
        (kept if len(kept) < _MOST_KEPT and not is_platform_column(column) else left).append(column)
    if left:
        notes.append(f"left out: {', '.join(map(repr, left))}")
    return tuple(kept)


def _tidy(mapping: Mapping) -> Mapping:
    """Without the fields that take the column of their own name, which is what no entry means."""
    own = {n for n, s in mapping.fields.items() if s == Source(column=n)}
    return replace(mapping, fields={n: s for n, s in mapping.fields.items() if n not in own})


def _is_plain(sample: Sample, mapping: Mapping) -> bool:
    """Whether the ingest gets the same without a mapping: further fields become columns there anyway."""
    contract = {"ts", "device", "sensor", "value"} <= set(sample.columns)
    texts = sample.format == "csv" or all(
        isinstance(cell, str) for name in ("device", "sensor") for cell in sample.cells(name)
    )
    bare = not mapping.fields and not mapping.melt and not mapping.series and not mapping.replaces
    return contract and texts and bare and mapping.text == Options()
