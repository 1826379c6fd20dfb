"""Boards by name: processor architecture, cores and memory of what people have at home.

Belongs here: reading boards.yaml, facts of hardware. The usable memory is below the nominal one: the GPU and firmware
keep a part, so a board's `memory` is what Linux reports as MemTotal, about 97 % of nominal.

Units: memory in bytes, CPU in millicores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homelab_platform.lab.tables import read_table

GI = 1024**3
MI = 1024**2
Arch = Literal["amd64", "arm64", "armv7", "armv6"]


@dataclass(frozen=True)
class Board:
    """A kind of machine. `cpu` and `memory` None: the host must say them. `boot` is the disk it usually boots from."""

    name: str
    title: str
    arch: Arch
    cpu: int | None
    memory: int | None
    boot: str = "sd"
    virtual: bool = False
    page_size: int = 4096

    @property
    def family(self) -> str:
        """`pi5` of pi5-8gb; the name itself of anything else."""
        return self.name.split("-", 1)[0] if self.name.startswith("pi") else self.name


def _board(
    name: str,
    title: str,
    arch: Arch,
    cores: int | None = None,
    memory: float | None = None,
    *,
    boot: str = "sd",
    virtual: bool = False,
    page_size: int = 4096,
) -> Board:
    """A line of the table; `memory` is nominal, in GiB."""
    cpu = cores * 1000 if cores is not None else None
    usable = _usable(memory) if memory is not None else None
    return Board(name, title, arch, cpu, usable, boot, virtual, page_size)


def _usable(nominal: float) -> int:
    """What Linux sees of `nominal` GiB: 97.5 %, rounded down to MiB (a Pi 5 8 GB reports about 7.8 GiB)."""
    return int(nominal * GI * 0.975) // MI * MI


BOARDS: dict[str, Board] = {
    name: _board(name, **row) for name, row in read_table(Path(__file__).with_suffix(".yaml")).items()
}
