"""The resources of the graph.

Belongs here: what a run or a sensor is handed to reach its site. Nothing here touches the network before it is used.
"""

from collections.abc import Callable
from functools import cached_property

import dagster as dg
from pydantic import Field

from homelab_platform.apply.adapter import World
from homelab_platform.errors import Problem
from homelab_platform.lab.resolved import ResolvedLab

SITE = "site"
"""The name of the resource that each executable asset, check, sensor and job asks for."""


class Session:
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


class SiteResource(dg.ConfigurableResource[None]):
    """The site as assets, checks and sensors are handed it."""

    lab: str = Field(description="The lab's name.")
    kind: str = Field(description="The kind of its site: small, full, lab or cluster.")
    session: dg.ResourceDependency[Session]

    @property
    def world(self) -> World:
        """The open site. Raises HomelabError that says how to start it when it does not run."""
        return self.session.world

    def reload(self) -> None:
        """Have Dagster load the code location anew, because the lab file now describes another lab."""
        self.session.world.reload_code()


def site_resource(lab: ResolvedLab, kind: str, session: Session) -> SiteResource:
    """The resource of a site whose session is kept elsewhere too."""
    return SiteResource(lab=lab.name, kind=kind, session=dg.ResourceDefinition.hardcoded_resource(session))
