"""The embedded site: this machine's own servers as the graph sees them.

Belongs here: which adapter serves which layer, and the site's state store. Not here: starting servers (servers/).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import Adapter, Answering, Exhibit, Say
from homelab_platform.apply.state_store import StateStore
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.buckets.adapter import BucketAdapter
from homelab_platform.layers.flows.direct import FlowAdapter
from homelab_platform.layers.marts.adapter import MartAdapter
from homelab_platform.layers.tables.readings import Inbox, ReadingsAdapter, pictures, take_in
from homelab_platform.layers.tables.upkeep import upkeep
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import PROFILES, Capabilities
from homelab_platform.tools.endpoints import Engines, Lakehouse
from homelab_platform.tools.objects.access import KeyFile

if TYPE_CHECKING:
    from homelab_platform.readings.quality.verdicts import CheckResult
    from homelab_platform.servers.site.site import Site


class EmbeddedWorld:
    """The site of a lab on this machine. `root` is the site's data folder."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse, root: Path, site: Site | None = None) -> None:
        self.lab = lab
        self.lakehouse = lakehouse
        self.root = root
        self._site = site
        self._store = StateStore(lakehouse.postgres)

    @property
    def capabilities(self) -> Capabilities:
        """What the site's profile can do."""
        return PROFILES[self._site.profile if self._site else "small"]

    @property
    def store(self) -> StateStore:
        """The applied states, in the lake's database."""
        return self._store

    @cached_property
    def _buckets(self) -> BucketAdapter:
        return BucketAdapter(self.lakehouse, KeyFile(self.root))

    @cached_property
    def _adapters(self) -> dict[str, Adapter]:
        return {**self._data_layers(), "flow": self._flows()}

    def _data_layers(self) -> dict[str, Adapter]:
        """What every site has that holds readings, wherever it runs."""
        return {
            "bucket": self._buckets,
            "table": ReadingsAdapter(self.lab, self.lakehouse),
            "mart": MartAdapter(self.lab, self.lakehouse),
        }

    def _flows(self) -> Adapter:
        if self._site is None or self._site.engines.nifi is None:
            return FlowAdapter(self.lab, self.lakehouse, self.root)
        from homelab_platform.layers.flows.adapter import FlowLayer

        return FlowLayer(self.lab, self.lakehouse, self._site, self.root)

    def adapter(self, layer: str) -> Adapter:
        """The adapter of a layer. Raises HomelabError for a layer that this site cannot reach."""
        found = self._adapters.get(layer)
        if found is None:
            raise HomelabError.of(layer, "the embedded site cannot reach this layer", "It takes the lab's own site.")
        return found

    def reload_code(self) -> None:
        """Ask the running webserver to load the lab anew, without waiting for it."""
        site = self._site
        if site is None:
            return
        threading.Thread(target=_reload, args=(site,), name="reload", daemon=True).start()

    def answering(self, hosts: Iterable[DesiredState]) -> dict[str, Answering]:
        """Nothing: this site reaches no hosts."""
        return {}

    def upkeep(self, task: str, desired: Mapping[str, DesiredState], say: Say) -> Iterable[Exhibit]:
        """Tend the tables of readings, and let go what the buckets hold for too long."""
        yield from upkeep(self.lab, self.lakehouse, self.engines, task, say)
        if task == "expire":
            yield from self._buckets.expire((s for s in desired.values() if s.layer == "bucket"), say)

    def take_in(self, keys: Iterable[str]) -> list[Exhibit]:
        """Ingest these objects here and now."""
        return take_in(self.lab, self.lakehouse, keys)

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

    @property
    def engines(self) -> Engines:
        """The servers that the site has beyond PostgreSQL and S3."""
        return self._site.engines if self._site else Engines()

    def integrity(self, everything: bool) -> Iterator[CheckResult]:
        """The verdicts on real state, of what changed since the last look or of everything."""
        from homelab_platform.readings.quality import reconciliation, reconciliation_files

        yield reconciliation.rows_agree(self.lakehouse, everything=everything)
        yield reconciliation.no_duplicates(self.lakehouse, everything=everything)
        yield reconciliation_files.files_exist(self.lakehouse)

    def foundations(self) -> Iterator[CheckResult]:
        """The verdicts on what every reading rests on: servers that answer, columns that are there."""
        from homelab_platform.readings.quality import columns
        from homelab_platform.readings.quality import servers as quality_servers

        yield quality_servers.check_servers(self.lakehouse, self.engines)
        yield columns.check_columns(self.lakehouse, self.lab.streams)

    def flow_health(self, stream: str) -> CheckResult:
        """The verdict on a stream's way through NiFi. Raises HomelabError if the site has no NiFi."""
        from homelab_platform.readings.quality.servers import check_flow

        if self.engines.nifi is None:
            raise HomelabError.of(f"flow/{stream}", "this site has no NiFi", "`homelab up --profile full` starts it.")
        return check_flow(self.engines.nifi, stream)

    def pictures(self) -> Iterable[Exhibit]:
        """The last day of each sensor, as a picture."""
        return pictures(self.lab, self.lakehouse)


def _reload(site: Site) -> None:
    from homelab_platform.servers.site.site import reload_code

    try:
        reload_code(site)
    except HomelabError as error:
        # The reconcile sensor notices at its next tick that the old lab is still loaded, and asks again.
        print(error)  # noqa: T201 (the log of the code server)


def open_embedded(lab: ResolvedLab) -> EmbeddedWorld:
    """The running embedded site of a lab. Raises HomelabError that says how to start it when it does not run."""
    from homelab_platform.servers.site.site import open_site

    return world_of(lab, open_site(lab.name))


def world_of(lab: ResolvedLab, site: Site) -> EmbeddedWorld:
    """A running site as the graph sees it, of whatever profile it is."""
    if site.profile == "lab":
        from homelab_platform.sites.lab import LabWorld

        return LabWorld(lab, site.lakehouse, site.root, site)
    return EmbeddedWorld(lab, site.lakehouse, site.root, site)
