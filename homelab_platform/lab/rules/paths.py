"""Rules about paths: as Linux writes them, absolute where a host reads them.

Belongs here: Windows paths wherever a path may stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path

_DRIVE = re.compile(r"^(?:file:/*)?[A-Za-z]:(?:[\\/]|$)")


def windows_path(ctx: RuleContext) -> Iterable[Problem]:
    """Hosts and pods are Linux: C:\\keys\\ada.pub is there no folder but a strange name."""
    for path, text in _paths(ctx):
        if "\\" in text or _DRIVE.match(text):
            plain = re.sub(r"^(file:/*)?[A-Za-z]:[\\/]*", r"\1", text).replace("\\", "/")
            what = f"{q.shown(text)} is a Windows path"
            inside = "beside the lab file" if path[0] in ("people", "workloads") else "on the host"
            yield ctx.problem(path, what, f"Write it with slashes, {inside}: {plain}.", "windows-path")


def _paths(ctx: RuleContext) -> Iterator[tuple[Path, str]]:
    lab = ctx.lab
    for name, person in lab.people.items():
        yield from (((("people", name, "ssh", i)), key) for i, key in enumerate(person.ssh) if " " not in key.strip())
    for name, workload in lab.workloads.items():
        for field in ("chart", "kustomize"):
            if text := getattr(workload, field):
                yield ("workloads", name, field), text
        for key, volume in workload.volumes.items():
            if volume.mount:
                yield ("workloads", name, "volumes", key, "mount"), volume.mount
    yield from _host_paths(ctx)
    storage = lab.storage
    yield ("storage", "local_path", "path"), storage.local_path.path
    for section, fields in ((storage.nfs, ("path", "mount")), (storage.media, ("path",))):
        name = "nfs" if section is storage.nfs else "media"
        yield from ((("storage", name, field), getattr(section, field)) for field in fields if section is not None)
    for name, target in lab.backups.to.items():
        yield ("backups", "to", name, "url"), target.url
    for name, stream in lab.streams.items():
        if stream.from_.files:
            yield ("streams", name, "from", "files", "path"), stream.from_.files.path


def _host_paths(ctx: RuleContext) -> Iterator[tuple[Path, str]]:
    for name, host in ctx.lab.hosts.items():
        for key, disk in host.disks.items():
            for field in ("mount", "device"):
                if text := getattr(disk, field):
                    yield ("hosts", name, "disks", key, field), text
        yield from ((("hosts", name, "nix", "modules", i), text) for i, text in enumerate(host.nix.modules))


def relative_mount(ctx: RuleContext) -> Iterable[Problem]:
    """A mount point without the leading slash is mounted nowhere."""
    for path, text in _mounts(ctx):
        if not text.startswith("/") and "\\" not in text and not _DRIVE.match(text):
            yield ctx.problem(path, f"{q.shown(text)} is not an absolute path", f"Write /{text}.", "relative-mount")


def _mounts(ctx: RuleContext) -> Iterator[tuple[Path, str]]:
    storage = ctx.lab.storage
    for name, host in ctx.lab.hosts.items():
        for key, disk in host.disks.items():
            if disk.mount:
                yield ("hosts", name, "disks", key, "mount"), disk.mount
    for name, workload in ctx.lab.workloads.items():
        for key, volume in workload.volumes.items():
            if volume.mount:
                yield ("workloads", name, "volumes", key, "mount"), volume.mount
    yield ("storage", "local_path", "path"), storage.local_path.path
    if storage.media and storage.media.on == "local":
        yield ("storage", "media", "path"), storage.media.path
    if storage.nfs:
        yield ("storage", "nfs", "mount"), storage.nfs.mount
        yield ("storage", "nfs", "path"), storage.nfs.path


def unstable_device(ctx: RuleContext) -> Iterable[Problem]:
    """A device called by its kernel name (/dev/sda) may be another disk after the next reboot, and is then erased."""
    for name, host in ctx.lab.hosts.items():
        for key, disk in host.disks.items():
            if disk.device and re.fullmatch(r"/dev/(?:sd|hd)[a-z]+\d*", disk.device):
                what = f"{name}: {disk.device} may be another disk after the next reboot"
                remedy = "Write its stable name: ls -l /dev/disk/by-id shows it."
                yield ctx.problem(("hosts", name, "disks", key, "device"), what, remedy, "unstable-device")


RULES = (windows_path, relative_mount, unstable_device)
