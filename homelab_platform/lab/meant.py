"""What a lab with typing errors was probably meant to be, so that all its problems can be told at once.

Belongs here: guesses from validation errors: a known key for a misspelt one, the word or value that the message itself
proposes, and otherwise leaving the value out. The result is read by rules only, never resolved for use. Where a guess
would make rules tell of things that are not so (an address left out, a host without its board), there is none.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.errors import known_keys, literal_words
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.positions import Path, Positions

ROUNDS = 3
_PROPOSED = re.compile(r"(?:Write|The network is|Did you mean) ([^\s\[\]{}]+?)[.?]")
_LEAVE_OUT = ("workloads", "streams", "tasks", "logs", "alerts", "nix", "tooling", "people", "patching", "locale")


class _NoGuessError(Exception):
    """A mistake that leaves nothing to guess from."""


def meant(data: dict[str, Any], positions: Positions) -> tuple[Lab, Positions] | None:
    """The lab that `data` was probably meant to be, with its positions; None when that cannot be guessed."""
    guess, marks = copy.deepcopy(data), dict(positions.marks)
    tried: set[Path] = set()
    for _ in range(ROUNDS):
        try:
            return Lab.model_validate(guess), Positions(positions.file, marks)
        except ValidationError as error:
            try:
                _round(guess, marks, error.errors(include_url=False), tried)
            except _NoGuessError:
                return None
    return None


def _round(data: dict[str, Any], marks: dict[Path, Any], details: list[ErrorDetails], tried: set[Path]) -> None:
    """One guess for every mistake. A key may be missing only because it is misspelt: then the next round tells."""
    misspelt = any(detail["type"] == "extra_forbidden" for detail in details)
    for detail in reversed(details):
        if detail["type"] == "missing" and not misspelt:
            raise _NoGuessError
        if detail["type"] != "missing":
            _mend(data, marks, detail, tried)


def _mend(data: dict[str, Any], marks: dict[Path, Any], detail: ErrorDetails, tried: set[Path]) -> None:
    path: Path = tuple(detail["loc"])
    if detail["type"] == "extra_forbidden":
        _rename(data, marks, path, q.nearest(str(path[-1]), known_keys(Lab, path[:-1])))
        return
    if path and path[-1] == "[key]":
        better = re.sub(r"[^a-z0-9]+", "-", str(path[-2]).lower()).strip("-")[:63].strip("-")
        _rename(data, marks, path[:-1], better or None)
        return
    parent, key, where = _target(data, path)
    proposed = None if where in tried else _proposal(detail)
    tried.add(where)
    if proposed is not None and not isinstance(parent[key], (dict, list)):
        parent[key] = proposed
    elif isinstance(parent, dict) and path[0] in _LEAVE_OUT:
        del parent[key]
    else:
        raise _NoGuessError


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


def _rename(data: dict[str, Any], marks: dict[Path, Any], path: Path, name: str | None) -> None:
    parent, key, where = _target(data, path)
    if where != path or not isinstance(parent, dict):
        raise _NoGuessError
    value = parent.pop(key)
    if name is None or name in parent:
        return
    parent[name] = value
    for old in [p for p in marks if p[: len(path)] == path]:
        marks[(*path[:-1], name, *old[len(path) :])] = marks[old]
