"""The resources of the graph.

Belongs here: what a run or a sensor is handed to reach its site. Nothing here touches the network before it is used.
"""

from collections.abc import Callable
from functools import cached_property

from homelab_platform.apply.adapter import World
from homelab_platform.errors import Problem
from homelab_platform.lab.resolved import ResolvedLab

SITE = "site"
"""The name of the resource that each executable asset, check, sensor and job asks for."""


class SiteResource:
    """The site of a lab: opened at the first use, then kept for the life of the process.

    `tell` hears what each asset says while it runs; `outcomes` and `problems` keep how each ended, for whoever runs a
    job in its own process.
    """

    def __init__(
        self,
        lab: ResolvedLab,
        open_world: Callable[[ResolvedLab], World],
        tell: Callable[[str, str], None] = lambda _key, _text: None,
    ) -> None:
        self._lab = lab
        self._open = open_world
        self.tell = tell
        self.outcomes: dict[str, str] = {}
        self.problems: dict[str, tuple[Problem, ...]] = {}

    @cached_property
    def world(self) -> World:
        """The open site. Raises HomelabError that says how to start it when it does not run."""
        return self._open(self._lab)

    def reload(self) -> None:
        """Have Dagster load the code location anew, because the lab file now describes another lab."""
        self.world.reload_code()
