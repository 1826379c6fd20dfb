"""What a lab with typing errors was probably meant to be, so that all its problems can be told at once.

Belongs here: guesses from validation errors: a known key for a misspelt one, the word or value that the message itself
proposes, and otherwise leaving out the least that makes the rest a lab. The result is read by rules only, never
resolved for use. What was left out is said, so that no rule tells of things that are not so.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.errors import known_keys, literal_words, meant_key
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.positions import Path, Positions

ROUNDS = 6
_PROPOSED = re.compile(r"(?:Write|The network is|Did you mean) ([^\s\[\]{}]+?)[.?]")
_HARMLESS = ("workloads", "streams", "tasks", "logs", "alerts", "nix", "tooling", "people", "patching", "locale")
"""Sections whose parts may be missing without a rule of another section telling of it."""


class _NoGuessError(Exception):
    """A mistake that leaves nothing to guess from."""


@dataclass
class LeftOut:
    """What is not in the guess: paths, and the names of hosts and the like that others may refer to."""

    paths: set[Path] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """Names that a person chose and that are gone from the guess."""
        return {str(path[1]) for path in self.paths if len(path) == 2}

    def covers(self, path: Path) -> bool:
        """Whether what stands at `path` is gone with something that holds it."""
        return any(path[: len(gone)] == gone for gone in self.paths)

    @property
    def foundations(self) -> bool:
        """Whether something is gone that whole families of rules reckon with."""
        return any(path[0] not in _HARMLESS for path in self.paths)


def meant(data: dict[str, object], positions: Positions) -> tuple[Lab, Positions, LeftOut] | None:
    """The lab that `data` was probably meant to be, its positions, what was left out; None when nothing can be told."""
    guess, marks = copy.deepcopy(data), dict(positions.marks)
    tried: set[Path] = set()
    left_out = LeftOut()
    for _ in range(ROUNDS):
        try:
            return Lab.model_validate(guess), Positions(positions.file, marks), left_out
        except ValidationError as error:
            try:
                _round(guess, marks, error.errors(include_url=False), tried, left_out)
            except _NoGuessError:
                return None
    return None


def _round(
    data: dict[str, object], marks: dict[Path, Any], details: list[ErrorDetails], tried: set[Path], left_out: LeftOut
) -> None:
    """One guess for every mistake. A key may be missing only because it is misspelt: then the next round tells."""
    misspelt = any(detail["type"] == "extra_forbidden" for detail in details)
    for detail in reversed(details):
        if detail["type"] == "missing":
            if not misspelt:
                _leave_out(data, tuple(detail["loc"])[:-1], left_out)
        else:
            _mend(data, marks, detail, tried, left_out)


def _leave_out(data: dict[str, object], path: Path, left_out: LeftOut) -> None:
    """Leave out the named thing that holds `path`, or the key itself where it is no part of one."""
    if left_out.covers(path):
        return
    whole = path[: 3 if path[:2] == ("backups", "to") else 2]
    parent: object = data
    for part in whole[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else None
    if not whole or not isinstance(parent, dict) or whole[-1] not in parent:
        raise _NoGuessError
    del parent[whole[-1]]
    left_out.paths.add(whole)


def _mend(
    data: dict[str, object], marks: dict[Path, object], detail: ErrorDetails, tried: set[Path], left_out: LeftOut
) -> None:
    path: Path = tuple(detail["loc"])
    if left_out.covers(path):
        return
    if detail["type"] == "extra_forbidden":
        _rename(data, marks, path, meant_key(str(path[-1]), known_keys(Lab, path[:-1])))
        return
    if path and path[-1] == "[key]":
        better = re.sub(r"[^a-z0-9]+", "-", str(path[-2]).lower()).strip("-")[:63].strip("-")
        _rename(data, marks, path[:-1], better or None)
        return
    try:
        parent, key, where = _target(data, path)
    except _NoGuessError:
        _leave_out(data, path, left_out)
        return
    proposed = None if where in tried else _proposal(detail)
    tried.add(where)
    if proposed is not None and not isinstance(parent[key], (dict, list)):
        parent[key] = proposed
    elif isinstance(parent, dict) and path[0] in _HARMLESS:
        del parent[key]
    else:
        _leave_out(data, path, left_out)


def _target(data: Any, path: Path) -> tuple[Any, Any, Path]:
    """The deepest mapping or list on the path, the key in it, and its path: short forms have no more in the file."""
    parent, key, current, depth = None, None, data, 0
    for part in path:
        inside = (isinstance(current, dict) and part in current) or (
            isinstance(current, list) and isinstance(part, int) and part < len(current)
        )
        if not inside:
            break
        parent, key, current, depth = current, part, current[part], depth + 1
    if parent is None:
        raise _NoGuessError
    return parent, key, path[:depth]


def _proposal(detail: ErrorDetails) -> str | None:
    context: dict[str, Any] = detail.get("ctx") or {}
    cause = context.get("error")
    if detail["type"] == "literal_error":
        return q.nearest(str(detail["input"]), literal_words(context.get("expected", "")))
    found = _PROPOSED.fullmatch(cause.remedy) if isinstance(cause, q.Bad) else None
    return found[1] if found else None


def _rename(data: dict[str, object], marks: dict[Path, object], path: Path, name: str | None) -> None:
    parent, key, where = _target(data, path)
    if where != path or not isinstance(parent, dict):
        raise _NoGuessError
    value = parent.pop(key)
    if name is None or name in parent:
        return
    parent[name] = value
    for old in [p for p in marks if p[: len(path)] == path]:
        marks[(*path[:-1], name, *old[len(path) :])] = marks[old]
