"""Rules about patching: a window long enough, and not in the middle of a backup.

Belongs here: windows, drains, the order of hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab.calendar import DAYS, Window
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.backups import backup_times
from homelab_platform.lab.rules.facts import facts, ref


def _windows(ctx: RuleContext) -> Iterator[tuple[Path, Window, list[str]]]:
    """Each window with the hosts that are patched in it."""
    lab = ctx.lab
    patched = [n for n, h in lab.hosts.items() if h.os != "external" and not h.patching.skip]
    if lab.patching.window:
        rest = [n for n in patched if lab.hosts[n].patching.window is None]
        yield ("patching", "window"), lab.patching.window, rest
    for name in patched:
        own = lab.hosts[name].patching.window
        if own:
            yield ("hosts", name, "patching", "window"), own, [name]


def window_too_short(ctx: RuleContext) -> Iterable[Problem]:
    """A node that is still being drained when the window closes stays half patched until the next one."""
    patching, nodes = ctx.lab.patching, facts(ctx).nodes
    for path, window, hosts in _windows(ctx):
        drains = {n: (ctx.lab.hosts[n].patching.drain_timeout or patching.drain_timeout) * (n in nodes) for n in hosts}
        if not drains:
            continue
        slowest = max(drains, key=lambda n: drains[n])
        need = (drains[slowest] + patching.settle + 59) // 60
        parts = "drain and settle" if drains[slowest] else "settle"
        if window.minutes < need:
            what = f"the window has {window.minutes} minutes; {slowest} alone may take {need} ({parts})"
            remedy = f"Make it at least {need} minutes long, or lower drain_timeout."
            yield ctx.problem(path, what, remedy, "window-too-short")


def window_overlaps_backup(ctx: RuleContext) -> Iterable[Problem]:
    """A backup that starts while nodes are drained and rebooted saves what is just moving, or nothing."""
    for path, window, hosts in _windows(ctx):
        if not hosts:
            continue
        for name, plan in ctx.lab.backups.plans.items():
            hit = next((t for day, t in backup_times(plan) if _inside(window, day, t)), None)
            if hit is None:
                continue
            where: Path = ("backups", name, "cron" if plan.cron else "at")
            at = f"{hit // 60:02d}:{hit % 60:02d}"
            what = f"the backup {name} starts at {at}, inside the patch window {window} {ref(ctx, path, where)}"
            remedy = f"Start it after {window.end}, or so early that it is done by {window.start}."
            yield ctx.problem(where, what, remedy, "window-overlaps-backup")


def _inside(window: Window, weekday: int | None, minute: int) -> bool:
    start, end = _minutes(window.start), _minutes(window.end)
    for shift in (0, 1) if end <= start else (0,):
        low, high = (start, end) if end > start else ((start, 1440) if shift == 0 else (0, end))
        day = None if window.weekday is None else (window.weekday + shift) % len(DAYS)
        if low <= minute < high and (day is None or weekday is None or day == weekday):
            return True
    return False


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def canary_not_patched(ctx: RuleContext) -> Iterable[Problem]:
    """The canary goes first so that trouble shows on it; one that is never patched warns of nothing."""
    patching = ctx.lab.patching
    host = ctx.lab.hosts.get(patching.canary) if patching.canary else None
    if host is not None and (host.os == "external" or host.patching.skip):
        why = "its system is external" if host.os == "external" else "its patching is skipped"
        what = f"the canary {patching.canary} is never patched: {why}"
        yield ctx.problem(("patching", "canary"), what, "Choose another host.", "canary-not-patched")


def patching_without_backup(ctx: RuleContext) -> Iterable[Problem]:
    """Patching waits for a fresh proven backup; without any plan it would wait for ever."""
    patching, plans = ctx.lab.patching, ctx.lab.backups.plans
    said = "backup_first" in patching.model_fields_set and patching.backup_first
    if said and patching.window and not plans:
        what = "patching waits for a fresh backup, but no backup is planned"
        path: Path = ("patching", "backup_first")
        remedy = "Add a plan under backups, or write backup_first: false."
        yield ctx.problem(path, what, remedy, "patching-without-backup")


RULES = (window_too_short, window_overlaps_backup, canary_not_patched, patching_without_backup)
