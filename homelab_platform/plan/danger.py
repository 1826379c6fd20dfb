"""What a change does to a running lab: nothing, a restart, or a loss of data.

Belongs here: one function per layer that judges the differences of one asset. Danger is judged from the documents
alone, before anything is touched; where a rule is in doubt it takes the graver side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from homelab_platform.plan.diff import ABSENT, Change
from homelab_platform.plan.layers import layer_of

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document

Danger = Literal["safe", "restart", "data-loss"]
Action = Literal["none", "create", "update", "replace", "delete"]
Verdict = tuple[Action, Danger]

GRAVITY: dict[Danger, int] = {"safe": 0, "restart": 1, "data-loss": 2}

_WIDENINGS = {("int", "long"), ("float", "double")}
_QUIET_WORKLOAD = re.compile(r"(tier|needs|roles|backup|stateful|cpu_limit|derived\.(scrape_targets|hostnames))\b")
_WHOLE_HOST = frozenset({"os", "arch", "board"})
_WHOLE_CLUSTER = frozenset({"datastore", "pod_cidr", "service_cidr"})


def _gone(change: Change) -> bool:
    return change.new is ABSENT


def _shrunk(change: Change) -> bool:
    old, new = change.old, change.new
    return isinstance(old, int | float) and isinstance(new, int | float) and new < old


def _keeps_less(change: Change) -> bool:
    """A retention that became shorter, or that begins where things were kept for ever."""
    return change.old is ABSENT or change.old is None or _shrunk(change)


def _image(changes: Sequence[Change]) -> Verdict:
    """An image is built anew and harms nobody until someone flashes it."""
    return ("replace" if any(c.path in _WHOLE_HOST for c in changes) else "update"), "safe"


def _host(changes: Sequence[Change]) -> Verdict:
    disks = [c for c in changes if c.path.startswith("disks")]
    if any(c.path in _WHOLE_HOST for c in changes):
        return "replace", "data-loss"
    return "update", "data-loss" if any(_gone(c) or _shrunk(c) for c in disks) else "restart"


def _cluster(changes: Sequence[Change]) -> Verdict:
    if any(c.path in _WHOLE_CLUSTER for c in changes):
        return "replace", "data-loss"
    labels_only = all(c.path.startswith("nodes.") for c in changes)
    return "update", "safe" if labels_only else "restart"


def _workload(changes: Sequence[Change]) -> Verdict:
    volumes = [c for c in changes if c.path.startswith("volumes")]
    moved = any(c.path.endswith((".storage_class", ".on_host")) for c in volumes)
    lossy = moved or any(_gone(c) or (c.path.endswith(".size") and _shrunk(c)) for c in volumes)
    action: Action = "replace" if any(c.path in ("namespace", "kind", "catalogue") for c in changes) else "update"
    if lossy:
        return action, "data-loss"
    quiet = action == "update" and all(_QUIET_WORKLOAD.match(c.path) for c in changes)
    return action, "safe" if quiet else "restart"


def _bucket(changes: Sequence[Change]) -> Verdict:
    expiry = [c for c in changes if c.path in ("expire_after", "old_versions") and not _gone(c)]
    # a stream that is new has nothing yet that could go
    raw = [c for c in changes if c.path.startswith("keep") and c.old is not ABSENT and not _gone(c)]
    size = [c for c in changes if c.path == "size"]
    lossy = any(map(_keeps_less, [*expiry, *raw])) or any(_shrunk(c) for c in size)
    return "update", "data-loss" if lossy else "safe"


def _table(changes: Sequence[Change]) -> Verdict:
    keep = [c for c in changes if c.path == "keep" and not _gone(c)]
    columns = [c for c in changes if c.path.startswith("columns")]
    narrowed = [c for c in columns if c.old is not ABSENT and (c.old, c.new) not in _WIDENINGS]
    action: Action = "replace" if any(c.path in ("bucket", "name") for c in changes) else "update"
    lossy = action == "replace" or narrowed or any(map(_keeps_less, keep))
    return action, "data-loss" if lossy else "safe"


def _backup(changes: Sequence[Change]) -> Verdict:
    """Keeping fewer copies prunes those beyond the new count."""
    keep = [c for c in changes if c.path.startswith("keep")]
    return "update", "data-loss" if any(_gone(c) or _shrunk(c) for c in keep) else "safe"


def _harmless(_: Sequence[Change]) -> Verdict:
    return "update", "safe"


_JUDGES: dict[str, Callable[[Sequence[Change]], Verdict]] = {
    "image": _image,
    "host": _host,
    "cluster": _cluster,
    "workload": _workload,
    "bucket": _bucket,
    "table": _table,
    "backup": _backup,
}


def judge_update(key: str, changes: Sequence[Change]) -> Verdict:
    """What bringing the asset `key` from its old to its new document does, given the differences (at least one)."""
    return _JUDGES.get(layer_of(key), _harmless)(changes)


def moves(key: str, changes: Sequence[Change]) -> bool:
    """Whether the asset is somewhere else after the change, so that what stands at its former place has to go."""
    return layer_of(key) == "workload" and any(change.path == "namespace" for change in changes)


def judge_delete(key: str, document: Document) -> Danger:
    """What taking the asset `key` away does, given its last applied document."""
    layer = layer_of(key)
    if layer in ("bucket", "table", "cluster", "backup"):
        return "data-loss"
    if layer == "workload":
        return "data-loss" if document.get("stateful") or document.get("volumes") else "restart"
    if layer == "host":
        return "data-loss" if document.get("disks") else "restart"
    return "safe"


def kept_by_delete(key: str, document: Document) -> tuple[str, ...]:
    """What taking the asset `key` away leaves where it is unless a person names it: a workload's volumes."""
    if layer_of(key) != "workload":
        return ()
    held = document.get("volumes")
    volumes = tuple(f"volume {name}" for name in held) if isinstance(held, Mapping) else ()
    return volumes or (("its volumes",) if document.get("stateful") else ())
