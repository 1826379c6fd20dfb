"""The flows of a full site: each stream's flow is where its readings come in.

Belongs here: who serves which source, and the broker's rights, which follow the lab. Not here: what is done with a
flow (direct.py for this machine's own collector, nifi.py for everything that comes from elsewhere).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import Adapter, Exhibit, Observation
from homelab_platform.files import write_whole
from homelab_platform.lab.resolved import ResolvedLab, ResolvedStream
from homelab_platform.layers.flows.direct import FlowAdapter
from homelab_platform.names import Say
from homelab_platform.paths import LAB_JSON
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.specs import read
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.wire.json_types import Document

if TYPE_CHECKING:
    from homelab_platform.servers.site.site import Site


class FlowLayer:
    """Every flow of a full site. `root` is the site's folder."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse, site: Site, root: Path) -> None:
        from homelab_platform.layers.flows.nifi import NifiFlowAdapter

        self._lab = lab
        self._root = root
        self._own: Adapter = FlowAdapter(lab, lakehouse, root)
        self._nifi: Adapter = NifiFlowAdapter(lab, lakehouse, site.engines, root)

    def _of(self, document: Document) -> Adapter:
        return self._own if read(ResolvedStream, document).source == "machine" else self._nifi

    def probe(self, desired: DesiredState) -> Observation:
        """Look at one flow where it runs."""
        return self._of(desired.document).probe(desired)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Bring one flow to its desired state; a sender by MQTT gets the right to its topic first."""
        if read(ResolvedStream, desired.document).source == "mqtt":
            from homelab_platform.servers.site.site import renew_broker

            write_whole(self._root / LAB_JSON, self._lab.to_json())  # the bridge reads it
            renew_broker(self._root, self._lab)
        self._of(desired.document).change(desired, observed, say)

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Take one flow away; what it has taken in stays."""
        self._of(document).remove(key, document, say)

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """What there is to see of one flow."""
        return self._of(desired.document).work(desired, request, say)
