"""k3s versions: how they are written, which exist, and from which to which a cluster may go.

Belongs here: pure arithmetic on versions, with the table in k3s_versions.yaml.

Sources: the release list of k3s-io/k3s; the version skew policy of Kubernetes (an agent is never newer than its
server and at most three minor versions older; servers go up one minor version at a time).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from homelab_platform.lab.tables import read_table


class _Table(NamedTuple):
    """What exists: the newest patch release of each supported minor version 1.x, and how far that may have moved."""

    default: str
    newest: dict[int, int]
    oldest_minor: int
    months_ahead: int
    most_patches: int


_KNOWN = _Table(**read_table(Path(__file__).with_suffix(".yaml")))
NEWEST, DEFAULT = _KNOWN.newest, _KNOWN.default
_FORM = re.compile(r"v1\.(\d{1,3})\.(\d{1,3})(?:-rc\d+)?\+k3s(\d{1,2})")


class K3sVersion(NamedTuple):
    """v1.`minor`.`patch`+k3s`build`."""

    minor: int
    patch: int
    build: int

    def __str__(self) -> str:
        return f"v1.{self.minor}.{self.patch}+k3s{self.build}"


def parse(text: str) -> K3sVersion | None:
    """The version that a text names; None when it is not one."""
    match = _FORM.fullmatch(text)
    return K3sVersion(*(int(part) for part in match.groups())) if match else None


def complaint(text: str) -> tuple[str, str] | None:
    """What is wrong with a k3s version and what to do; None when it can exist."""
    version = parse(text)
    if version is None:
        guess = re.fullmatch(r"v?1\.(\d+)(?:\.(\d+))?(?:[-+]k3s(\d+))?", text)
        minor = int(guess[1]) if guess else 0
        if guess and minor in NEWEST:
            patch = int(guess[2]) if guess[2] else NEWEST[minor]
            written = K3sVersion(minor, patch, int(guess[3] or 1))
            return f"{text} is not how k3s writes its versions", f"Write {written}."
        return f"{text} is not a k3s version", f"Write it as k3s does: {DEFAULT}."
    newest = max(NEWEST)
    if version.minor > newest + 1:
        return f"there is no k3s {text}: the newest is {_newest(newest)}", f"Write {_newest(newest)} or {DEFAULT}."
    if version.minor < _KNOWN.oldest_minor or version.build < 1:
        return f"there is no k3s {text} that the platform knows", f"Write {DEFAULT}."
    known = NEWEST.get(version.minor, _KNOWN.most_patches - _KNOWN.months_ahead)
    if version.patch > max(known + _KNOWN.months_ahead, _KNOWN.most_patches):
        better = _newest(version.minor) if version.minor in NEWEST else DEFAULT
        return f"there is no k3s {text}: the newest of 1.{version.minor} is {better}", f"Write {better}."
    return None


def _newest(minor: int) -> str:
    return str(K3sVersion(minor, NEWEST[minor], 1))


def upgrade_complaint(running: str, wanted: str) -> tuple[str, str] | None:
    """Why a cluster cannot go from one version to another in one step; None when it can.

    Servers go up one minor version at a time, and never down (the datastore's format does not go back).
    """
    old, new = parse(running), parse(wanted)
    if old is None or new is None or old == new:
        return None
    if new < old:
        remedy = f"Restore a backup made under {wanted}, or stay with {running}."
        return f"k3s cannot go back from {running} to {wanted}", remedy
    if new.minor > old.minor + 1:
        step = old.minor + 1
        through = _newest(step) if step in NEWEST else f"v1.{step}.x+k3s1"
        skipped = new.minor - old.minor - 1
        what = f"from {running} to {wanted} skips {skipped} minor version{'s' * (skipped > 1)}"
        return what, f"Go to {through} first."
    return None


def skew_complaint(server: str, agent: str) -> tuple[str, str] | None:
    """Why an agent cannot serve under a server: it is newer, or more than three minor versions older."""
    one, other = parse(server), parse(agent)
    if one is None or other is None:
        return None
    if (other.minor, other.patch) > (one.minor, one.patch):
        return f"the agent's {agent} is newer than the server's {server}", "Upgrade the server first."
    if one.minor - other.minor > 3:
        return f"the agent's {agent} is too old for the server's {server}", "Upgrade the agent."
    return None
