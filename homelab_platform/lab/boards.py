"""Boards by name: processor architecture, cores and memory of what people have at home.

Belongs here: facts of hardware. Sources: the product briefs of Raspberry Pi Ltd. (SoC, cores, memory variants). The
usable memory is below the nominal one: the GPU and firmware keep a part, so a board's `memory` is what Linux reports
as MemTotal, about 97 % of nominal.

Units: memory in bytes, CPU in millicores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


def _usable(nominal: float) -> int:
    """What Linux sees of `nominal` GiB: 97.5 %, rounded down to MiB (a Pi 5 8 GB reports about 7.8 GiB)."""
    return int(nominal * GI * 0.975) // MI * MI


def _pi(name: str, title: str, arch: Arch, cores: int, gib: float, *, page_size: int = 4096) -> Board:
    return Board(name, title, arch, cores * 1000, _usable(gib), page_size=page_size)


def _machine(name: str, title: str, arch: Arch = "amd64", *, boot: str = "ssd", virtual: bool = False) -> Board:
    return Board(name, title, arch, None, None, boot, virtual)


_ALL = (
    _pi("pi1", "Raspberry Pi 1 Model B+ (BCM2835, ARM1176)", "armv6", 1, 0.5),
    _pi("pi-zero", "Raspberry Pi Zero W (BCM2835, ARM1176)", "armv6", 1, 0.5),
    _pi("pi-zero-2", "Raspberry Pi Zero 2 W (BCM2710, 4 × Cortex-A53)", "arm64", 4, 0.5),
    _pi("pi2", "Raspberry Pi 2 Model B v1.1 (BCM2836, 4 × Cortex-A7)", "armv7", 4, 1),
    _pi("pi3", "Raspberry Pi 3 Model B/B+ (BCM2837, 4 × Cortex-A53; 32-bit Raspberry Pi OS)", "armv7", 4, 1),
    _pi("pi3-64", "Raspberry Pi 3 Model B/B+ with a 64-bit system", "arm64", 4, 1),
    *(
        _pi(f"pi4-{g}gb", f"Raspberry Pi 4 Model B, {g} GB (BCM2711, 4 × Cortex-A72)", "arm64", 4, g)
        for g in (1, 2, 4, 8)
    ),
    _pi("pi400", "Raspberry Pi 400 (BCM2711, 4 × Cortex-A72)", "arm64", 4, 4),
    *(
        _pi(f"pi5-{g}gb", f"Raspberry Pi 5, {g} GB (BCM2712, 4 × Cortex-A76)", "arm64", 4, g, page_size=16384)
        for g in (1, 2, 4, 8, 16)
    ),
    _pi("pi500", "Raspberry Pi 500 (BCM2712, 4 × Cortex-A76)", "arm64", 4, 8, page_size=16384),
    *(_pi(f"cm4-{g}gb", f"Compute Module 4, {g} GB", "arm64", 4, g) for g in (1, 2, 4, 8)),
    *(_pi(f"cm5-{g}gb", f"Compute Module 5, {g} GB", "arm64", 4, g, page_size=16384) for g in (2, 4, 8, 16)),
    _machine("x86", "x86-64 PC or server (say its cpu and memory)"),
    _machine("laptop", "x86-64 laptop (say its cpu and memory)"),
    _machine("arm64", "other 64-bit ARM machine (say its cpu and memory)", "arm64"),
    _machine("vm", "x86-64 virtual machine, any hypervisor (say its cpu and memory)", virtual=True),
    _machine("libvirt", "virtual machine under libvirt/KVM (say its cpu and memory)", virtual=True),
    _machine("virtualbox", "virtual machine under VirtualBox (say its cpu and memory)", virtual=True),
    _machine("hyperv", "virtual machine under Hyper-V (say its cpu and memory)", virtual=True),
    _machine("cloud", "rented virtual server (say its cpu and memory)", virtual=True),
    _machine("nas", "network storage box with its own system (cpu and memory are optional)", boot="hdd"),
    _machine("appliance", "anything else with an address: printer, switch, camera (nothing is installed on it)"),
)
BOARDS: dict[str, Board] = {board.name: board for board in _ALL}
