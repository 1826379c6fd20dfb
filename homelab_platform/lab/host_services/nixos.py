"""What nix/ serves on NixOS hosts: services with their settings, exporters, profiles, boards.

Belongs here: reading served_nixos.yaml. Not here: refusing what is beyond it (lab/rules/nixos.py).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from homelab_platform.lab.tables import read_table

_FILE = Path(__file__).with_name("served_nixos.yaml")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Unfree(_Frozen):
    """Names of unfree packages that a profile, a service, or CUDA of the NVIDIA driver cannot do without."""

    profiles: dict[str, tuple[str, ...]]
    services: dict[str, tuple[str, ...]]
    cuda: tuple[str, ...]


class ServedNixos(_Frozen):
    """What a NixOS host can be asked for. `k3s` holds the minors of the pinned nixpkgs, `release` is its name."""

    release: str
    services: dict[str, tuple[str, ...]]
    not_served: dict[str, str]
    exporters: dict[str, str]
    profiles: tuple[str, ...]
    unfree: Unfree
    boards: tuple[str, ...]
    k3s: tuple[str, ...]


@cache
def served_nixos() -> ServedNixos:
    """The list as it lies beside this module."""
    return ServedNixos.model_validate(read_table(_FILE))
