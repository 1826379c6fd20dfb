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

import orjson

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.readings.decode.series import expanded
from homelab_platform.wire.contract import PRODUCER_COLUMNS, TEXT_COLUMNS
from homelab_platform.wire.payload import flatten
from homelab_platform.wire.tabular import Options
from homelab_platform.wire.timestamps import zone_known

METADATA_KEY = "homelab-mapping"
_WHERE = "mapping"


@dataclass(frozen=True)
class Source:
    """Where one field comes from: a `column` of the file or a `const`. For `ts` only: `format` (strptime), `tz`, and
    `also`, a second column (the time of day) that is joined to the first by a space.
    """

    column: str | None = None
    const: str | float | None = None
    format: str | None = None
    tz: str | None = None
    also: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The JSON form, without what is not set."""
        return {k: v for k, v in vars(self).items() if v is not None}


@dataclass(frozen=True)
class Mapping:
    """Fields of the contract by name; `melt` turns each named column into a sensor of that name, or of the name that
    `names` gives it, with the unit that `units` gives it; `keep` names columns that become extra columns. A field that
    is not mapped is taken from the column of its own name. `series`: the records are points of a time series database
    (name, tags, fields, timestamp). `text` is how a file of text is spelled, where a person said it. `replaces`: values
    that differ from those of the table replace them.
    """

    fields: Map[str, Source] = field(default_factory=dict)
    melt: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    names: Map[str, str] = field(default_factory=dict)
    units: Map[str, str] = field(default_factory=dict)
    series: bool = False
    text: Options = Options()  # noqa: RUF009 - immutable
    replaces: bool = False

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
        renamed = {name: _renames(data.get(name, {}), name, columns["melt"], problems) for name in ("names", "units")}
        flags = {name: _flag(data.get(name, False), name, problems) for name in ("series", "replaces")}
        text = _options(data.get("text", {}), problems)
        known = {*columns, *renamed, *flags, "text"}
        fields = {k: s for k, v in data.items() if k not in known and (s := _source(k, v, problems)) is not None}
        if columns["melt"] and ({"sensor", "value"} & fields.keys()):
            problems.append(Problem(_WHERE, "melt fills sensor and value itself", "Leave sensor and value out."))
        if problems:
            raise HomelabError(problems)
        return cls(fields, columns["melt"], columns["keep"], **renamed, **flags, text=text)  # type: ignore[arg-type]

    def to_json(self) -> str:
        """The JSON text for the object's metadata."""
        data: dict[str, object] = {name: source.to_dict() for name, source in self.fields.items()}
        for name in ("melt", "keep"):
            if getattr(self, name):
                data[name] = list(getattr(self, name))
        for name in ("names", "units"):
            if getattr(self, name):
                data[name] = dict(getattr(self, name))
        for name in ("series", "replaces"):
            if getattr(self, name):
                data[name] = True
        if self.text != Options():
            data["text"] = {k: v for k, v in self.text._asdict().items() if v}
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
        """The readings of one record: one, or with `melt` one per named column whose cell is not empty.

        Fields of objects inside the record are named with dots. Raises ValueError for a point that is none.
        """
        if self.series:
            for point in expanded(record):
                yield from self._applied(point)
        else:
            nested = any(isinstance(value, dict | list) for value in record.values())
            yield from self._applied(flatten(record, lists=True) if nested else record)

    def _applied(self, record: Map[str, Any]) -> Iterator[dict[str, Any]]:
        base = {name: found for name in PRODUCER_COLUMNS if (found := self._field(name, record)) is not None}
        for name in self.keep:
            if record.get(name) not in (None, ""):
                base[name] = record[name]
        if not self.melt:
            yield base
            return
        for column in self.melt:
            if record.get(column) not in (None, ""):
                made = {**base, "sensor": self.names.get(column, column), "value": record[column]}
                if column in self.units and not base.get("unit"):
                    made["unit"] = self.units[column]
                yield made

    def _field(self, name: str, record: Map[str, Any]) -> Any:
        source = self.fields.get(name)
        if source is None:
            found = record.get(name)
        elif source.column is None:
            found = source.const
        else:
            found = record.get(source.column)
            if source.also is not None and found is not None:
                found = f"{found} {record.get(source.also) or ''}".strip()
        if name in TEXT_COLUMNS and isinstance(found, int) and not isinstance(found, bool):
            return str(found)  # foreign files number their devices
        return found


def _names(value: object, name: str, problems: list[Problem]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(v, str) and v for v in value):
        return tuple(value)
    problems.append(Problem(_WHERE, f"{name} is not a list of column names", f'Write "{name}": ["a", "b"].'))
    return ()


def _renames(value: object, name: str, melted: tuple[str, ...], problems: list[Problem]) -> dict[str, str]:
    if isinstance(value, dict) and all(isinstance(v, str) and v and k in melted for k, v in value.items()):
        return value
    what = "sensors" if name == "names" else "units"
    problems.append(Problem(_WHERE, f"{name} does not name {what} of melted columns", f'Write "{name}": {{"t": "x"}}.'))
    return {}


def _flag(value: object, name: str, problems: list[Problem]) -> bool:
    if not isinstance(value, bool):
        problems.append(Problem(_WHERE, f"{name} is neither true nor false", f'Write "{name}": true.'))
        return False
    return value


def _options(value: object, problems: list[Problem]) -> Options:
    if isinstance(value, dict) and value.keys() <= set(Options._fields) and all(map(_is_text, value.values())):
        return Options(**value)
    problems.append(Problem(_WHERE, "text is not an object of encoding, separator and decimal", "See docs/ingest.md."))
    return Options()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _source(name: str, value: object, problems: list[Problem]) -> Source | None:  # noqa: PLR0911 - one per rule
    def wrong(what: str, remedy: str) -> None:
        problems.append(Problem(_WHERE, what, remedy))

    if name not in PRODUCER_COLUMNS:
        wrong(f"unknown field {name}", f"Use {', '.join(PRODUCER_COLUMNS)}, melt or keep.")
        return None
    if not isinstance(value, dict) or ("column" in value) == ("const" in value):
        wrong(f"{name} needs either column or const", f'Write "{name}": {{"column": "…"}} or {{"const": "…"}}.')
        return None
    unknown = value.keys() - ({"column", "const", "format", "tz", "also"} if name == "ts" else {"column", "const"})
    if unknown:
        wrong(
            f"{name} has unknown {', '.join(sorted(unknown))}", "Use column or const; format, tz and also only for ts."
        )
        return None
    texts = {k: value.get(k) for k in ("column", "format", "tz", "also")}
    if any(v is not None and not (isinstance(v, str) and v) for v in texts.values()):
        wrong(f"{name}: column, format, tz and also are texts", "Quote them.")
        return None
    const = value.get("const")
    if isinstance(const, bool) or not isinstance(const, str | int | float | None):
        wrong(f"{name}: const is neither a text nor a number", "Give the value itself.")
        return None
    if texts["tz"] is not None and not zone_known(str(texts["tz"])):
        wrong(
            f"{name}: unknown time zone {texts['tz']}",
            "Use an IANA name such as Europe/London, or an offset such as +01:00.",
        )
        return None
    return Source(const=const, **texts)
