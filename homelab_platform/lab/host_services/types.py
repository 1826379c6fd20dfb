"""The shape of a host service, and the short form in which the tables write its settings.

Belongs here: the type only; the tables are system.py and apps.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from homelab_platform.lab.settings import SettingKind, SettingSpec

MI = 1024**2


@dataclass(frozen=True)
class HostService:
    """A service of a host. `ports` are 'tcp/445'; `exporters` name → port; `memory` in bytes is not left for pods.

    `open` says whether other machines of the LAN need its ports; `state` is the folder whose loss hurts.
    """

    name: str
    title: str
    ports: tuple[str, ...] = ()
    exporters: dict[str, int] = field(default_factory=dict)
    settings: dict[str, SettingSpec] = field(default_factory=dict)
    memory: int = 0
    open: bool = True
    state: str | None = None
    systems: tuple[Literal["nixos", "raspios", "debian"], ...] = ("nixos", "raspios", "debian")


NIXOS_ONLY: tuple[Literal["nixos"], ...] = ("nixos",)
DEBIANS: tuple[Literal["raspios", "debian"], ...] = ("raspios", "debian")
_SETTING = re.compile(r"(?P<name>[a-z_]+) (?P<kind>[a-z]+)(?:=(?P<default>[^:]+))?(?:: (?P<description>.+))?")


def settings(*lines: str) -> dict[str, SettingSpec]:
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
