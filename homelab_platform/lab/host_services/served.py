"""What each way of configuring hosts really does, from the tables beside this file.

Belongs here: reading the tables. Not here: the rule that refuses the rest (lab/rules/served.py), or the roles.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from homelab_platform.lab.tables import read_table


class Refusal(BaseModel):
    """Why a field is not served, and the way out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    what: str
    remedy: str


class Served(BaseModel):
    """What a way serves: services with the settings that it reads, exporters with their packages, profiles, file
    systems; `fields` and `disk_fields` are what it refuses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    services: dict[str, tuple[str, ...]]
    exporters: dict[str, str]
    profiles: tuple[str, ...] = ()
    fields: dict[str, Refusal] = {}
    disk_fields: dict[str, Refusal] = {}
    filesystems: tuple[str, ...] = ()


@cache
def served_by(way: str) -> Served | None:
    """The table of a way (`ansible`); None for ways that have none."""
    file = Path(__file__).with_name(f"served_{way}.yaml")
    if not file.exists():
        return None
    return Served.model_validate(read_table(file))
