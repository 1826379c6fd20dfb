"""The shape of a host service, and the short form in which the table writes its settings.

Belongs here: the types and reading services.yaml. Not here: what is asked of them (table.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from homelab_platform.lab.settings import SettingKind, SettingSpec
from homelab_platform.lab.tables import read_table

MI = 1024**2
System = Literal["nixos", "raspios", "debian"]
EVERYWHERE: tuple[System, ...] = ("nixos", "raspios", "debian")


@dataclass(frozen=True)
class HostService:
    """A service of a host. `ports` are 'tcp/445'; `exporters` name → port; `memory` in bytes is not left for pods.

    `open` says whether other machines of the LAN need its ports; `state` is the folder whose loss hurts, `live`
    if a server writes there without end; `provides` names interfaces that others may ask for.
    """

    name: str
    title: str
    ports: tuple[str, ...] = ()
    exporters: dict[str, int] = field(default_factory=dict)
    settings: dict[str, SettingSpec] = field(default_factory=dict)
    memory: int = 0
    open: bool = True
    state: str | None = None
    systems: tuple[System, ...] = EVERYWHERE
    provides: tuple[str, ...] = ()
    live: bool = False


def read_services(file: Path) -> tuple[HostService, ...]:
    """The host services of a table, in its order. Raises TypeError or ValueError for a damaged one."""
    return tuple(_service(name, **row) for name, row in read_table(file).items())


def _service(
    name: str,
    title: str,
    ports: Sequence[str] = (),
    *,
    settings: Sequence[str] = (),
    memory: int = 0,
    exporters: dict[str, int] | None = None,
    open: bool = True,
    state: str | None = None,
    systems: Sequence[System] = EVERYWHERE,
    provides: Sequence[str] = (),
    live: bool = False,
) -> HostService:
    """A row of the table; `memory` in MiB."""
    said = read_settings(*settings)
    where, offers = tuple(systems), tuple(provides)
    return HostService(name, title, tuple(ports), exporters or {}, said, memory * MI, open, state, where, offers, live)


_SETTING = re.compile(r"(?P<name>[a-z_]+) (?P<kind>[a-z]+)(?:=(?P<default>[^:]+))?(?:: (?P<description>.+))?")


def read_settings(*lines: str) -> dict[str, SettingSpec]:
    """Settings from lines 'name kind=default: what it does'; a list's default is separated by commas."""
    specs = {}
    for line in lines:
        match = _SETTING.fullmatch(line)
        if match is None or match["kind"] not in get_args(SettingKind):
            raise ValueError(line)
        kind = cast(SettingKind, match["kind"])
        specs[match["name"]] = SettingSpec(kind, match["description"] or "", default=_default(kind, match["default"]))
    return specs


def _default(kind: SettingKind, text: str | None) -> Any:
    if text is None:
        return None
    if kind == "boolean":
        return text == "true"
    return int(text) if kind == "integer" else text.split(",") if kind == "list" else text
