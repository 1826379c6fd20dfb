"""Which hosts are patched, in which order and when: pure computation over the lab and a clock that is handed in.

Belongs here: the plan of the lab as typed values, timetables, and which hosts are due. Not here: what a window is
(windows.py), or patching (patch.py, patch_night.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from homelab_platform.errors import HomelabError
from homelab_platform.lab.calendar import Window, window
from homelab_platform.lab.quantities import nearest
from homelab_platform.operations.windows import Opening, due, openings

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab

HORIZON = timedelta(days=400)
"""How far ahead the next opening of a window is looked for: a `last Sunday` inside a blackout may be months away."""
RESTART_SECONDS = 600.0
"""How long a host may take until it answers again after a restart."""


@dataclass(frozen=True)
class Turn:
    """One host in the order of the lab. `group` is canary, agent, server or other; `node` says that pods must leave it
    first, within `drain_timeout` seconds; it must stay healthy for `settle` seconds; `reboot` is when-needed, always or
    never.
    """

    host: str
    group: str
    window: Window | None
    node: bool
    drain_timeout: float
    settle: float
    reboot: str

    @property
    def longest(self) -> timedelta:
        """How long it may take but for apt itself, which nothing bounds below hours: no host begins later than this
        before its window closes.
        """
        drain = self.drain_timeout if self.node else 0.0
        return timedelta(seconds=drain + self.settle + (0.0 if self.reboot == "never" else RESTART_SECONDS / 2))


@dataclass(frozen=True)
class PatchPlan:
    """How the hosts of a lab are patched. `elsewhere` are hosts that are updated in another way, with the sentence that
    says how.
    """

    timezone: str
    turns: tuple[Turn, ...]
    blackout: tuple[str, ...] = ()
    health: tuple[str, ...] = ("ssh", "node-ready", "workloads")
    backup_first: bool = True
    k3s: str = "manual"
    elsewhere: Mapping[str, str] | None = None

    def turn(self, host: str) -> Turn:
        """The turn of a host. Raises HomelabError that says how it is updated instead, or lists the hosts."""
        for turn in self.turns:
            if turn.host == host:
                return turn
        other = (self.elsewhere or {}).get(host)
        if other:
            raise HomelabError.of(f"host/{host}", other)
        near = nearest(host, [turn.host for turn in self.turns])
        hint = f"Did you mean {near}? " if near else ""
        names = ", ".join(turn.host for turn in self.turns) or "none"
        raise HomelabError.of(f"host/{host}", "the lab patches no such host", f"{hint}It patches: {names}.")

    def chosen(self, hosts: Iterable[str]) -> tuple[Turn, ...]:
        """The turns of these hosts in the lab's order, of all when none is named. Raises as `turn` does."""
        wanted = {self.turn(host).host for host in hosts}
        return tuple(turn for turn in self.turns if not wanted or turn.host in wanted)

    @property
    def notes(self) -> list[str]:
        """What a person should know of this plan: what it does not do."""
        found = [f"{host}: {why}" for host, why in sorted((self.elsewhere or {}).items())]
        if self.k3s != "manual":
            found.append(
                f"k3s: patching.k3s says {self.k3s}, but this version does not move k3s by itself. "
                "Raise cluster.k3s in the lab file and run homelab apply."
            )
        return found


@dataclass(frozen=True)
class Slot:
    """When a host is patched next; `opening` is None where it has no window or none within HORIZON."""

    turn: Turn
    opening: Opening | None


def plan_of(lab: ResolvedLab) -> PatchPlan:
    """The plan that a lab file makes."""
    known = lab.patching
    steps = known.get("steps") or []
    ways = {str(step["host"]): _other_way(lab.hosts[step["host"]]) for step in steps}
    return PatchPlan(
        timezone=lab.timezone,
        turns=tuple(_turn(step) for step in steps if not ways[str(step["host"])]),
        blackout=tuple(known.get("blackout") or ()),
        health=tuple(known.get("health") or ()),
        backup_first=bool(known.get("backup_first", True)),
        k3s=str(known.get("k3s") or "manual"),
        elsewhere={host: why for host, why in ways.items() if why},
    )


def _turn(step: Mapping[str, object]) -> Turn:
    said = step["window"]
    return Turn(
        host=str(step["host"]),
        group=str(step["group"]),
        window=window(said["text"]) if isinstance(said, Mapping) else None,
        node=bool(step["drain"]),
        drain_timeout=float(str(step["drain_timeout"])),
        settle=float(str(step["settle"])),
        reboot=str(step["reboot"]),
    )


def _other_way(host: ResolvedHost) -> str:
    """How a host without apt is updated; empty for one with apt."""
    if host.os == "nixos":
        return (
            "NixOS is updated by a new generation: raise nix.release or its inputs in the lab file, then homelab apply"
        )
    return ""


def timetable(plan: PatchPlan, turns: Sequence[Turn], now: datetime) -> list[Slot]:
    """When each of these hosts is patched next, in order. An opening that is under way at `now` counts."""
    today = now.astimezone(ZoneInfo(plan.timezone)).date()
    return [Slot(turn, _next(plan, turn.window, today, now)) for turn in turns]


def _next(plan: PatchPlan, said: Window | None, today: date, now: datetime) -> Opening | None:
    if said is None:
        return None
    ahead = openings(said, plan.timezone, today - timedelta(days=1), today + HORIZON, plan.blackout)
    return next((opening for opening in ahead if opening.end > now), None)


def due_hosts(plan: PatchPlan, now: datetime, used: Mapping[str, date]) -> list[Slot]:
    """The hosts whose window is open at `now` and was not used yet, in the lab's order. `used` is the day of the
    opening that each host used last.
    """
    slots = []
    for turn in plan.turns:
        if turn.window is not None:
            opening = due(turn.window, plan.timezone, now.astimezone(UTC), used.get(turn.host), plan.blackout)
            if opening is not None:
                slots.append(Slot(turn, opening))
    return slots
