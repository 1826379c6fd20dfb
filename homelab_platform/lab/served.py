"""What this version does with each key of the lab file: the table served.yaml, and what a lab asks for beyond it.

Belongs here: reading the table and looking a lab up in it. Not here: what a way of configuring hosts can do
(host_services/), or what a workload can do (the catalogue).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from homelab_platform.errors import Problem
from homelab_platform.lab.positions import Path as KeyPath
from homelab_platform.lab.positions import Positions
from homelab_platform.lab.tables import read_table

TABLE = Path(__file__).with_name("served.yaml")
ANY = "*"
_NOTHING_ASKED = frozenset({"false", "null", "~", "", "[]", "{}"})


class Entry(BaseModel):
    """What happens with a key: files that read it, or a sentence that says that nothing does."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    by: tuple[str, ...] = ()
    not_yet: str | None = None
    danger: str | None = None
    instead: str = ""

    @property
    def says(self) -> str | None:
        """Why the key has no effect; None where it has one."""
        return self.not_yet or self.danger


@cache
def table() -> Mapping[tuple[str, ...], Entry]:
    """The entries by path of keys, `*` for a name that a person chose."""
    raw = read_table(TABLE)
    return {tuple(key.split(".")): Entry.model_validate(entry) for key, entry in raw.items()}


def entry_of(path: tuple[str, ...]) -> tuple[tuple[str, ...], Entry] | None:
    """The most special entry that covers the key at `path`, with its own path; None where the table says nothing."""
    covering = [key for key in table() if len(key) <= len(path) and _covers(key, path)]
    if not covering:
        return None
    best = max(covering, key=lambda key: (len(key), sum(part != ANY for part in key)))
    return best, table()[best]


def _covers(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return all(part in (ANY, key) for part, key in zip(pattern, path, strict=False))


def unserved(positions: Positions, *, dangerous: bool) -> Iterator[Problem]:
    """What the lab asks for and nothing serves: only what would be relied on if `dangerous`, else only the rest.

    A mapping is named once, at its own key, if anything in it is without effect.
    """
    sentences = _without_effect()
    for path in positions:
        names = _names(path)
        for pattern, entry in sentences.get(names[-1] if names else "", ()):
            if len(pattern) == len(names) and _covers(pattern, names) and (entry.danger is not None) is dangerous:
                if _asks(path, names, positions):
                    yield _problem(positions, path, entry)
                break


@cache
def _without_effect() -> Mapping[str, tuple[tuple[tuple[str, ...], Entry], ...]]:
    """The entries that say why a key has no effect, by the key's last word: a large lab is looked up in a moment."""
    found: dict[str, list[tuple[tuple[str, ...], Entry]]] = {}
    for pattern, entry in table().items():
        if entry.says is not None:
            found.setdefault(pattern[-1], []).append((pattern, entry))
    return {word: tuple(entries) for word, entries in found.items()}


def _problem(positions: Positions, path: KeyPath, entry: Entry) -> Problem:
    what = f"{_names(path)[-1]}: {entry.says}"
    level: Literal["error", "warning"] = "error" if entry.danger is not None else "warning"
    return Problem(positions.key(*path), what, entry.instead, "no-effect", level)


def _names(path: KeyPath) -> tuple[str, ...]:
    """The keys of a path, without positions in lists."""
    return tuple(part for part in path if isinstance(part, str))


def _asks(path: KeyPath, names: tuple[str, ...], positions: Positions) -> bool:
    """Whether a person asked for something there: not `false` or nothing, and not only for parts that are served."""
    raw = positions.raw(*path)
    if raw is not None:
        return raw.strip().lower() not in _NOTHING_ASKED
    parts = [_names(other) for other in positions if len(other) == len(path) + 1 and other[: len(path)] == path]
    inside = [part for part in parts if len(part) == len(names) + 1]
    return not inside or any((found := entry_of(part)) is not None and found[1].says is not None for part in inside)
