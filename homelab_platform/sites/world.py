"""A site as the graph sees it, put together: which adapter serves which layer, and the lake that every site has.

Belongs here: the one class of sites. Not here: what a kind of site is made of (local.py, lab.py, cluster.py), or what
an adapter does (layers/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from homelab_platform.apply import locks
from homelab_platform.apply.adapter import Adapter, Answering, Exhibit
from homelab_platform.apply.state_store import StateStore
from homelab_platform.errors import HomelabError
from homelab_platform.layers.tables.readings import Inbox, arrivals_since, pictures
from homelab_platform.layers.tables.upkeep import upkeep
from homelab_platform.names import Say
from homelab_platform.plan.layers import Capabilities
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.tools.endpoints import Engines, Lakehouse, PostgresEndpoint

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.layers.buckets.adapter import BucketAdapter
    from homelab_platform.layers.hosts.adapter import HostAdapter
    from homelab_platform.operations.patch_site import Fleet
    from homelab_platform.operations.site import Protection
    from homelab_platform.plan.desired import DesiredState
    from homelab_platform.plan.health import Health
    from homelab_platform.readings.quality.verdicts import CheckResult

DAGSTER_DATABASE = "dagster"
"""Where Dagster keeps its storage on a site of this machine."""


@dataclass(frozen=True)
class Parts:
    """What a kind of site is made of.

    `adapters` opens the adapter of each layer when it is first needed: opening one may import clients or connect.
    `hosts` opens the one that can ask hosts whether they are there, `protection` what the site saves and proves,
    `fleet` which hosts it patches.
    `dagster` is the database of Dagster's own storage. `reload` has the UI load the lab anew, at once.
    """

    kind: SiteKind
    buckets: BucketAdapter
    adapters: Mapping[str, Callable[[], Adapter]]
    reload: Callable[[], None]
    engines: Engines = field(default_factory=Engines)
    hosts: Callable[[], HostAdapter] | None = None
    protection: Callable[[], Protection] | None = None
    fleet: Callable[[StateStore], Fleet] | None = None
    dagster: PostgresEndpoint | None = None


class SiteWorld:
    """The site of a lab, of whatever kind."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse, parts: Parts) -> None:
        self.lab = lab
        self.lakehouse = lakehouse
        self._parts = parts
        self._opened: dict[str, Adapter] = {}
        self._store = StateStore(lakehouse.postgres)

    @property
    def capabilities(self) -> Capabilities:
        """What a site of this kind can do."""
        return CAPABILITIES[self._parts.kind]

    @property
    def store(self) -> StateStore:
        """The applied states, in the lake's database."""
        return self._store

    @property
    def engines(self) -> Engines:
        """The servers that the site has beyond PostgreSQL and S3."""
        return self._parts.engines

    def adapter(self, layer: str) -> Adapter:
        """The adapter of a layer. Raises HomelabError for a layer that this site cannot reach, or whatever opening it
        raises.
        """
        if layer not in self._opened:
            opening = self._parts.adapters.get(layer)
            if opening is None:
                fault = f"a site of kind {self._parts.kind} cannot reach this layer"
                raise HomelabError.of(layer, fault, f"It takes {self.capabilities.lacks(layer)}.")
            self._opened[layer] = opening()
        return self._opened[layer]

    def protection(self) -> Protection:
        """What the site saves and proves. Raises HomelabError for a site that saves nothing itself."""
        if self._parts.protection is None:
            fault = f"a site of kind {self._parts.kind} saves nothing itself"
            raise HomelabError.of("backup", fault, f"It takes {self.capabilities.lacks('backup')}.")
        return self._parts.protection()

    def fleet(self) -> Fleet:
        """The hosts that the site patches. Raises HomelabError for a site that reaches no hosts."""
        if self._parts.fleet is None:
            fault = f"a site of kind {self._parts.kind} reaches no hosts"
            raise HomelabError.of("patch", fault, "homelab up --profile lab starts one that does.")
        return self._parts.fleet(self._store)

    def reload_code(self) -> None:
        """Have the servers of the UI and of the sensors load the lab anew; returns at once."""
        self._parts.reload()

    def applying(self) -> str:
        """Who applies the lab by hand right now, and since when; empty if nobody does."""
        return str(locks.holder(self.lakehouse.postgres) or "")

    def health(self, desired: Mapping[str, DesiredState], up_for: timedelta) -> Health:
        """What needs a person, on a site that runs for `up_for`. Raises HomelabError if its database is silent."""
        from homelab_platform.operations.health import Lookout
        from homelab_platform.tools.dagster import DagsterStorage

        place = self._parts.dagster or self.lakehouse.postgres.with_database(DAGSTER_DATABASE)
        lookout = Lookout(DagsterStorage(place), self.lakehouse, self.lab, self.capabilities)
        return lookout.look(desired, self._store.load(), up_for)

    def answering(self, hosts: Iterable[DesiredState]) -> dict[str, Answering]:
        """Ask hosts, side by side and within seconds, whether they are there; by key. Empty where none is in reach."""
        return self._parts.hosts().answering(hosts) if self._parts.hosts else {}

    def upkeep(self, task: str, desired: Mapping[str, DesiredState], say: Say) -> Iterable[Exhibit]:
        """Tend the tables of readings, and let go what the buckets hold for too long."""
        yield from upkeep(self.lab, self.lakehouse, self.engines, task, say)
        if task == "expire":
            yield from self._parts.buckets.expire((s for s in desired.values() if s.layer == "bucket"), say)

    def take_in(self, keys: Iterable[str]) -> None:
        """Ingest these objects here and now."""
        from homelab_platform.readings.ingest import ingest_objects

        ingest_objects(self.lakehouse, keys, self.lab.streams)

    def arrivals(self, since: int) -> tuple[int, list[Exhibit]]:
        """The number of the newest commit of an ingest, and what came in after the commit `since`."""
        return arrivals_since(self.lakehouse, since)

    def changed_dates(self, since: int) -> tuple[tuple[date, ...], int]:
        """The days whose readings changed after the commit number `since`, and the newest commit's number."""
        from homelab_platform.readings.ledger import dates_changed_since

        return dates_changed_since(self.lakehouse, since)

    def first_day(self) -> date | None:
        """The first day that ever had readings; None before there are any."""
        from homelab_platform.readings.ledger import first_day

        return first_day(self.lakehouse)

    def inbox(self) -> Inbox:
        """The raw bucket as the sensor on new objects sees it."""
        return Inbox(self.lakehouse)

    def quality(self) -> list[CheckResult]:
        """The verdicts on the readings of the lab's streams."""
        from homelab_platform.readings.quality.measures import check_readings

        return check_readings(self.lakehouse, self.lab.streams)

    def integrity(self, everything: bool) -> Iterator[CheckResult]:
        """The verdicts on real state, of what changed since the last look or of everything."""
        from homelab_platform.readings.quality import reconciliation, reconciliation_files

        yield reconciliation.rows_agree(self.lakehouse, everything=everything)
        yield reconciliation.no_duplicates(self.lakehouse, everything=everything)
        yield reconciliation_files.files_exist(self.lakehouse)

    def foundations(self) -> Iterator[CheckResult]:
        """The verdicts on what every reading rests on: servers that answer, columns that are there."""
        from homelab_platform.readings.quality.columns import check_columns
        from homelab_platform.readings.quality.servers import check_servers

        yield check_servers(self.lakehouse, self.engines)
        yield check_columns(self.lakehouse, self.lab.streams)

    def flow_health(self, stream: str) -> CheckResult:
        """The verdict on a stream's way through NiFi. Raises HomelabError if the site has no NiFi."""
        from homelab_platform.readings.quality.servers import check_flow

        if self.engines.nifi is None:
            raise HomelabError.of(f"flow/{stream}", "this site has no NiFi", "`homelab up --profile full` starts it.")
        return check_flow(self.engines.nifi, stream)

    def pictures(self) -> Iterable[Exhibit]:
        """The last day of each sensor, as a picture."""
        return pictures(self.lab, self.lakehouse)
