"""How many copies the backup plans of a lab make, and whether one is outside of the house: 3-2-1, as warnings.

Belongs here: judging what is written. Not here: which copies there are (operations/coverage.py), or which plans are
refused (rules/backups.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from homelab_platform.errors import Problem
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.model.operations import Target

COPIES = "copies"
"""The rule of these warnings."""
_AT_HOME = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain")
_ELSEWHERE = "s3://bucket@b2, or ssh://… of a machine at another place"


def copy_warnings(loaded: LoadedLab) -> Iterator[Problem]:
    """A warning at each plan that makes one copy only, or none outside of the house."""
    backups = loaded.lab.backups
    for name, plan in backups.plans.items():
        wanted = backups.to if plan.to is None else plan.to
        targets = {target: backups.to[target] for target in wanted if target in backups.to}
        if not targets:
            continue  # an error already
        said = ", ".join(targets)
        away = any(is_elsewhere(loaded.lab, target) for target in targets.values())
        if len({_machine(target) or target.url for target in targets.values()}) == 1:
            place = "" if away else ", in the house"
            what = f"{name} makes one copy only ({said}{place}): when that fails, there is none"
            remedy = "Add a target in the house: it restores sooner." if away else f"Add a target: {_ELSEWHERE}."
        elif not away:
            what = f"{name} makes no copy outside of the house ({said}): fire, theft or lightning takes all"
            remedy = f"Add a target: {_ELSEWHERE}. A disk that is carried away counts too: then all is well."
        else:
            continue
        yield Problem(loaded.positions.key("backups", name), what, remedy, COPIES, "warning")


def is_elsewhere(lab: Lab, target: Target) -> bool:
    """Whether a target lies outside of the house, by its address: a provider's storage, a machine on the Internet."""
    host = _machine(target)
    if target.url.startswith(("s3:", "b2:")) and host and "." not in host:
        return True  # a provider by name
    names = {host, host.removesuffix(f".{lab.domain}")}
    if any(names & {name, said.address, said.address6, *said.dns_names} for name, said in lab.hosts.items()):
        return False
    try:
        return not ipaddress.ip_address(host).is_private
    except ValueError:
        return "." in host and not f".{host}".endswith((*_AT_HOME, f".{lab.domain}"))


def _machine(target: Target) -> str:
    """The machine or provider of a target; empty for a disk."""
    scheme, _, rest = target.url.partition("://")
    if target.endpoint:
        rest = target.endpoint.partition("://")[2] or target.endpoint
    elif scheme in ("s3", "b2"):
        rest = rest.partition("@")[2]
    elif scheme not in ("ssh", "nfs", "smb"):
        return ""
    try:
        return (urlsplit(f"//{rest}").hostname or "").lower()
    except ValueError:
        return ""
