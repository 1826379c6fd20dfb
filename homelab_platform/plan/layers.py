"""The layers of a lab, the keys of its assets, and which layers a site can reach.

Belongs here: the vocabulary that desired states, plans, the reconciler and the graph share. Not here: what an asset of
a layer looks like (documents.py) or what happens to it (plan.py).
"""

from __future__ import annotations

from dataclasses import dataclass

LAYERS = ("image", "host", "cluster", "workload", "flow", "bucket", "table", "mart", "backup", "drill")
"""Every layer, in the order in which a lab grows: from the SD card to the last table, then what protects it."""

RANK = {layer: rank for rank, layer in enumerate(LAYERS)}

LAYER_TITLES = {
    "image": "SD card and disk images",
    "host": "Hosts",
    "cluster": "Cluster",
    "workload": "Workloads",
    "flow": "Flows of readings",
    "bucket": "Buckets",
    "table": "Tables",
    "mart": "Marts",
    "backup": "Backups",
    "drill": "Restore drills",
}

_NEEDS = {
    "image": "a site of kind lab, and Raspberry Pi OS to make it from (tooling.raspios)",
    "host": "the lab's hosts",
    "cluster": "the lab's hosts",
    "workload": "the lab's cluster",
    "flow": "NiFi or the broker that the readings come through",
    "backup": "the lab's backup targets",
    "drill": "the lab's backup targets",
}


def make_key(layer: str, name: str) -> str:
    """The key of an asset: `layer/name`, as in `host/pi-1`."""
    return f"{layer}/{name}"


def layer_of(key: str) -> str:
    """The layer of an asset key."""
    return key.partition("/")[0]


def name_of(key: str) -> str:
    """The name within its layer of an asset key."""
    return key.partition("/")[2]


def rank(key: str) -> tuple[int, str]:
    """A sort key that puts assets in the order in which a lab grows."""
    layer, _, name = key.partition("/")
    return RANK.get(layer, len(LAYERS)), name


@dataclass(frozen=True)
class Capabilities:
    """What a site can observe and change: whole `layers`, of the flow layer the sources in `flow_sources`, images of
    `image_kinds`, and backups and drills of what has one of `backup_kinds`.

    Whatever a site cannot reach is external to it: shown, never counted as applied or as a pending change.
    """

    name: str
    layers: frozenset[str]
    flow_sources: frozenset[str] = frozenset()
    backup_kinds: frozenset[str] = frozenset()
    image_kinds: frozenset[str] = frozenset()

    def can(self, key: str, kinds: tuple[str, ...] = ()) -> bool:
        """Whether the site reaches the asset `key`, whose kinds are `kinds` (a flow's first kind is its source)."""
        layer = layer_of(key)
        if layer in self.layers:
            return True
        some = {
            "image": self.image_kinds,
            "flow": self.flow_sources,
            "backup": self.backup_kinds,
            "drill": self.backup_kinds,
        }
        return any(kind in some.get(layer, ()) for kind in kinds)

    def lacks(self, key: str) -> str:
        """What the site would need in order to reach the asset `key`."""
        return _NEEDS.get(layer_of(key), "another site")


EVERYTHING = Capabilities("everything", frozenset(LAYERS))
"""A site that reaches all of it, image builders and backup targets too."""
