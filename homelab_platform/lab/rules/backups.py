"""Rules about backups: outside of what they save, kept long enough to be proven, at a time that exists.

Belongs here: targets, retention, drills, methods. Unknown targets and items are in references.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.model.operations import BackupKeep, BackupPlan, Target
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts, ref

_DAYS = {"hourly": 1 / 24, "daily": 1.0, "weekly": 7.0, "monthly": 28.0, "yearly": 365.0}
_DRILLS = {"daily": 1, "weekly": 7, "monthly": 28}
_OTHER_DISK = ("/mnt", "/media", "/run/media", "/volume", "/backup", "/Volumes")


def backup_inside_cluster(ctx: RuleContext) -> Iterable[Problem]:
    """When the cluster is lost, a backup inside of it is lost with it."""
    known = facts(ctx)
    for name, target in ctx.lab.backups.to.items():
        for word, host in _ends(target):
            if owner := _in_cluster(ctx, host):
                path = _url_path(ctx, name) if word == "url" else ("backups", "to", name, word)
                what = f"{name}: {host} is {owner}, inside of what is backed up"
                remedy = "Use a NAS, a disk that is taken away, or storage elsewhere: ssh://…, s3://bucket@b2."
                yield ctx.problem(path, what, remedy, "backup-inside-cluster")
                break
        else:
            scheme, host = _parts(target)
            lab_host = _lab_host(ctx, host)
            if scheme in ("ssh", "nfs", "smb") and lab_host in known.nodes:
                what = f"{name}: {lab_host} is a node of the cluster that is backed up"
                remedy = "Use a machine that is not part of the cluster, such as a NAS."
                yield ctx.problem(_url_path(ctx, name), what, remedy, "backup-inside-cluster")


def _ends(target: Target) -> Iterator[tuple[str, str]]:
    scheme, host = _parts(target)
    if scheme in ("s3", "b2") and host:
        yield "url", host
    if target.endpoint:
        text = target.endpoint if "://" in target.endpoint else f"//{target.endpoint}"
        yield "endpoint", _hostname(text)


def _parts(target: Target) -> tuple[str, str]:
    """Scheme and host; of s3://bucket@provider the provider."""
    scheme, _, rest = target.url.partition("://")
    if scheme in ("s3", "b2"):
        return scheme, _hostname(f"//{rest.split('@', 1)[1]}") if "@" in rest else ""
    return scheme, _hostname(f"//{rest}")


def _hostname(text: str) -> str:
    try:
        return (urlsplit(text).hostname or "").lower()
    except ValueError:
        return ""


def _in_cluster(ctx: RuleContext, host: str) -> str:
    """What of the cluster a name or address leads to; '' when it leads outside."""
    lab, known = ctx.lab, facts(ctx)
    if not known.nodes or not host:
        return ""
    if host.endswith((".svc", ".svc.cluster.local", ".cluster.local")):
        return f"the service {host.split('.', maxsplit=1)[0]}"
    services = f"{lab.subdomain}.{lab.domain}" if lab.subdomain else lab.domain
    label = host.removesuffix(f".{services}").removesuffix(f".{lab.domain}")
    for name, workload in lab.workloads.items():
        entry = known.entries[name]
        if entry is not None and entry.kind == "host":
            continue
        if label in (name, workload.expose.host or name) or host == workload.expose.address:
            return f"the workload {name}"
    if ctx.resolved is not None:
        held = next((n for n, w in ctx.resolved.workloads.items() if host in (w.address, w.hostname)), None)
        if held is not None and ctx.resolved.workloads[held].kind != "host":
            return f"the workload {held}"
    node = _lab_host(ctx, host)
    return f"the node {node}" if node in known.nodes else ""


def _lab_host(ctx: RuleContext, host: str) -> str:
    lab = ctx.lab
    label = host.removesuffix(f".{lab.domain}")
    if label in lab.hosts:
        return label
    for name, said in lab.hosts.items():
        if host in (said.address, said.address6) or label in said.dns_names:
            return name
    return ""


def _url_path(ctx: RuleContext, name: str) -> Path:
    long: Path = ("backups", "to", name, "url")
    return long if ctx.positions.written(*long) else long[:3]


def backup_on_same_disk(ctx: RuleContext) -> Iterable[Problem]:
    """A copy on the disk that it is a copy of dies with it."""
    storage, lab = ctx.lab.storage, ctx.lab
    for name, target in lab.backups.to.items():
        scheme, host = _parts(target)
        folder = _folder(target)
        if scheme == "file" and (holder := _own_disk(ctx, folder)):
            what = f"{name}: {folder} lies on {holder}, the disk of what is saved"
            remedy = "Use another disk (mounted below /mnt or /media), a NAS, or storage elsewhere."
            yield ctx.problem(_url_path(ctx, name), what, remedy, "backup-on-same-disk")
        nas = storage.nfs
        if nas is None or scheme not in ("ssh", "nfs", "smb") or not host:
            continue
        same = host == nas.server.lower() or (
            _lab_host(ctx, host) and _lab_host(ctx, host) == _lab_host(ctx, nas.server)
        )
        if same and folder.is_relative_to(nas.path):
            what = f"{name}: {folder} lies inside {nas.path}, which is what is saved"
            yield ctx.problem(
                _url_path(ctx, name), what, "Use another folder, or another machine.", "backup-on-same-disk"
            )


def _folder(target: Target) -> PurePosixPath:
    rest = target.url.partition("://")[2]
    return PurePosixPath("/" + rest.partition("/")[2])


def _own_disk(ctx: RuleContext, folder: PurePosixPath) -> str:
    storage, hosts = ctx.lab.storage, ctx.lab.hosts
    holding = [
        storage.local_path.path,
        *([storage.media.path] if storage.media and storage.media.on == "local" else []),
    ]
    for data in holding:
        if folder.is_relative_to(data):
            return data
    mounts = {
        disk.mount: key
        for host in hosts.values()
        for key, disk in host.disks.items()
        if disk.mount and disk.mount != "/" and folder.is_relative_to(disk.mount)
    }
    if mounts:
        own = storage.local_path.disk
        return next((f"the disk {key}" for key in mounts.values() if key == own), "")
    if ":" in str(folder):
        return ""  # windows_path speaks of it
    elsewhere = any(str(folder).startswith(prefix) for prefix in _OTHER_DISK)
    return "" if elsewhere or len(folder.parts) < 2 else "the system's disk"


def backup_retention(ctx: RuleContext) -> Iterable[Problem]:
    """A plan that keeps nothing saves nothing; and the last backup that a drill has proven must still be there when the
    next drill runs."""
    for name, plan in ctx.lab.backups.plans.items():
        path: Path = ("backups", name, "keep")
        span = kept_days(plan.keep)
        need = _DRILLS.get(plan.drill, 0)
        if span <= 0:
            what = f"{name} keeps no backup at all"
            yield ctx.problem(path, what, "Write keep: 7d, or keep: {daily: 7, weekly: 4}.", "backup-retention")
        elif span < need:
            what = f"{name} keeps {span:g} days, but proves a backup only every {need} days ({plan.drill} drill)"
            faster = "daily" if need == 7 or span < 7 else "weekly"
            remedy = f"Keep at least {need} days (keep: {need}d), or drill more often (drill: {faster})."
            yield ctx.problem(path, what, remedy, "backup-retention")


def kept_days(keep: BackupKeep) -> float:
    """How many days the oldest kept backup reaches back."""
    counts: dict[str, int] = keep.model_dump()
    return max(round(counts[word] * days, 2) for word, days in _DAYS.items())


def backup_goes_nowhere(ctx: RuleContext) -> Iterable[Problem]:
    """A plan without a target writes nothing, night after night, and reports success."""
    backups = ctx.lab.backups
    for name, plan in backups.plans.items():
        if not backups.to or plan.to == ():
            what = f"{name} has nowhere to go: no target is given"
            remedy = "Add to: {nas: ssh://backup@192.168.0.10/volume1/lab}."
            yield ctx.problem(("backups", name), what, remedy, "backup-goes-nowhere", key=True)
            return


def backup_day(ctx: RuleContext) -> Iterable[Problem]:
    """A day of the week means something for a weekly plan only; a cron line says everything by itself."""
    for name, plan in ctx.lab.backups.plans.items():
        if plan.day is not None and (plan.every != "weekly" or plan.cron):
            what = f"{name}: day belongs to a weekly plan; this one is {'a cron line' if plan.cron else plan.every}"
            yield ctx.problem(("backups", name, "day"), what, "Add every: weekly, or leave day out.", "backup-day")
        if plan.cron and {"at", "every"} & plan.model_fields_set:
            word = "at" if "at" in plan.model_fields_set else "every"
            what = f"{name} has a cron line and {word}: one of them would be ignored"
            yield ctx.problem(("backups", name, word), what, f"Keep cron or {word}.", "backup-day")


def velero_hostpath(ctx: RuleContext) -> Iterable[Problem]:
    """Velero saves the names of hostPath volumes but not a byte of what is in them, and says nothing."""
    storage, lab = ctx.lab.storage, ctx.lab
    uses = lab.backups.engine == "velero" or "velero" in facts(ctx).by_entry
    if uses and storage.local_path.volumes == "hostpath":
        what = "Velero does not save the files of hostpath volumes"
        remedy = "Write volumes: local (the default), or use another engine than Velero."
        yield ctx.problem(("storage", "local_path", "volumes"), what, remedy, "velero-hostpath")
    if lab.backups.engine == "velero" and "velero" not in facts(ctx).by_entry:
        what = "backups are made by Velero, which is not in the lab"
        yield ctx.problem(("backups", "engine"), what, "Add velero: to workloads.", "velero-hostpath")


def backup_times(plan: BackupPlan) -> Iterator[tuple[int | None, int]]:
    """(weekday or None, minute of the day) at which a plan starts; nothing for hourly ones and crons with steps."""
    if plan.cron:
        minute, hour, _, _, day = plan.cron.split(" ")
        days = [int(d) % 7 for d in day.split(",")] if re.fullmatch(r"[0-7](,[0-7])*", day) else [None]
        if re.fullmatch(r"\d+(,\d+)*", minute) and re.fullmatch(r"\d+(,\d+)*", hour):
            yield from ((d, int(h) * 60 + int(m)) for d in days for h in hour.split(",") for m in minute.split(","))
        return
    if plan.every == "hourly":
        return
    hours, minutes = plan.at.split(":")
    yield (plan.day or 0) if plan.every == "weekly" else None, int(hours) * 60 + int(minutes)


def same_target_twice(ctx: RuleContext) -> Iterable[Problem]:
    """Two names for one place are one backup, not two."""
    seen: dict[str, Path] = {}
    for name, target in ctx.lab.backups.to.items():
        path = _url_path(ctx, name)
        first = seen.setdefault(target.url.rstrip("/"), path)
        if first != path:
            what = f"{name} is the same place as {first[2]} {ref(ctx, first, path)}: {q.shown(target.url)}"
            yield ctx.problem(path, what, "Take one of them out, or give it a place of its own.", "same-target-twice")


RULES = (
    backup_inside_cluster, backup_on_same_disk, backup_retention, backup_goes_nowhere, backup_day, velero_hostpath,
    same_target_twice,
)  # fmt: skip
