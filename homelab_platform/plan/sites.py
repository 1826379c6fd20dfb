"""The kinds of site: where a lab's graph runs, and what it reaches from there.

Belongs here: the one enum of kinds, what each can do, and which kind a process is told to be. Not here: how a site is
opened (sites/), or its servers (servers/).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from homelab_platform.errors import HomelabError
from homelab_platform.plan.layers import Capabilities

PROFILE_VARIABLE = "HOMELAB_PROFILE"
"""The environment variable that tells each process of a site which kind of site it belongs to."""


class SiteKind(StrEnum):
    """A kind of site, by the word that people write: `homelab up --profile full`."""

    SMALL = "small"
    FULL = "full"
    LAB = "lab"
    CLUSTER = "cluster"


CAPABILITIES: Mapping[SiteKind, Capabilities] = {
    # This machine alone: object store, tables and marts, and the flows that start on it.
    SiteKind.SMALL: Capabilities(
        "small",
        frozenset({"bucket", "table", "mart"}),
        flow_sources=frozenset({"machine", "files"}),
        backup_kinds=frozenset({"platform"}),
    ),
    # This machine with the engines of a lab: every flow ends here, through NiFi or the broker.
    SiteKind.FULL: Capabilities(
        "full",
        frozenset({"bucket", "table", "mart"}),
        flow_sources=frozenset({"machine", "files", "http", "mqtt", "prometheus", "rest"}),
        backup_kinds=frozenset({"platform", "nifi"}),
    ),
    # This machine steers the lab: hosts over SSH, their cluster, what runs on it; readings come by the lab's broker.
    SiteKind.LAB: Capabilities(
        "lab",
        frozenset({"host", "cluster", "workload", "bucket", "table", "mart"}),
        flow_sources=frozenset({"machine", "files", "mqtt"}),
        backup_kinds=frozenset({"platform", "ssh"}),
        image_kinds=frozenset({"card"}),
    ),
    # The lab's own cluster, with the platform in its pods: what the servers there hold.
    SiteKind.CLUSTER: Capabilities("cluster", frozenset({"bucket", "table", "mart"})),
}
"""What each kind of site observes and changes."""

ON_THIS_MACHINE = tuple(kind for kind in SiteKind if kind is not SiteKind.CLUSTER)
"""The kinds that `homelab up` starts."""


def site_kind(word: str, where: str = "site") -> SiteKind:
    """The kind of site that `word` names, said at `where`. Raises HomelabError that lists the kinds."""
    try:
        return SiteKind(word)
    except ValueError:
        raise HomelabError.of(where, f"no such kind of site: {word!r}", f"There are: {', '.join(SiteKind)}.") from None


def kind_here(environment: Mapping[str, str]) -> SiteKind:
    """The kind of site that this process belongs to; `small` where the variable is not set.

    Raises HomelabError for a word that is none: a misspelt kind would reach less than its owner believes.
    """
    word = environment.get(PROFILE_VARIABLE, "")
    return site_kind(word, PROFILE_VARIABLE) if word else SiteKind.SMALL
