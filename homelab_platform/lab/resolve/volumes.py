"""Derived facts of volumes: storage class, size, and the host whose disk holds them.

Belongs here: everything about where a workload's bytes lie, but for buckets (data.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homelab_platform.lab.catalogue import VolumeSpec
from homelab_platform.lab.model.workloads import WorkloadVolume
from homelab_platform.lab.resolve.chosen import Chosen, Draft, facts_of
from homelab_platform.lab.resolved import ResolvedHost, ResolvedVolume

GI = 1024**3
OWN_SIZE = 5 * GI  # volume of a workload of one's own that names none
MEDIA_SIZE = 500 * GI
SYSTEM_DISK = 8 * GI  # what the system takes of the disk it boots from
MEDIA_CLASS = "media"


def default_class(draft: Draft) -> str:
    """Storage class of volumes that say nothing."""
    storage = draft.lab.storage
    if storage.default:
        return storage.default
    return "longhorn" if storage.longhorn or draft.first("longhorn") else "nfs" if storage.nfs else "local-path"


def pinned_workloads(draft: Draft) -> dict[str, int]:
    """Workloads that keep something on a local disk, so that they belong to one host, with how many bytes they keep."""
    found = {}
    for name, chosen in draft.chosen.items():
        sizes = [
            _size(chosen, volume_name, said, spec)
            for volume_name, said, spec in _wanted(chosen)
            if _class(draft, chosen, said, spec) == "local-path"
        ]
        if sizes and chosen.kind in ("helm", "kustomize") and not chosen.per_node:
            found[name] = sum(sizes)
    return found


def local_disk(host: ResolvedHost, named: str | None) -> int | None:
    """Bytes for local-path volumes of a node: the disk that storage.local_path.disk names, else its largest data disk,
    else what the system leaves of the disk it boots from. None when its disks are not declared."""
    if not host.disks:
        return None
    chosen = host.disks.get(named or "")
    if chosen is not None:
        return chosen.size - (SYSTEM_DISK if chosen.mount == "/" else 0)
    data = [disk.size for disk in host.disks.values() if disk.mount not in (None, "/")]
    return max(data) if data else max(0, max(disk.size for disk in host.disks.values()) - SYSTEM_DISK)


def _size(chosen: Chosen, name: str, said: WorkloadVolume, spec: VolumeSpec | None) -> int:
    whole = chosen.said.size if name == _main(chosen) else None
    return said.size or whole or (spec.size if spec else OWN_SIZE)


def volumes_of(
    draft: Draft, chosen: Chosen, placement: tuple[str, ...], hosts: Mapping[str, ResolvedHost]
) -> dict[str, ResolvedVolume]:
    """The volumes of a workload by name."""
    found = {}
    for name, said, spec in _wanted(chosen):
        storage_class = _class(draft, chosen, said, spec)
        media = storage_class == MEDIA_CLASS
        size = _size(chosen, name, said, spec)
        held = placement[0] if storage_class == "local-path" and len(placement) == 1 else None
        found[name] = ResolvedVolume(
            name=name,
            size=_media_size(draft) if media else size,
            storage_class=storage_class,
            access="ReadWriteMany" if media else said.access or (spec.access if spec else "ReadWriteOnce"),
            mount=said.mount or (spec.mount if spec else "/data"),
            on_host=media_host(draft, hosts) if media else held,
        )
    return found


def _wanted(chosen: Chosen) -> list[tuple[str, WorkloadVolume, VolumeSpec | None]]:
    """(name, what the lab says, what the catalogue says) of each volume, the catalogue's first."""
    specs = {n: v for n, v in chosen.entry.volumes.items() if v.kind != "object"} if chosen.entry else {}
    said = chosen.said.volumes
    rows: list[tuple[str, WorkloadVolume, VolumeSpec | None]]
    rows = [(name, said.get(name, _NOTHING), spec) for name, spec in specs.items()]
    rows += [(name, said[name], None) for name in sorted(said) if name not in specs]
    if not rows and chosen.said.size is not None:
        rows = [("data", _NOTHING, None)]
    return rows


_NOTHING = WorkloadVolume.model_construct()


def _main(chosen: Chosen) -> str | None:
    """The volume that `size:` means: the catalogue's first that is no shared media folder, else the first."""
    rows = _wanted(chosen)
    return next((name for name, _, spec in rows if spec is None or spec.kind != "media"), rows[0][0] if rows else None)


def _class(draft: Draft, chosen: Chosen, said: WorkloadVolume, spec: VolumeSpec | None) -> str:
    if spec is not None and spec.kind == "media" and said.storage is None:
        return MEDIA_CLASS
    wished = said.storage or chosen.said.storage
    if wished:
        return wished
    usual = default_class(draft)
    return "local-path" if spec is not None and spec.kind == "local" and usual == "nfs" else usual


def _media_size(draft: Draft) -> int:
    media = draft.lab.storage.media
    return media.size if media and media.size else MEDIA_SIZE


def media_host(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> str | None:
    """The host that holds the shared media folder; None when it lies on a NAS outside the lab."""
    media = draft.lab.storage.media
    if media is not None and media.on == "nfs":
        return _nas_host(draft, hosts)
    if media is not None and media.host:
        return media.host if media.host in hosts else None
    sizes = {name: sum(d.size for d in hosts[name].disks.values()) for name in draft.nodes}
    return min(sizes, key=lambda name: (-sizes[name], name)) if sizes else None


def _nas_host(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> str | None:
    nfs = draft.lab.storage.nfs
    if nfs is None:
        return None
    return next((n for n, h in hosts.items() if nfs.server in (n, h.address, *h.dns_names)), None)


def storage_facts(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> dict[str, Any]:
    """The storage section of lab.json."""
    storage = draft.lab.storage
    facts: dict[str, Any] = facts_of(storage, exclude_none=True)
    facts["default"] = default_class(draft)
    if storage.longhorn is not None:
        able = [n for n in draft.nodes if storage.longhorn.hosts is None or n in storage.longhorn.hosts]
        facts["longhorn"] |= {"hosts": able, "replicas": storage.longhorn.replicas or max(1, min(3, len(able)))}
    for name, pool in storage.zfs.items():
        host = draft.lab.hosts.get(pool.host)
        own = sorted(d for d, disk in host.disks.items() if disk.pool == name) if host else []
        facts["zfs"][name]["disks"] = sorted(pool.disks) or own
    if storage.media is not None:
        facts["media"] |= {"host": media_host(draft, hosts), "size": _media_size(draft)}
        kinds = sorted(storage.media.kinds)
        facts["media"]["folders"] = [f"/data/{half}/{kind}" for half in ("media", "torrents") for kind in kinds]
    return facts
