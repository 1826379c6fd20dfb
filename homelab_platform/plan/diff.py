"""What differs between two documents, said by the path of what a person wrote.

Belongs here: comparing JSON-able documents and writing the difference as text or Markdown. Not here: what a difference
does to a running lab (danger.py).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from homelab_platform.lab.why.trace import show

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document, Json

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


class Absent:
    """The value of something that is not there."""

    def __repr__(self) -> str:
        return "–"


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs: `path` in dotted form, `old` and `new` as JSON data, ABSENT where there is none."""

    path: str
    old: Json | Absent
    new: Json | Absent

    def to_dict(self) -> dict[str, Json | Absent]:
        """The change as JSON-ready data; a side that is absent is left out."""
        sides = {"old": self.old, "new": self.new}
        return {"path": self.path, **{name: side for name, side in sides.items() if side is not ABSENT}}

    def line(self) -> str:
        """The change as `old → new`, `+ added` or `- removed`, in the units of the lab file: 40d, 20Gi."""
        old, new = (shown(self._human(side)) for side in (self.old, self.new))
        if self.old is ABSENT:
            return f"+ {new}"
        if self.new is ABSENT:
            return f"- {old}"
        return f"{old} → {new}"

    def _human(self, side: Json | Absent) -> Json | Absent:
        """A side as the lab file would say it. Numbers in a chart's own values have the chart's units."""
        foreign = self.path.startswith(("values", "settings"))
        return side if foreign or side is ABSENT else show(self.path.rpartition(".")[2].partition("[")[0], side)


def diff(old: Document, new: Document) -> tuple[Change, ...]:
    """Every value that differs between two JSON-able documents, in the order of their paths.

    Lists of names are compared as sets: what was added, what was taken away; their order only if nothing else differs.
    """
    return tuple(_maps("", old, new))


def _join(path: str, name: str) -> str:
    if not _PLAIN.match(name):
        return f"{path}[{orjson.dumps(name).decode()}]"
    return f"{path}.{name}" if path else name


def _values(path: str, old: Json, new: Json) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _maps(path, old, new)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        yield from _lists(path, old, new)
    elif not _same(old, new):
        yield Change(path, old, new)


def _same(old: Json, new: Json) -> bool:
    """Equal in JSON: `1`, `1.0` and `true` are three different values there."""
    if isinstance(old, int | float | bool) and isinstance(new, int | float | bool):
        return type(old) is type(new) and old == new
    return bool(old == new)


def _maps(path: str, old: Document, new: Document) -> Iterator[Change]:
    if not old and not new:
        return
    for name in sorted({*old, *new}):
        here = _join(path, name)
        if name not in old:
            yield from _one_sided(here, new[name], added=True)
        elif name not in new:
            yield from _one_sided(here, old[name], added=False)
        else:
            yield from _values(here, old[name], new[name])


def _one_sided(path: str, value: Json, *, added: bool) -> Iterator[Change]:
    """Something that came or went: a map shows its members, so that each path says one thing."""
    if isinstance(value, Mapping) and value:
        for name in sorted(value):
            yield from _one_sided(_join(path, name), value[name], added=added)
    else:
        yield Change(path, ABSENT, value) if added else Change(path, value, ABSENT)


def _names(value: Sequence[Json]) -> bool:
    return all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def _lists(path: str, old: Sequence[Json], new: Sequence[Json]) -> Iterator[Change]:
    if not (_names(old) and _names(new)):
        yield from _items(path, old, new)
        return
    gone, come = [n for n in old if n not in set(new)], [n for n in new if n not in set(old)]
    for name in gone:
        yield Change(path, name, ABSENT)
    for name in come:
        yield Change(path, ABSENT, name)
    if not gone and not come and list(old) != list(new):
        yield Change(path, list(old), list(new))
    if not old and new == [] and list(old) != list(new):
        yield Change(path, list(old), list(new))


def _items(path: str, old: Sequence[Json], new: Sequence[Json]) -> Iterator[Change]:
    """Lists of what has no name. Of two as long as each other the items are compared in pairs; else each item that came
    or went is told, at its place in the list where it stands.
    """
    if len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _values(f"{path}[{index}]", one, other)
        return
    before, after = ([orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in side] for side in (old, new))
    for same, i, gone, j, come in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if same != "equal":
            yield from (Change(f"{path}[{index}]", old[index], ABSENT) for index in range(i, gone))
            yield from (Change(f"{path}[{index}]", ABSENT, new[index]) for index in range(j, come))


def shown(value: Json | Absent, limit: int = 60) -> str:
    """A value for people on one line, cut after `limit` characters."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        text = " ".join(value.split()) or '""'
    elif isinstance(value, int | float):
        text = str(value)
    elif isinstance(value, Sequence) and _names(value):
        text = ", ".join(map(str, value)) or "[]"
    else:
        text = "–" if value is ABSENT else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def as_lines(changes: Sequence[Change]) -> list[str]:
    """The changes as aligned text, one a line: the path, then what became of it."""
    width = min(max((len(c.path) for c in changes), default=0), 48)
    return [f"{c.path:<{width}}   {c.line()}" for c in changes]


def as_markdown(changes: Sequence[Change]) -> str:
    """The changes as a Markdown diff block, as an asset's page shows it."""
    if not changes:
        return "No difference."
    lines: list[str] = []
    for change in changes:
        if change.old is not ABSENT:
            lines.append(f"- {change.path}: {shown(change.old, 200)}")
        if change.new is not ABSENT:
            lines.append(f"+ {change.path}: {shown(change.new, 200)}")
    body = "\n".join(line.replace("```", "ʼʼʼ") for line in lines)
    return f"```diff\n{body}\n```"
