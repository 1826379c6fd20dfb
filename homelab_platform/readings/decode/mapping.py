"""How a file with foreign columns becomes readings: which column, or which constant, fills each field.

Belongs here: the mapping's type, its JSON form (an object's user metadata `homelab-mapping`), applying it to one
record. Not here: what a valid reading is (record).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.readings.contract import PRODUCER_COLUMNS

METADATA_KEY = "homelab-mapping"
_WHERE = "mapping"


@dataclass(frozen=True)
class Source:
    """Where one field comes from: a `column` of the file or a `const`; `format` (strptime) and `tz` are for `ts`."""

    column: str | None = None
    const: str | float | None = None
    format: str | None = None
    tz: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The JSON form, without what is not set."""
        return {k: v for k, v in vars(self).items() if v is not None}


@dataclass(frozen=True)
class Mapping:
    """Fields of the contract by name; `melt` turns each named column into a sensor of that name, or of the name that
    `names` gives it; `keep` names columns that become extra columns. A field that is not mapped is taken from the
    column of its own name.
    """

    fields: Map[str, Source] = field(default_factory=dict)
    melt: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    names: Map[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: object) -> Mapping:
        """A mapping from its JSON text, bytes or already decoded object. Raises HomelabError with every problem."""
        if isinstance(data, str | bytes):
            try:
                data = orjson.loads(data)
            except orjson.JSONDecodeError as error:
                raise HomelabError.of(_WHERE, f"is not JSON: {error}", "See docs/ingest.md for its form.") from None
        if not isinstance(data, dict):
            raise HomelabError.of(_WHERE, "is not a JSON object", "See docs/ingest.md for its form.")
        problems: list[Problem] = []
        columns = {name: _names(data.get(name, []), name, problems) for name in ("melt", "keep")}
        names = _renames(data.get("names", {}), columns["melt"], problems)
        other = {k: v for k, v in data.items() if k not in columns and k != "names"}
        fields = {k: s for k, v in other.items() if (s := _source(k, v, problems)) is not None}
        if columns["melt"] and ({"sensor", "value"} & fields.keys()):
            problems.append(Problem(_WHERE, "melt fills sensor and value itself", "Leave sensor and value out."))
        if problems:
            raise HomelabError(problems)
        return cls(fields, columns["melt"], columns["keep"], names)

    def to_json(self) -> str:
        """The JSON text for the object's metadata."""
        data: dict[str, object] = {name: source.to_dict() for name, source in self.fields.items()}
        if self.melt:
            data["melt"] = list(self.melt)
        if self.keep:
            data["keep"] = list(self.keep)
        if self.names:
            data["names"] = dict(self.names)
        return json.dumps(data, sort_keys=True)  # ASCII only: it travels in an HTTP header

    @property
    def ts_zone(self) -> str | None:
        """The zone of times without one."""
        source = self.fields.get("ts")
        return source.tz if source else None

    @property
    def ts_format(self) -> str | None:
        """The strptime format of `ts`, if it is not RFC 3339 or an epoch number."""
        source = self.fields.get("ts")
        return source.format if source else None

    def apply(self, record: Map[str, Any]) -> Iterator[dict[str, Any]]:
        """The readings of one record: one, or with `melt` one per named column whose cell is not empty."""
        base: dict[str, Any] = {}
        for name in PRODUCER_COLUMNS:
            source = self.fields.get(name)
            if source is None:
                found = record.get(name)
            else:
                found = source.const if source.column is None else record.get(source.column)
            if found is not None:
                base[name] = found
        for name in self.keep:
            if record.get(name) not in (None, ""):
                base[name] = record[name]
        if not self.melt:
            yield base
            return
        for column in self.melt:
            if record.get(column) not in (None, ""):
                yield {**base, "sensor": self.names.get(column, column), "value": record[column]}


def _names(value: object, name: str, problems: list[Problem]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(v, str) and v for v in value):
        return tuple(value)
    problems.append(Problem(_WHERE, f"{name} is not a list of column names", f'Write "{name}": ["a", "b"].'))
    return ()


def _renames(value: object, melted: tuple[str, ...], problems: list[Problem]) -> dict[str, str]:
    if isinstance(value, dict) and all(isinstance(v, str) and v and k in melted for k, v in value.items()):
        return value
    problems.append(Problem(_WHERE, "names does not name sensors of melted columns", 'Write "names": {"t": "heat"}.'))
    return {}


def _source(name: str, value: object, problems: list[Problem]) -> Source | None:  # noqa: PLR0911 - one per rule
    def wrong(what: str, remedy: str) -> None:
        problems.append(Problem(_WHERE, what, remedy))

    if name not in PRODUCER_COLUMNS:
        wrong(f"unknown field {name}", f"Use {', '.join(PRODUCER_COLUMNS)}, melt or keep.")
        return None
    if not isinstance(value, dict) or ("column" in value) == ("const" in value):
        wrong(f"{name} needs either column or const", f'Write "{name}": {{"column": "…"}} or {{"const": "…"}}.')
        return None
    unknown = value.keys() - ({"column", "const", "format", "tz"} if name == "ts" else {"column", "const"})
    if unknown:
        wrong(f"{name} has unknown {', '.join(sorted(unknown))}", "Use column or const; format and tz only for ts.")
        return None
    texts = {k: value.get(k) for k in ("column", "format", "tz")}
    if any(v is not None and not (isinstance(v, str) and v) for v in texts.values()):
        wrong(f"{name}: column, format and tz are texts", "Quote them.")
        return None
    const = value.get("const")
    if isinstance(const, bool) or not isinstance(const, str | int | float | None):
        wrong(f"{name}: const is neither a text nor a number", "Give the value itself.")
        return None
    if texts["tz"] is not None and not _zone_known(str(texts["tz"])):
        wrong(f"{name}: unknown time zone {texts['tz']}", "Use an IANA name such as Europe/London.")
        return None
    return Source(const=const, **texts)


def _zone_known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
