"""What a site protects, as a value: its items, their plans, the targets in reach, the journal, the places for work.

Belongs here: the value that every procedure is handed, and finding what a user names in it. Not here: how a site comes
to it (sites/), or any procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from homelab_platform.errors import HomelabError
from homelab_platform.lab.quantities import nearest
from homelab_platform.layers.backups.manifest import Manifest
from homelab_platform.layers.backups.targets import Target
from homelab_platform.names import Say
from homelab_platform.operations.journal import Journal
from homelab_platform.tools.restic.repository import Repository


class Copier(Protocol):
    """How a copy of one thing that holds state is made at one point in time."""

    @property
    def name(self) -> str:
        """The item that it copies."""

    @property
    def method(self) -> str:
        """How it copies it."""

    @property
    def must_have(self) -> tuple[str, ...]:
        """Paths without which a snapshot of it does not count."""
        ...

    @property
    def may_be_empty(self) -> bool:
        """Whether a copy of nothing can be the whole: a bucket that was listed and holds no object."""
        ...

    def capture(self, stage: Path, run: str, say: Say, *, shrunk: bool = False) -> Manifest:
        """Make a copy in `stage`, its manifest last."""
        ...

    def release(self, keep: Callable[[str], bool] = ...) -> list[str]:
        """Let go what copies hold in the live item, but for the runs that `keep` says."""
        ...


class Rehearsal(Protocol):
    """Brings a restored copy to life in a scratch place and says what is not as the manifest says; none if all is well.
    Leaves nothing behind.
    """

    def __call__(self, restored: Path, manifest: Manifest, scratch: Path, say: Say) -> list[str]: ...


class PuttingBack(Protocol):
    """Puts a verified copy in the live item's place; the old state stays beside it. Says what it did, a line each.
    Repeating it with the same run does no harm.
    """

    def __call__(self, restored: Path, manifest: Manifest, run: str, say: Say) -> list[str]: ...


class ProtectedSite(Protocol):
    """A site that saves and proves what it holds."""

    def protection(self) -> Protection:
        """What it saves and proves, with what and where to."""
        ...


def protection_of(world: object) -> Protection:
    """What an open site saves and proves. Raises HomelabError for a site that saves nothing itself."""
    if not hasattr(world, "protection"):
        raise HomelabError.of("backup", "this site saves nothing itself", "Run it on a site of this machine.")
    return cast("ProtectedSite", world).protection()


@dataclass(frozen=True)
class Item:
    """One thing that holds state: how it is copied, proven and put back. `after` orders the restore of everything:
    smaller numbers first. `effect` says in a line what putting it back does.
    """

    copier: Copier
    rehearse: Rehearsal
    put_back: PuttingBack
    after: int = 0
    effect: str = ""

    @property
    def name(self) -> str:
        """Its name, such as `lake` or `platform/dagster`."""
        return self.copier.name


@dataclass(frozen=True)
class Plan:
    """When an item is saved and proven, as cron lines in the lab's zone, and how many snapshots are kept.

    `targets` are the names of the lab's targets; the site's own is always among those that are used.
    """

    name: str
    item: str
    method: str
    schedule: str
    keep: Mapping[str, int]
    drill: str | None
    targets: tuple[str, ...] = ()

    def goes_to(self, target: Target) -> bool:
        """Whether copies go there: to the site's own target, and to those that the plan names, or to all if to none."""
        return target.own or not self.targets or target.name in self.targets


@dataclass(frozen=True)
class Protection:
    """What a site protects. `out_of_reach` are the lab's targets that this site cannot write to, with the reason.

    `work` is a folder for stages and scratch places, beside what is protected; `protects` the folder that it lies in.
    `patience` is how many seconds a procedure waits for another one over the same item; `kit` makes the page that lies
    at each target.
    """

    lab: str
    timezone: str
    items: Mapping[str, Item]
    plans: Mapping[str, Plan]
    targets: tuple[Target, ...]
    journal: Journal
    work: Path
    protects: Path
    program: Callable[[], Path]
    out_of_reach: Mapping[str, str] = field(default_factory=dict)
    patience: float = 0
    kit: Callable[[Protection], str] | None = None

    def item(self, name: str) -> Item:
        """The item of this name, or of the backup of this name. Raises HomelabError that lists the names."""
        plan = self.plans.get(name)
        found = self.items.get(plan.item if plan else name)
        if found is None:
            near = nearest(name, [*self.items, *self.plans])
            hint = f"Did you mean {near}? " if near else ""
            raise HomelabError.of(name, "this site has no such item", f"{hint}It has: {', '.join(self.items)}.")
        return found

    def plan_of(self, item: str) -> Plan:
        """The first plan of an item. Raises HomelabError if there is none."""
        for plan in self.plans.values():
            if plan.item == item:
                return plan
        raise HomelabError.of(item, "holds state and has no backup", "Add it to a plan below backups:.")

    def target(self, name: str) -> Target:
        """The target of this name. Raises HomelabError that says why it is out of reach, or lists the names."""
        for target in self.targets:
            if target.name == name:
                return target
        if name in self.out_of_reach:
            raise HomelabError.of(f"target {name}", self.out_of_reach[name], "")
        raise HomelabError.of(f"target {name}", "there is no such target", f"There are: {', '.join(self.names)}.")

    @property
    def names(self) -> list[str]:
        """The names of all targets."""
        return [*(target.name for target in self.targets), *self.out_of_reach]

    def stage(self, item: str) -> Path:
        """Where copies of an item are made."""
        return self.work / "stage" / item.replace("/", "_")

    def scratch(self, run: str) -> Path:
        """A scratch place of a run."""
        return self.work / "scratch" / run

    def repository(self, target: Target, item: str) -> Repository:
        """An item's repository at a target."""
        return target.repository(item, self.program(), self.work / "cache")
