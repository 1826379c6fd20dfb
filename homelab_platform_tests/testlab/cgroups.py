"""Control groups of a lab: where they are, and their removal.

Belongs here: what is left of a lab once its processes are gone: groups are the one thing that no namespace takes along.
"""

from __future__ import annotations

from pathlib import Path

from homelab_platform.servers.supervise import processes
from homelab_platform_tests.testlab.init import hierarchies, join_cgroup

PREFIX = "homelab-"
SHARES = {"cpu.shares": "8192", "cpu.weight": "800"}
"""A lab's share of the processors, eight times that of a process beside it: three hosts and a Kubernetes are one group,
and would wait behind each single test otherwise. Version 1 of control groups has the first file, version 2 the other.
"""


def top(lab: str) -> str:
    """The group of a lab, below each hierarchy."""
    return f"{PREFIX}{lab}"


def join(path: str) -> None:
    """Put this process into the group `path` of every hierarchy."""
    join_cgroup(path)


def prefer(lab: str) -> None:
    """Give a lab its share of the processors, where this machine lets a group have one."""
    for hierarchy in hierarchies():
        group = hierarchy / top(lab)
        for name, share in SHARES.items():
            if (group / name).exists():
                (group / name).write_text(share)


def labs() -> set[str]:
    """The labs that have groups."""
    return {group.name.removeprefix(PREFIX) for hierarchy in hierarchies() for group in hierarchy.glob(f"{PREFIX}*")}


def members(lab: str) -> set[int]:
    """The processes in the groups of a lab."""
    found = set()
    for hierarchy in hierarchies():
        for file in (hierarchy / top(lab)).rglob("cgroup.procs"):
            try:
                found |= {int(word) for word in file.read_text().split()}
            except OSError:
                continue  # the group went while we looked
    return found - {0}


def remove(lab: str, patience: float = 10) -> bool:
    """Remove the groups of a lab, the deepest first; whether they are gone. `patience` in seconds."""

    def gone() -> bool:
        left = [hierarchy for hierarchy in hierarchies() if not _removed(hierarchy / top(lab))]
        return not left

    return processes.wait_until(gone, patience)


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    folders = sorted((entry for entry in group.rglob("*") if entry.is_dir()), key=lambda path: -len(path.parts))
    for folder in [*folders, group]:
        try:
            folder.rmdir()
        except OSError:
            continue  # someone is in it still: the next round takes it
    return not group.exists()
