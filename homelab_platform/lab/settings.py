"""Settings that a catalogue entry or a host service declares, and how one value of them is read.

Belongs here: the kinds of settings and their reading. Not here: which settings exist (lab/host_services/table.py, the
catalogue).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from homelab_platform.lab import quantities

SettingKind = Literal[
    "text", "integer", "number", "boolean", "size", "duration", "cpu", "time", "choice", "list", "mapping", "secret",
    "workload", "host", "address", "path", "any",
]  # fmt: skip


@dataclass(frozen=True)
class SettingSpec:
    """One setting: its kind, what it does, the words it may take (`choices`), and the value when nothing is said."""

    kind: SettingKind
    description: str = ""
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False


def read_setting(spec: SettingSpec, value: object) -> Any:
    """The value in plain units (bytes, seconds, millicores); raises quantities.Bad when it cannot be read."""
    reader = _READERS.get(spec.kind)
    if reader is not None:
        return reader(value)
    if spec.kind == "choice":
        if value not in spec.choices:
            raise quantities.Bad(
                f"{_shown(value)} is not one of {', '.join(spec.choices)}",
                quantities.did_you_mean(str(value), spec.choices),
            )
        return value
    return value


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _typed(words: str, *types: type) -> Any:
    def read(value: Any) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise quantities.Bad(f"{_shown(value)} is not {words}", f"Write {words}.")
        return value

    return read


def _many(value: object) -> tuple[Any, ...]:
    if isinstance(value, dict) or value is None:
        raise quantities.Bad("this is not a list", "Write [one, two].")
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


_READERS: dict[str, Any] = {
    "text": _typed("text", str),
    "integer": _typed("a whole number", int),
    "number": _typed("a number", int, float),
    "boolean": _typed("true or false", bool),
    "mapping": _typed("a mapping of names to values", dict),
    "size": quantities.size,
    "duration": quantities.duration,
    "cpu": quantities.cpu,
    "time": quantities.time_of_day,
    "secret": quantities.secret,
    "address": quantities.address,
    "host": quantities.name,
    "workload": quantities.name,
    "path": _typed("a path", str),
    "list": _many,
}
