"""What Trino may use: its heap, and for each role how many queries at once, their memory, time and bytes read.

Belongs here: the limits of a lab's Trino, their defaults (fit for a Pi) and reading them from the lab. Not here: how
Trino is told (config.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab import quantities

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

MI = 1 << 20
GI = 1 << 30
WORKLOAD = "trino"
ROLES = ("admin", "dev", "guest")
HEAP_OF_MEMORY = 0.75
"""Of a container's memory: what is left is the JVM's own (code cache, threads, buffers for S3)."""
QUERY_OF_HEAP, SPARE_OF_HEAP = 0.4, 0.25
"""What one query may hold, and what no query may: Trino does not count all that it allocates."""


@dataclass(frozen=True)
class RoleLimits:
    """Queries of one role: how many run at once and wait, their share of the memory for queries in percent, seconds of
    one query, bytes that one query may read (None: any number).
    """

    at_once: int
    waiting: int
    memory: int
    seconds: int
    scanned: int | None = None


DEFAULTS: Mapping[str, RoleLimits] = {
    "admin": RoleLimits(at_once=3, waiting=50, memory=90, seconds=3600),
    "dev": RoleLimits(at_once=2, waiting=20, memory=70, seconds=900, scanned=50 * GI),
    "guest": RoleLimits(at_once=1, waiting=10, memory=40, seconds=120, scanned=4 * GI),
}


@dataclass(frozen=True)
class TrinoLimits:
    """The limits of one Trino; sizes in bytes. `at_once` holds for all roles together."""

    heap: int = GI
    query_memory: int | None = None
    at_once: int = 4
    roles: Mapping[str, RoleLimits] = field(default_factory=lambda: dict(DEFAULTS))

    @property
    def per_query(self) -> int:
        """Bytes that one query may hold on a node."""
        return self.query_memory or int(self.heap * QUERY_OF_HEAP)

    @property
    def spare(self) -> int:
        """Bytes of the heap that are not given to queries."""
        return int(self.heap * SPARE_OF_HEAP)


def workload_of(lab: ResolvedLab) -> ResolvedWorkload | None:
    """The lab's Trino, if it has one."""
    return next((w for w in lab.workloads.values() if w.catalogue == WORKLOAD), None)


def limits_of(lab: ResolvedLab | None, *, heap: int | None = None) -> TrinoLimits:
    """The limits that a lab asks for, with the defaults for what it does not say. `heap` in bytes overrides the lab's.

    Raises HomelabError that names the setting which makes no sense.
    """
    workload = workload_of(lab) if lab is not None else None
    settings = workload.settings if workload is not None else {}
    wanted = heap or _size(settings, "heap") or int((workload.memory if workload else 0) * HEAP_OF_MEMORY) or GI
    made = TrinoLimits(wanted, None if heap else _size(settings, "query-memory"), roles=_roles(settings.get("limits")))
    if made.per_query + made.spare > made.heap:
        raise HomelabError.of(
            "workload trino",
            f"query-memory {quantities.show_size(made.per_query)} does not fit into a heap of "
            f"{quantities.show_size(made.heap)}, of which a quarter stays free",
            f"At most {quantities.show_size(int(made.heap * (1 - SPARE_OF_HEAP)))}.",
        )
    return made


def _size(settings: Mapping[str, Any], name: str) -> int | None:
    """A size of the lab, which is in bytes once the lab is resolved."""
    value = settings.get(name)
    return None if value is None else int(value)


def _roles(said: Any) -> dict[str, RoleLimits]:
    found = dict(DEFAULTS)
    for role, wanted in (said or {}).items():
        if role not in found:
            raise HomelabError.of("workload trino, limits", f"no role {role}", quantities.did_you_mean(role, ROLES))
        found[role] = _limits(role, found[role], wanted)
    return found


_READERS: Mapping[str, tuple[str, Any]] = {
    "at_once": ("at_once", int),
    "waiting": ("waiting", int),
    "memory": ("memory", lambda value: int(str(value).removesuffix("%"))),
    "time": ("seconds", lambda value: int(quantities.duration(value))),
    "scan": ("scanned", quantities.size),
}


def _limits(role: str, default: RoleLimits, wanted: Mapping[str, object]) -> RoleLimits:
    changes: dict[str, Any] = {}
    for name, value in wanted.items():
        where = f"workload trino, limits.{role}.{name}"
        if name not in _READERS:
            raise HomelabError.of(where, "no such limit", quantities.did_you_mean(name, _READERS))
        target, reader = _READERS[name]
        changes[target] = _understood(where, reader, value)
        if changes[target] < 1 or (name == "memory" and changes[target] > 100):
            raise HomelabError.of(where, f"{value} is out of range", "At least 1; memory is a share of at most 100 %.")
    return replace(default, **changes)


def _understood(where: str, reader: Any, value: Any) -> int:
    try:
        return int(reader(value))
    except quantities.Bad as bad:
        raise HomelabError.of(where, bad.what, bad.remedy) from None
    except (TypeError, ValueError):
        raise HomelabError.of(where, f"{value!r} is no number", "Write a whole number.") from None
