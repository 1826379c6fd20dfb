"""Rules about people: what a role may not have.

Belongs here: groups that give more than the role. Keys of people are in keys.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab.context import RuleContext

ROOT_GROUPS = {
    "sudo": "may become root", "wheel": "may become root", "root": "owns root's files", "admin": "may become root",
    "docker": "starts containers as root", "podman": "starts containers as root", "lxd": "starts containers as root",
    "incus-admin": "starts containers as root", "libvirt": "starts machines with any disk",
    "libvirtd": "starts machines with any disk", "disk": "reads and writes whole disks",
    "shadow": "reads password hashes",
    "kmem": "reads the kernel's memory", "systemd-journal-remote": "writes the journal", "trusted": "is trusted by Nix",
}  # fmt: skip
"""Unix groups whose members are root, or can become it without a password of root's."""


def root_group(ctx: RuleContext) -> Iterable[Problem]:
    """A guest in the group docker is root on that host: the role says one thing and the groups another."""
    for name, person in ctx.lab.people.items():
        if person.role == "admin" or person.kind == "deploy":
            continue
        for index, group in enumerate(person.groups):
            if group in ROOT_GROUPS:
                what = f"{name} is a {person.role}, and whoever is in {group} {ROOT_GROUPS[group]}"
                remedy = f"Leave {group} out, or give {name} role: admin."
                yield ctx.problem(("people", name, "groups", index), what, remedy, "root-group")


RULES = (root_group,)
