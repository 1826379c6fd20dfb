"""What a rule gets to see: the lab as written, where everything stands in the file, the catalogue, the resolved lab.

Belongs here: RuleContext only. The rules are in lab/rules/.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from homelab_platform.errors import Position, Problem
from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.positions import Positions
from homelab_platform.lab.resolved import ResolvedLab


@dataclass(frozen=True)
class RuleContext:
    """Everything a rule may read. `resolved` is None when the lab is too broken to resolve."""

    loaded: LoadedLab
    catalog: Catalogue
    resolved: ResolvedLab | None = None
    shared: dict[str, object] = field(default_factory=dict, compare=False, repr=False)  # what rules derived once

    @property
    def lab(self) -> Lab:
        """The lab as written."""
        return self.loaded.lab

    @property
    def positions(self) -> Positions:
        """Where everything stands."""
        return self.loaded.positions

    @property
    def folder(self) -> Path:
        """The folder of the lab file; relative paths in the lab start here."""
        return self.loaded.path.parent

    def at(self, *path: str | int) -> Position:
        """Where the value at `path` stands, or its nearest ancestor."""
        return self.positions.at(*path)

    def problem(self, path: tuple[str | int, ...], what: str, remedy: str, rule: str, *, key: bool = False) -> Problem:
        """A problem at the value of `path`, or at its key."""
        return Problem(self.positions.key(*path) if key else self.positions.at(*path), what, remedy, rule)
