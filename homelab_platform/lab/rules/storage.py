"""Rules about volumes and disks: databases off the network, media together, replicas on nodes that exist.

Belongs here: storage classes, Longhorn, NFS, ZFS, the shared media folder. Whether the sizes fit is in fit.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts, listed, ref

_HOLDS = {
    "sqlite": "an SQLite database", "postgresql": "a PostgreSQL database", "lmdb": "an LMDB database",
    "raft": "a Raft log", "index": "an index",
}  # fmt: skip
_DOWNLOADS = ("download", "torrent", "usenet", "incoming")
_LIBRARY = ("media", "movies", "tv", "music", "books", "library", "series")


def database_on_nfs(ctx: RuleContext) -> Iterable[Problem]:
    """SQLite, PostgreSQL and LMDB rely on locks and on writes in order, which NFS does not give: they corrupt."""
    for name, workload in ctx.lab.workloads.items():
        entry = facts(ctx).entries[name]
        for key, volume in entry.volumes.items() if entry is not None else ():
            said = workload.volumes.get(key)
            own = said.storage if said else None
            if volume.kind == "local" and (own or workload.storage) == "nfs":
                holds = _HOLDS.get(getattr(volume, "holds", ""), "data that must lie on a local disk")
                long = ("workloads", name, "volumes", key, "storage")
                path: Path = long if own else ("workloads", name, "storage")
                what = f"{name}: its volume {key} holds {holds}, which breaks on NFS"
                remedy = "Write storage: local-path (or longhorn); its backup can go to the NAS."
                yield ctx.problem(path, what, remedy, "database-on-nfs")
                break


def local_path_on_nfs(ctx: RuleContext) -> Iterable[Problem]:
    """A local-path folder on a mounted NAS puts every database on NFS by the back door."""
    storage = ctx.lab.storage
    mounts = [storage.nfs.mount] if storage.nfs else []
    folder = PurePosixPath(storage.local_path.path)
    for mount in mounts:
        if folder.is_relative_to(mount):
            what = f"the local-path folder {folder} lies on the NFS mount {mount}"
            remedy = "Choose a folder on a disk of the node, such as /var/lib/rancher/k3s/storage."
            yield ctx.problem(("storage", "local_path", "path"), what, remedy, "local-path-on-nfs")


def storage_class_missing(ctx: RuleContext) -> Iterable[Problem]:
    """A volume of a class that the lab does not have stays pending for ever."""
    storage, known = ctx.lab.storage, facts(ctx).known_names
    there = {
        "local-path": True,
        "nfs": storage.nfs is not None,
        "longhorn": storage.longhorn is not None or "longhorn" in known,
    }
    wanted: list[tuple[str | None, Path, str]] = [(storage.default, ("storage", "default"), "storage")]
    for name, workload in ctx.lab.workloads.items():
        wanted.append((workload.storage, ("workloads", name, "storage"), name))
        wanted += [(v.storage, ("workloads", name, "volumes", k, "storage"), name) for k, v in workload.volumes.items()]
    for kind, path, owner in wanted:
        if kind is not None and not there[kind]:
            what = f"{owner}: the lab has no storage of the class {kind}"
            example = "nfs: {server: 192.168.0.10, path: /volume1/k8s}" if kind == "nfs" else "longhorn:"
            yield ctx.problem(path, what, f"Add storage: {{{example}}}, or choose local-path.", "storage-class-missing")


def split_media(ctx: RuleContext) -> Iterable[Problem]:
    """Downloads and the media library must lie on one file system: only then can Sonarr and Radarr hard-link instead of
    copying everything twice."""
    for name, workload in ctx.lab.workloads.items():
        entry = facts(ctx).entries[name]
        specs = entry.volumes if entry is not None else {}
        for key, said in workload.volumes.items():
            path: Path = ("workloads", name, "volumes", key)
            shared = key in specs and specs[key].kind == "media"
            if shared and (said.storage or said.size):
                what = f"{name}: {key} is the shared media folder; a volume of its own breaks hard links"
                yield ctx.problem(path, what, "Leave it out, and size it in storage.media.", "split-media")
        downloads = [k for k in workload.volumes if k not in specs and any(w in k for w in _DOWNLOADS)]
        library = [k for k in (*workload.volumes, *specs) if any(k.startswith(w) for w in _LIBRARY)]
        if downloads and library:
            what = (
                f"{name}: {downloads[0]} and {library[0]} are separate volumes, between which no hard link is possible"
            )
            remedy = "Use the shared folder: storage.media, mounted at /data with torrents and media inside."
            yield ctx.problem(("workloads", name, "volumes", downloads[0]), what, remedy, "split-media", key=True)


def split_media_datasets(ctx: RuleContext) -> Iterable[Problem]:
    """Each ZFS dataset is a file system of its own: hard links end at its border."""
    media = ctx.lab.storage.media
    if media is None:
        return
    for pool_name, pool in ctx.lab.storage.zfs.items():
        for name, dataset in pool.datasets.items():
            mount = PurePosixPath(dataset.mount or "/")
            if mount != PurePosixPath(media.path) and mount.is_relative_to(media.path):
                what = f"the dataset {name} splits the media folder {media.path} at {mount}"
                remedy = f"Use one dataset for {media.path}; hard links cannot cross datasets."
                path: Path = ("storage", "zfs", pool_name, "datasets", name, "mount")
                yield ctx.problem(path, what, remedy, "split-media-datasets")


def longhorn_replicas(ctx: RuleContext) -> Iterable[Problem]:
    """Two copies on one node are no copies: Longhorn waits for ever for a node that does not exist."""
    longhorn, nodes = ctx.lab.storage.longhorn, facts(ctx).nodes
    if longhorn is None or not nodes:
        return
    able = [name for name in nodes if longhorn.hosts is None or name in longhorn.hosts]
    if longhorn.replicas and longhorn.replicas > len(able):
        what = f"{longhorn.replicas} replicas need {longhorn.replicas} nodes; Longhorn has {len(able)} ({listed(able)})"
        remedy = f"Write replicas: {max(1, len(able))}, or add nodes."
        yield ctx.problem(("storage", "longhorn", "replicas"), what, remedy, "longhorn-replicas")


def longhorn_hosts(ctx: RuleContext) -> Iterable[Problem]:
    """Longhorn attaches volumes by iSCSI: every node that holds data needs open-iscsi, and is a node of the cluster."""
    longhorn, known = ctx.lab.storage.longhorn, facts(ctx)
    for index, name in enumerate(longhorn.hosts or () if longhorn else ()):
        if name in ctx.lab.hosts and name not in known.nodes:
            what = f"{name} is to hold Longhorn's data, but it is not part of the cluster"
            path: Path = ("storage", "longhorn", "hosts", index)
            yield ctx.problem(path, what, f"Give {name} k3s: agent, or take it out.", "longhorn-hosts")
    workload = known.by_entry.get("longhorn")
    for name, host in known.nodes.items():
        off = host.nix.options.get("services.openiscsi.enable") is False or _nested_off(host.nix.options)
        if off and (longhorn is not None or workload is not None):
            what = f"{name}: Longhorn needs open-iscsi, which its Nix options turn off"
            path = ("hosts", name, "nix", "options")
            yield ctx.problem(path, what, "Take services.openiscsi out of nix.options.", "longhorn-hosts", key=True)
        elif longhorn is None and workload is not None and "open-iscsi" not in host.services:
            what = f"{workload} needs open-iscsi on every node; {name} does not have it"
            remedy = "Add storage: {longhorn: }, which sees to it, or services: [open-iscsi] on each node."
            yield ctx.problem(("workloads", workload), what, remedy, "longhorn-hosts", key=True)
            return


def _nested_off(options: dict[str, object]) -> bool:
    services = options.get("services")
    iscsi = services.get("openiscsi") if isinstance(services, dict) else None
    return isinstance(iscsi, dict) and iscsi.get("enable") is False


def zfs_pool_layout(ctx: RuleContext) -> Iterable[Problem]:
    """A mirror needs two disks and raidz more, or the pool cannot be made; its cache must leave memory for the rest."""
    least = {"single": 1, "mirror": 2, "raidz1": 3, "raidz2": 4, "raidz3": 5}
    for name, pool in ctx.lab.storage.zfs.items():
        host = ctx.lab.hosts.get(pool.host)
        own = [d for d, disk in host.disks.items() if disk.pool == name] if host else []
        disks, path = list(pool.disks) or own, ("storage", "zfs", name)
        if disks and len(disks) < least[pool.layout]:
            what = f"{name}: {pool.layout} needs {least[pool.layout]} disks; it has {len(disks)} ({listed(disks)})"
            fitting = [layout for layout, count in least.items() if count <= len(disks)]
            yield ctx.problem((*path, "layout"), what, f"Write layout: {fitting[-1]}, or add disks.", "zfs-pool-layout")
        memory = host.memory if host else None
        if pool.arc and memory and pool.arc * 2 > memory:
            what = f"{name}: an arc of {q.show_size(pool.arc)} leaves too little of {pool.host}'s {q.show_size(memory)}"
            remedy = f"At most half of it: {q.show_size(memory // 2)}."
            yield ctx.problem((*path, "arc"), what, remedy, "zfs-pool-layout")


def same_mount(ctx: RuleContext) -> Iterable[Problem]:
    """Two disks mounted at one place: the second hides what is on the first."""
    for name, host in ctx.lab.hosts.items():
        seen: dict[str, Path] = {}
        for key, disk in host.disks.items():
            path: Path = ("hosts", name, "disks", key, "mount")
            first = seen.setdefault(disk.mount, path) if disk.mount else path
            if first != path:
                what = f"{name}: {key} is mounted at {disk.mount}, where {first[3]} is already {ref(ctx, first, path)}"
                yield ctx.problem(path, what, f"Mount it elsewhere, such as /mnt/{key}.", "same-mount")


RULES = (
    database_on_nfs, local_path_on_nfs, storage_class_missing, split_media, split_media_datasets, longhorn_replicas,
    longhorn_hosts, zfs_pool_layout, same_mount,
)  # fmt: skip
