"""Derived facts of operations: what is saved how and when, when it is proven, in which order hosts are patched.

Belongs here: backup items, targets, drills, the patching order. Cron lines are in the lab's time zone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from homelab_platform.lab import calendar as cal
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.model.operations import BackupPlan, Target
from homelab_platform.lab.resolve.chosen import Draft, facts_of, spread
from homelab_platform.lab.resolved import (
    ResolvedBackup,
    ResolvedBucket,
    ResolvedCluster,
    ResolvedHost,
    ResolvedLab,
    ResolvedStream,
    ResolvedTable,
    ResolvedTarget,
    ResolvedWorkload,
)
from homelab_platform.names import LAKE_BUCKET, RAW_BUCKET

DRILL_AFTER = 120  # minutes between a backup and its drill
LAKE = "lake"
K3S_SQLITE = "k3s-sqlite"
"""Method: k3s' datastore of one server, with what it cannot be read without."""
NIFI = "platform/nifi"
PLATFORM = {"platform/dagster": "postgres", "platform/secrets": "files"}
"""What the platform itself holds wherever it runs: the history of its runs, its keys and passwords."""


def resolve_targets(draft: Draft) -> dict[str, ResolvedTarget]:
    """The places that backups go to."""
    backups = draft.lab.backups
    return {name: _target(name, backups.to[name], backups.password) for name in sorted(backups.to)}


def _target(name: str, target: Target, password: str | None) -> ResolvedTarget:
    refs = {"key": target.key, "secret": target.secret, "password": target.password or password}
    further = {"endpoint": target.endpoint, "region": target.region, "capacity": target.capacity}
    return ResolvedTarget(
        name=name,
        url=target.url,
        credentials={key: ref for key, ref in refs.items() if ref},
        settings={key: v for key, v in {**further, "object_lock": target.object_lock or None}.items() if v is not None},
    )


class ResolvedData(NamedTuple):
    """Where the readings of a lab go."""

    streams: Mapping[str, ResolvedStream]
    buckets: Mapping[str, ResolvedBucket]
    tables: Mapping[str, ResolvedTable]


def backup_items(
    cluster: ResolvedCluster | None,
    hosts: Mapping[str, ResolvedHost],
    workloads: Mapping[str, ResolvedWorkload],
    data: ResolvedData,
) -> dict[str, str]:
    """Everything that holds state and can be saved, with its method: `workload/postgresql` → `postgres`."""
    items: dict[str, str] = {}
    if cluster is not None and cluster.servers:
        items["cluster"] = {"etcd": "etcd-snapshot", "sqlite": K3S_SQLITE}.get(cluster.datastore, "database")
    for name, host in hosts.items():
        if state_folders(host):
            items[f"host/{name}"] = "files"
        if "zfs" in host.services:
            items[f"host/{name}"] = "zfs"
    for name, workload in workloads.items():
        if workload.backup is not None:
            items[f"workload/{name}"] = str(workload.backup["method"])
    if data.tables:
        items[LAKE] = "lake"
    for name in data.buckets:
        if not data.tables or name not in (RAW_BUCKET, LAKE_BUCKET):
            items[f"bucket/{name}"] = "s3"
    items |= PLATFORM
    if any(stream.source_settings.get("via") == "nifi" for stream in data.streams.values()):
        items[NIFI] = "files"
    return dict(sorted(items.items()))


def state_folders(host: ResolvedHost) -> tuple[str, ...]:
    """The folders of a host that its services hold state in, sorted."""
    known = (HOST_SERVICES[service].state for service in host.services if service in HOST_SERVICES)
    return tuple(sorted({folder for folder in known if folder}))


def stands_still(host: ResolvedHost) -> bool:
    """Whether the state of a host can be saved by copying files: no server writes there without end, and no ZFS."""
    services = [HOST_SERVICES[service] for service in host.services if service in HOST_SERVICES]
    return "zfs" not in host.services and not any(service.state and service.live for service in services)


def datastore_host(lab: ResolvedLab) -> ResolvedHost | None:
    """The one server whose disk holds the datastore of k3s; None where it is elsewhere or on several."""
    cluster = lab.cluster
    if cluster is None or cluster.datastore != "sqlite" or not cluster.servers:
        return None
    host = lab.hosts.get(cluster.servers[0])
    return host if host is not None and host.os != "external" else None


def uncovered(lab: ResolvedLab) -> list[str]:
    """What holds state and is saved by no backup of the lab, not even on the platform's own site."""
    data = ResolvedData(lab.streams, lab.buckets, lab.tables)
    saved = {backup.item for backup in lab.backups.values()}
    return [item for item in backup_items(lab.cluster, lab.hosts, lab.workloads, data) if item not in saved]


def lake_parts(item: str) -> bool:
    """Whether an item that a plan names is a part of the lake: tables, ledger and raw objects have one point in time
    together, so no part of them is saved alone.
    """
    return item.startswith("table/") or item in (f"bucket/{RAW_BUCKET}", f"bucket/{LAKE_BUCKET}")


def resolve_backups(
    draft: Draft, items: Mapping[str, str], workloads: Mapping[str, ResolvedWorkload]
) -> dict[str, ResolvedBackup]:
    """One backup for each item and plan; named after the item, and after the plan too where there are several plans."""
    plans = dict(sorted(draft.lab.backups.plans.items()))
    found: dict[str, ResolvedBackup] = {}
    names = _names(items)
    for plan_name, plan in plans.items():
        targets = tuple(sorted(plan.to if plan.to is not None else draft.lab.backups.to))
        for item, method in items.items():
            if not _covered(plan_name, plan, item, workloads):
                continue
            name = names[item] if len(plans) == 1 else f"{names[item]}-{plan_name}"
            found[name] = _backup(name, item, method, plan, targets)
    covered = {backup.item for backup in found.values()} | {item for plan in plans.values() for item in plan.but}
    for item in _own_items(items):
        if item not in covered:
            found[names[item]] = _backup(names[item], item, items[item], BackupPlan.model_construct(), ())
    return dict(sorted(found.items()))


def _own_items(items: Mapping[str, str]) -> list[str]:
    """What the platform saves on its own site, whatever plans there are: that needs no target of the lab's."""
    return [item for item in items if item in (LAKE, NIFI, *PLATFORM) or item.startswith("bucket/")]


def _backup(name: str, item: str, method: str, plan: BackupPlan, targets: tuple[str, ...]) -> ResolvedBackup:
    return ResolvedBackup(
        name=name,
        item=item,
        method=method,
        targets=targets,
        schedule=plan.cron or cal.rhythm_cron(plan.every, plan.at, plan.day),
        keep={word: count for word, count in facts_of(plan.keep).items() if count},
        drill=drill_cron(name, plan),
    )


def _names(items: Mapping[str, str]) -> dict[str, str]:
    """Short names: `postgresql` for `workload/postgresql`; the layer in front for other items, or where two clash."""
    short = {item: item.removeprefix("workload/").replace("/", "-").replace("_", "-") for item in items}
    seen = Counter(short.values())
    return {item: name if seen[name] == 1 else item.replace("/", "-") for item, name in short.items()}


def _covered(plan_name: str, plan: BackupPlan, item: str, workloads: Mapping[str, ResolvedWorkload]) -> bool:
    if item in plan.but:
        return False
    if plan.what is not None:
        parts = item == LAKE and any(map(lake_parts, plan.what))
        return parts or item in plan.what or item.removeprefix("workload/") in plan.what
    workload = workloads.get(item.removeprefix("workload/"))
    chosen = (workload.backup or {}).get("plans") if workload and item.startswith("workload/") else None
    return chosen is None or plan_name in chosen


def drill_cron(name: str, plan: BackupPlan) -> str | None:
    """When the newest backup is restored and compared: two hours after, on a day that depends on the item's name."""
    if plan.drill == "never":
        return None
    at = cal.later(plan.at, DRILL_AFTER + 5 * spread(name, 12))
    if plan.drill == "weekly":
        return cal.rhythm_cron("weekly", at, spread(name, 7))
    if plan.drill == "monthly":
        hour, minute = (int(part) for part in at.split(":"))
        return f"{minute} {hour} {1 + spread(name, 28)} * *"
    return cal.rhythm_cron("daily", at)


def patching_facts(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> dict[str, Any]:
    """The patching section of lab.json: window, order and per-host differences."""
    said = draft.lab.patching
    order = patch_order(draft, hosts)
    steps = []
    for name in order:
        own = draft.lab.hosts[name].patching
        window = own.window or said.window
        steps.append(
            {
                "host": name,
                "group": "canary" if name == said.canary else hosts[name].k3s or "other",
                "window": window.to_dict() if window else None,
                "drain": hosts[name].k3s is not None,
                "drain_timeout": own.drain_timeout or said.drain_timeout,
                "settle": said.settle,
                "reboot": said.reboot,
            }
        )
    return {
        "window": said.window.to_dict() if said.window else None,
        "canary": said.canary,
        "order": list(order),
        "steps": steps,
        "blackout": sorted(said.blackout),
        "health": list(said.health),
        "k3s": said.k3s,
        "backup_first": said.backup_first,
        "timezone": draft.lab.timezone,
    }


def patch_order(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> tuple[str, ...]:
    """The canary, hosts in the said order, then agents, servers and others by name; skipped hosts are left out."""
    said = draft.lab.patching
    able = [n for n, h in hosts.items() if h.os != "external" and not draft.lab.hosts[n].patching.skip]
    groups = {"agent": 0, "server": 1, None: 2}
    rest = sorted(able, key=lambda n: (groups[hosts[n].k3s], n))
    first = [n for n in (said.canary, *said.order) if n is not None]
    return tuple(dict.fromkeys(n for n in (*first, *rest) if n in able))
