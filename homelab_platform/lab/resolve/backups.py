"""Derived facts of operations: what is saved how and when, when it is proven, in which order hosts are patched.

Belongs here: backup items, targets, drills, the patching order. Cron lines are in the lab's time zone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from homelab_platform.lab import calendar as cal
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.model.operations import BackupPlan, Target
from homelab_platform.lab.resolve.chosen import Draft, spread
from homelab_platform.lab.resolved import (
    ResolvedBackup,
    ResolvedBucket,
    ResolvedCluster,
    ResolvedHost,
    ResolvedTable,
    ResolvedTarget,
    ResolvedWorkload,
)

DRILL_AFTER = 120  # minutes between a backup and its drill


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


def backup_items(
    cluster: ResolvedCluster | None,
    hosts: Mapping[str, ResolvedHost],
    workloads: Mapping[str, ResolvedWorkload],
    buckets: Mapping[str, ResolvedBucket],
    tables: Mapping[str, ResolvedTable],
) -> dict[str, str]:
    """Everything that holds state and can be saved, with its method: `workload/postgresql` → `postgres`."""
    items: dict[str, str] = {}
    if cluster is not None and cluster.servers:
        items["cluster"] = {"etcd": "etcd-snapshot", "sqlite": "k3s-sqlite"}.get(cluster.datastore, "database")
    for name, host in hosts.items():
        if any(service in HOST_SERVICES and HOST_SERVICES[service].state for service in host.services):
            items[f"host/{name}"] = "files"
        if "zfs" in host.services:
            items[f"host/{name}"] = "zfs"
    for name, workload in workloads.items():
        if workload.backup is not None:
            items[f"workload/{name}"] = str(workload.backup["method"])
    for name in buckets:
        items[f"bucket/{name}"] = "s3"
    for name in tables:
        items[f"table/{name.removeprefix('default.')}"] = "iceberg"
    return items


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
            found[name] = ResolvedBackup(
                name=name,
                item=item,
                method=method,
                targets=targets,
                schedule=plan.cron or cal.rhythm_cron(plan.every, plan.at, plan.day),
                keep={word: count for word, count in plan.keep.model_dump().items() if count},
                drill=drill_cron(name, plan),
            )
    return dict(sorted(found.items()))


def _names(items: Mapping[str, str]) -> dict[str, str]:
    """Short names: `postgresql` for `workload/postgresql`; the layer in front for other items, or where two clash."""
    short = {item: item.removeprefix("workload/").replace("/", "-").replace("_", "-") for item in items}
    seen = Counter(short.values())
    return {item: name if seen[name] == 1 else item.replace("/", "-") for item, name in short.items()}


def _covered(plan_name: str, plan: BackupPlan, item: str, workloads: Mapping[str, ResolvedWorkload]) -> bool:
    if item in plan.but:
        return False
    if plan.what is not None:
        return item in plan.what or item.removeprefix("workload/") in plan.what
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
