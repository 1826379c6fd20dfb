"""What the flow of one stream is made from, and the parameters that come of it.

Belongs here: the values that parameters.py and sources.py share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.layers.flows.entrances import Entrance
from homelab_platform.tools.endpoints import NifiEndpoint, ObjectsEndpoint


@dataclass(frozen=True)
class Given:
    """What the parameters of one stream are made from.

    `declared` is the stream as the lab resolves it, `objects` the S3 server with the key that NiFi writes with,
    `bucket` the raw bucket's name there, `root` the site's folder, `entrance` where senders reach the flow, if they do.
    """

    stream: str
    declared: ResolvedStream
    objects: ObjectsEndpoint
    bucket: str
    nifi: NifiEndpoint
    root: Path
    entrance: Entrance | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the lab file says about the source."""
        return self.declared.source_settings


@dataclass(frozen=True)
class Values:
    """Parameters by name: plain ones, and those that are secret."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]
