"""Which secrets lie on which host: those that follow from the lab, and those that it names.

Belongs here: references with path, owner, mode and units; never a value. Both kinds of host are given the same list:
the Ansible role `secrets` writes it, NixOS reads the same paths by its option.
"""

from __future__ import annotations

from collections.abc import Iterator

from homelab_platform.lab.beside import wireguard_key
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.resolve.chosen import Draft
from homelab_platform.lab.resolved import ResolvedSecret

FOLDER = "/var/lib/homelab/secrets"
HOST_FILE = "secrets/hosts/{host}.yaml"
"""The SOPS file that a host may read besides the lab's people."""
WIREGUARD = "wireguard"
K3S_TOKEN = "k3s-token"  # noqa: S105 (a name)


def host_reference(host: str, key: str) -> str:
    """The reference of a secret that belongs to one host."""
    return f"sops:{HOST_FILE.format(host=host)}#{key}"


def host_secrets(draft: Draft, name: str, host: Host, vpn_address: str | None) -> dict[str, ResolvedSecret]:
    """The secret files of a host by name; empty for one that the platform does not configure."""
    if host.os == "external":
        return {}
    found = {secret.name: secret for secret in _following(draft, name, host, vpn_address)}
    for key, said in host.secrets.items():
        found[key] = ResolvedSecret(
            name=key,
            reference=said.from_,
            path=said.path or f"{FOLDER}/{key}",
            owner=said.owner,
            group=said.group,
            mode=said.mode,
            units=said.units,
        )
    return dict(sorted(found.items()))


def _following(draft: Draft, name: str, host: Host, vpn_address: str | None) -> Iterator[ResolvedSecret]:
    star = draft.lab.network.vpn.wireguard
    if star is not None and vpn_address is not None:
        made = wireguard_key(draft.loaded.texts, name) is not None
        reference = host_reference(name, WIREGUARD) if made else _own_key(star.key) if star.hub == name else None
        if reference:
            unit = "systemd-networkd.service" if host.os == "nixos" else "wg-quick@wg0.service"
            yield ResolvedSecret(name=WIREGUARD, reference=reference, path=f"{FOLDER}/{WIREGUARD}", units=(unit,))
    cluster = draft.lab.cluster
    if host.k3s is not None and cluster is not None and cluster.token is not None:
        yield ResolvedSecret(name=K3S_TOKEN, reference=cluster.token, path=f"{FOLDER}/{K3S_TOKEN}")


def _own_key(reference: str) -> str | None:
    """The hub's key, unless it lies on the host already."""
    return None if reference.startswith("file:/") else reference
