"""Pydantic's findings in the words of the lab file: where it stands, what is wrong, what to write.

Belongs here: translation of validation errors only.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.positions import Path, Positions


def problems_of(error: ValidationError, model: type[BaseModel], positions: Positions) -> list[Problem]:
    """One Problem per finding, in the order of the file, without doubles."""
    found = [_problem(detail, model, positions) for detail in error.errors(include_url=False)]
    return sorted(set(found), key=lambda p: (str(getattr(p.where, "file", "")), _line(p), p.what))


def _line(problem: Problem) -> tuple[int, int]:
    where = problem.where
    return (0, 0) if isinstance(where, str) else (where.line, where.column)


def _problem(detail: ErrorDetails, model: type[BaseModel], positions: Positions) -> Problem:
    path = tuple(detail["loc"])
    kind = detail["type"]
    if path and path[-1] == "[key]":
        what, remedy = _said(detail, positions.raw(*path[:-1]))
        return Problem(positions.key(*path[:-1]), what, remedy, "name")
    if kind == "extra_forbidden":
        name = str(path[-1])
        known = sorted(known_keys(model, path[:-1]))
        prefix = _owner(path)
        where = positions.key(*path)
        near = meant_key(name, known)
        remedy = f"Did you mean {near}?" if near else q.did_you_mean(name, known, "Keys")
        return Problem(where, f"{prefix}unknown key {name}", remedy, "unknown-key")
    if kind == "missing":
        return Problem(
            positions.key(*path[:-1]), f"{_owner(path)}{path[-1]} is missing", _missing(model, path), "missing"
        )
    what, remedy = _said(detail, positions.raw(*path))
    return Problem(positions.at(*path), f"{_owner(path)}{path[-1]}: {what}" if path else what, remedy, "value")


_ELSEWHERE = {
    "workloads": ("services", "apps", "applications", "containers", "deployments", "charts", "releases"),
    "hosts": ("machines", "nodes", "servers", "devices", "inventory"),
    "people": ("users", "accounts", "admins", "members"),
    "streams": ("sensors", "metrics", "readings", "telemetry"),
    "network": ("networks", "networking", "lan"),
    "backups": ("backup", "snapshots"),
    "patching": ("updates", "upgrades", "maintenance"),
    "alerts": ("notifications", "notify", "alerting"),
    "address": ("ip", "ip_address", "ipv4"),
    "memory": ("ram", "mem"),
    "ssh": ("keys", "ssh_keys", "authorized_keys"),
}
"""What other tools call our keys."""


def meant_key(name: str, known: Iterable[str]) -> str | None:
    """The key that somebody who wrote `name` most likely meant: near in spelling, or another tool's word for it."""
    words = set(known)
    near = q.nearest(name, words)
    return near or next((ours for ours, theirs in _ELSEWHERE.items() if ours in words and name.lower() in theirs), None)


_NAMED = ("hosts", "people", "workloads", "streams", "tasks")


def _owner(path: Path) -> str:
    """'trino: ' for ("workloads", "trino", "memry"): the named thing that the key belongs to."""
    names = [str(part) for part in path[:-1] if not isinstance(part, int)]
    if not names or (len(path) == 2 and names[0] in _NAMED):
        return ""
    return f"{names[1]}: " if len(names) > 1 else f"{names[0]}: "


def _missing(model: type[BaseModel], path: Path) -> str:
    owner = _model_at(model, path[:-1])
    for name, info in (owner.model_fields if owner else {}).items():
        if path[-1] in (name, info.alias):
            example = f" For example {path[-1]}: {_plain(info.examples[0])}." if info.examples else ""
            return f"{info.description or ''}{example}"
    return "Add it."


def _plain(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


_TYPES = {
    "string_type": ("text", "Put it in quotes: '{raw}'."),
    "int_type": ("a whole number", "Write digits without quotes."),
    "float_type": ("a number", "Write digits without quotes."),
    "bool_type": ("true or false", "Write true or false; other words (yes, no, on, off) are text in YAML 1.2."),
    "dict_type": ("a mapping", "Write names with values below it, indented."),
    "model_type": ("a mapping", "Write names with values below it, indented."),
    "model_attributes_type": ("a mapping", "Write names with values below it, indented."),
    "tuple_type": ("a list", "Write [one, two]."),
    "list_type": ("a list", "Write [one, two]."),
}


def _said(detail: ErrorDetails, raw: str | None) -> tuple[str, str]:
    kind, value = detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx") or {}
    cause = context.get("error")
    if isinstance(cause, q.Bad):
        return cause.what, cause.remedy
    typed = raw if raw is not None and not isinstance(value, (dict, list, tuple)) else q.shown(value)
    if kind == "literal_error":
        words = literal_words(context.get("expected", ""))
        return f"{typed or 'nothing'} is not one of {', '.join(words)}", q.did_you_mean(str(value), words)
    if kind in _TYPES:
        return _wrong_type(detail, typed)
    if kind == "string_pattern_mismatch":
        return f"{typed} does not look right", f"It must match {context.get('pattern', '')}."
    return f"{typed}: {detail['msg'].removeprefix('Input ').lower()}", "Change it to fit."


def _wrong_type(detail: ErrorDetails, typed: str) -> tuple[str, str]:
    like, remedy = _TYPES[detail["type"]]
    value = detail["input"]
    if detail["type"] == "dict_type" and isinstance(value, list) and detail["loc"][-1:] == ("ports",):
        return "ports have names here", "Write ports: {http: 8080}; what the LAN sees is expose:."
    if value is None:
        return f"missing value, {like} is needed", "Write a value, or leave the key out."
    return f"{typed} is not {like}", remedy.format(raw=typed)


def literal_words(expected: str) -> list[str]:
    """The words of pydantic's "'a', 'b' or 'c'"."""
    import re

    return [word.strip("'") for word in re.findall(r"'[^']*'|[0-9]+", expected)]


def known_keys(model: type[BaseModel], path: Path) -> set[str]:
    """Keys that the mapping at `path` may have, as they are written."""
    owner = _model_at(model, path)
    return {info.alias or name for name, info in owner.model_fields.items()} if owner else set()


def _model_at(model: type[BaseModel], path: Iterable[str | int]) -> type[BaseModel] | None:
    current: object = model
    for part in path:
        current = _step(current, part)
        if current is None:
            return None
    models = [m for m in _unwrapped(current) if isinstance(m, type) and issubclass(m, BaseModel)]
    return models[0] if models else None


def _step(current: object, part: str | int) -> Any:
    for option in _unwrapped(current):
        if isinstance(option, type) and issubclass(option, BaseModel):
            for name, info in option.model_fields.items():
                if part in (info.alias or name, name):
                    return info.annotation
            extra = _extra_type(option)
            if extra is not None:
                return extra
        origin, args = typing.get_origin(option), typing.get_args(option)
        if origin is dict:
            return args[1]
        if origin is tuple:
            return args[0]
    return None


@lru_cache(maxsize=256)
def _extra_type(model: type[BaseModel]) -> Any:
    hints = typing.get_type_hints(model, include_extras=False) if "__pydantic_extra__" in model.__annotations__ else {}
    args = typing.get_args(hints.get("__pydantic_extra__"))
    return args[1] if args else None


def _unwrapped(annotation: object) -> list[Any]:
    """The alternatives of an annotation without Annotated and None."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _unwrapped(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [o for arg in typing.get_args(annotation) if arg is not type(None) for o in _unwrapped(arg)]
    return [annotation]
