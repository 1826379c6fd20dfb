"""Points of a time series database (a measurement's name, its tags, its fields, a time) to records with our fields.

Belongs here: which tag is the device, how a sensor is named. Not here: the formats in which points come (foreign.py) or
what a reading is (record.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from homelab_platform.wire.exposition import Sample, sensor_name

DEVICE_TAGS = (
    "device", "device_id", "deviceid", "device_name", "host", "hostname", "node", "node_id", "station", "instance",
    "machine", "entity_id", "friendly_name", "topic", "mac", "serial", "location", "room",
)  # fmt: skip
"""Tags that say what measured, in the order in which they are looked for."""
_NAMES = ("measurement", "name", "_measurement")
_TIMES = ("time", "timestamp", "_time", "ts")


def is_point(record: Mapping[str, Any]) -> bool:
    """Whether a record is a point as Telegraf writes it: fields, tags, a name and a time."""
    return isinstance(record.get("fields"), dict) and isinstance(record.get("tags"), dict) and "name" in record


def expanded(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The records of one point, one for each field that holds a number or a truth value; tags as `tags.<name>`.

    The device is a tag that names one; the sensor is measurement and field, with the other tags as Prometheus writes
    labels. Raises ValueError when it is no point.
    """
    fields, tags = record.get("fields"), record.get("tags") or {}
    if not isinstance(fields, dict) or not isinstance(tags, dict):
        raise ValueError("no point of a time series: it has no fields or no tags")
    name = next((str(record[key]) for key in _NAMES if record.get(key)), "")
    at = next((record[key] for key in _TIMES if record.get(key) is not None), None)
    texts = {str(key): str(value) for key, value in tags.items() if value not in (None, "")}
    if {"domain", "entity_id"} <= texts.keys():
        yield from _home_assistant(name, texts, fields, at)
        return
    device_tag = next((tag for tag in DEVICE_TAGS if tag in {key.lower() for key in texts}), "")
    device_key = next((key for key in texts if key.lower() == device_tag), None)
    others = tuple(sorted((key, value) for key, value in texts.items() if key != device_key))
    numbers = {field: _number(value) for field, value in fields.items()}
    if all(value is None for value in numbers.values()):
        raise ValueError("none of the point's fields is a number")
    for field, value in numbers.items():
        if value is None:
            continue
        metric = name if field == "value" and name else "_".join(part for part in (name, str(field)) if part)
        made: dict[str, Any] = {"ts": at, "sensor": sensor_name(Sample(metric, others, 0.0)), "value": value}
        if device_key is not None:
            made["device"] = texts[device_key]
        made["metric"] = metric
        if others:
            made["labels"] = json.dumps(dict(others), ensure_ascii=False, separators=(",", ":"))
        yield made | {f"tags.{key}": found for key, found in texts.items()}


def _home_assistant(unit: str, tags: dict[str, str], fields: dict[str, Any], at: Any) -> Iterator[dict[str, Any]]:
    """Home Assistant's export: the measurement is the unit, the tags say which entity it is."""
    made = {"ts": at, "device": f"{tags['domain']}.{tags['entity_id']}"}
    made |= {"unit": unit} if unit not in ("state", "units", made["device"]) else {}
    numbers = {field: number for field, value in fields.items() if (number := _number(value)) is not None}
    if not numbers:
        raise ValueError("none of the point's fields is a number")
    for field, value in numbers.items():
        own = {"sensor": "state" if field == "value" else str(field), "value": value}
        yield made | own | {f"tags.{key}": found for key, found in tags.items()}


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    return value if isinstance(value, (int, float)) else None
