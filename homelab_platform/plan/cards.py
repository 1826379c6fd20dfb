"""Images that a site makes itself, for the cards of Raspberry Pi OS hosts: what they are made from, what they say.

Belongs here: the part of an image's desired state that only these have. Not here: making them (layers/images).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document

CARD = "card"
"""The kind of such an image."""


def base_image(lab: ResolvedLab, host: ResolvedHost) -> dict[str, str] | None:
    """The Raspberry Pi OS (`image`, `sha256`) that the lab names for cards of this host; None if it names none."""
    if host.os != "raspios" or not host.board.startswith("pi") or host.settings.get("image") != "sd":
        return None
    named = (lab.settings.get("tooling") or {}).get("raspios") or {}
    found: dict[str, str] | None = named.get("arm64" if host.arch == "arm64" else "armhf")
    return found


def card_document(lab: ResolvedLab, host: ResolvedHost) -> Document:
    """What a card says beyond what every image does; empty where the lab names nothing to make it from."""
    base = base_image(lab, host)
    if base is None:
        return {}
    people = [lab.people[name] for name in host.users if name in lab.people]
    return {
        "base": base["sha256"].lower(),
        "ssh_host_key": host.ssh_host_key,
        "k3s": host.k3s,
        "reserved": bool(host.settings.get("reserved")),
        "lan": lab.network.lan,
        "dns_servers": list(lab.network.dns_servers),
        "logins": [[p.name, p.role, p.settings.get("kind"), list(p.ssh_keys)] for p in people],
    }
