"""A site that holds readings, as the graph sees it.

Belongs here: the protocol. Not here: sites that only apply (adapter.py), or what a kind of site does (sites/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, cast

from homelab_platform.apply.adapter import Exhibit, World
from homelab_platform.errors import HomelabError

if TYPE_CHECKING:
    from homelab_platform.readings.quality.verdicts import CheckResult


class Inbox(Protocol):
    """The raw objects of a site that no ingest has taken yet; open it with `with` for a few looks."""

    def __enter__(self) -> Inbox: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def recent(self, start: Callable[[str], str]) -> list[str]:
        """Pending objects of each folder after the key that `start` gives for it."""
        ...

    def everything(self) -> tuple[list[str], float]:
        """Pending objects of the whole bucket, and the seconds that it took to list it."""
        ...

    def bytes_of(self, keys: Iterable[str]) -> int:
        """How large these objects are together, as stored; they were found by one of the looks before."""
        ...


class ReadingsWorld(World, Protocol):
    """A site that holds readings."""

    def inbox(self) -> Inbox:
        """The raw objects that no ingest has taken yet."""

    def take_in(self, keys: Iterable[str]) -> None:
        """Ingest these objects here and now. Raises HomelabError if that fails."""
        ...

    def arrivals(self, since: int) -> tuple[int, list[Exhibit]]:
        """The number of the newest commit of an ingest, and what came in after the commit `since`; whoever ingested it.
        Nothing to see if nothing came in.
        """
        ...

    def changed_dates(self, since: int) -> tuple[tuple[date, ...], int]:
        """The days whose readings changed after the commit number `since`, and the newest commit's number."""
        ...

    def first_day(self) -> date | None:
        """The first day that ever had readings; None before there are any."""
        ...

    def quality(self) -> list[CheckResult]:
        """The verdicts on the readings; see readings/quality/verdicts.py."""
        ...

    def integrity(self, everything: bool) -> Iterator[CheckResult]:
        """The verdicts of INTEGRITY on real state, of what changed since the last look or of everything."""
        ...

    def foundations(self) -> Iterator[CheckResult]:
        """The verdicts of FOUNDATIONS: what every reading rests on."""
        ...

    def flow_health(self, stream: str) -> CheckResult:
        """The verdict on a stream's way through NiFi."""
        ...

    def pictures(self) -> Iterable[Exhibit]:
        """The last day of each sensor, as a picture."""
        ...


def with_readings(world: World) -> ReadingsWorld:
    """The same site, if it holds readings. Raises HomelabError if it does not."""
    if not hasattr(world, "inbox"):
        raise HomelabError.of(world.capabilities.name, "this site holds no readings")
    return cast("ReadingsWorld", world)
