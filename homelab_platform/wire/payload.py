"""What a device or an API says in JSON, to readings: one line of JSON for each, as the table's contract takes it.

Belongs here: numbers, objects and arrays as devices send them, and what of a reading the stream knows already. Not
here: how the words arrived (agents/bridge/main.py, poll.py), or what a reading is (readings/decode/record.py): a line
that is none is made all the same, and the table says what is wrong with it. Standard library only, Python 3.9 or
later: NiFi runs this very file beside its processors (servers/nifi.py copies it).
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

OURS = ("ts", "device", "sensor", "value", "site", "unit", "quality")
_TEXTS = ("device", "sensor", "site", "unit", "quality")
DEEPEST = 8
LONGEST_LIST = 32


class Shape(NamedTuple):
    """What the stream knows: its sensors with their units, fields by their names to ours, its device and site.

    With no sensors named, each number of an object is one. `fields` renames (`{"t": "temperature", "time": "ts"}`);
    a field inside an object is named with dots (`ENERGY.Power`). `zone` is that of times without one.
    """

    sensors: Mapping[str, str] = {}
    fields: Mapping[str, str] = {}
    device: str = ""
    site: str = ""
    zone: str = ""


def decode(text: bytes) -> Any:
    """The JSON value of a payload. Raises ValueError with the reason."""
    try:
        return json.loads(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {str(error).split(': line')[0]}") from None


def lines(value: Any, shape: Shape, known: Mapping[str, str], at_us: int | None) -> list[bytes]:
    """The lines of one decoded payload; at least one, so that nothing vanishes.

    `known` is what the way it came says (device, sensor from a topic); what the payload itself says goes before that.
    `at_us` (µs since 1970) is the time of readings that have none: in an array the n-th item's is n µs later, so that
    items of one sensor stay apart. With None they get none, and the table refuses them.
    """
    if not isinstance(value, list):
        return [dump(record) for record in _records(value, shape, known, at_us)]
    found = [
        dump(record)
        for number, item in enumerate(value)
        for record in _records(item, shape, known, None if at_us is None else at_us + number)
    ]
    return found or [dump(value)]


def _records(value: Any, shape: Shape, known: Mapping[str, str], at_us: int | None) -> Iterator[dict[str, Any]]:
    base: dict[str, Any] = {} if at_us is None else {"ts": at_us}
    base |= {name: text for name, text in (("device", shape.device), ("site", shape.site)) if text}
    base |= known
    if not isinstance(value, dict):
        if "sensor" not in base and len(shape.sensors) == 1:
            base["sensor"] = next(iter(shape.sensors))
        yield _with_unit({**base, "value": value}, shape)
        return
    said = _flat(value, shape)
    own = {name: said.pop(name) for name in OURS if name in said}
    base |= {name: text for name, text in own.items() if text is not None and text != "" and name != "value"}
    if shape.zone and isinstance(base.get("ts"), str):
        base["ts"] = _with_zone(base["ts"], shape.zone, at_us)
    if "value" in own:
        yield _with_unit({**said, **base, "value": own["value"]}, shape)
        return
    chosen = [name for name in said if name in shape.sensors] if shape.sensors else _numbers(said)
    extras = {name: found for name, found in said.items() if name not in chosen and found is not None}
    chosen = [name for name in chosen if said[name] is not None] or chosen
    if not chosen:
        yield {**extras, **base}
    for name in chosen:
        yield _with_unit({**extras, **base, "sensor": name, "value": said[name]}, shape)


def _flat(value: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Fields by our names; those of an object inside it are named with dots, those of a list only if they are asked
    for (`meters.0.power`).
    """
    said = flatten(value, whole=shape.fields)
    asked = [name for name in (*shape.fields, *shape.sensors) if "." in name and name not in said]
    if asked:
        lists = flatten(value, lists=True)
        said.update({name: lists[name] for name in asked if name in lists})
    return {shape.fields.get(name, name): item for name, item in said.items()}


def flatten(value: Mapping[str, Any], *, lists: bool = False, whole: Container[str] = ()) -> dict[str, Any]:
    """The fields of an object; those of objects inside it are named with dots (`ENERGY.Power`), and with `lists` those
    of lists by their number (`meters.0.power`). A field in `whole` stays as it is.
    """
    found: dict[str, Any] = {}
    _flatten(value, ("", 0, lists, whole), found)
    return found


def _flatten(value: Any, at: tuple[str, int, bool, Container[str]], found: dict[str, Any]) -> None:
    path, depth, lists, whole = at
    items = value.items() if isinstance(value, dict) else ((str(n), item) for n, item in enumerate(value))
    for name, item in items:
        full = f"{path}{name}"
        inside = isinstance(item, dict) or (lists and isinstance(item, list) and len(item) <= LONGEST_LIST)
        if inside and item and depth < DEEPEST and full not in whole:
            _flatten(item, (f"{full}.", depth + 1, lists, whole), found)
        else:
            found[full] = item


def _with_zone(text: str, zone: str, at_us: int | None) -> str:
    """A local time as an instant: of the two of an hour that comes twice the one nearer to its arrival.

    What is no local time, or does not exist, stays as it is, and the table says what is wrong with it.
    """
    from homelab_platform.wire.timestamps import instant_of  # not where NiFi runs this file: it leaves zones to ingest

    found = instant_of(text, zone, at_us)
    return text if found is None else found


def _numbers(said: Mapping[str, Any]) -> list[str]:
    return [name for name, item in said.items() if isinstance(item, (int, float)) and not isinstance(item, bool)]


def _with_unit(record: dict[str, Any], shape: Shape) -> dict[str, Any]:
    sensor = record.get("sensor")
    unit = shape.sensors.get(sensor) if isinstance(sensor, str) else None
    if unit and not record.get("unit"):
        record["unit"] = unit
    return record


def dump(record: Any) -> bytes:
    """One line of JSON, newline included."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:  # half a character: JSON can spell it, UTF-8 cannot; the table refuses it
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def raw_line(*parts: bytes) -> bytes:
    """A payload that is no JSON as one line that is no reading either, so that the table keeps it with the reason."""
    text = b" ".join(parts).replace(b"\r", b" ").replace(b"\n", b" ").lstrip(b" \t")
    return (text if text and text[:1] != b"{" else b"payload: " + text) + b"\n"
