"""What k3s brings by itself, and which of it a lab leaves out.

Belongs here: the bundled parts and what follows from them. Not here: the workloads that replace them.
"""

from __future__ import annotations

from homelab_platform.lab.model.cluster import Cluster
from homelab_platform.lab.resolve.chosen import Draft
from homelab_platform.lab.resolve.volumes import default_class


def disabled(draft: Draft, said: Cluster) -> tuple[str, ...]:
    """Bundled parts of k3s that are left out: what the file says, else what a workload of the lab replaces."""
    if said.disable is not None:
        return tuple(sorted(set(said.disable)))
    parts = {
        "load-balancer": "servicelb",
        "ingress": "traefik",
        "metrics-server": "metrics-server",
        "coredns": "coredns",
    }
    replaced = {
        part for word, part in parts.items() if (name := draft.first(word)) and draft.chosen[name].kind != "builtin"
    }
    if default_class(draft) != "local-path" and not draft.first("local-path"):
        replaced.add("local-storage")
    return tuple(sorted(replaced))


def has_load_balancer(draft: Draft) -> bool:
    """Whether services get addresses of their own on the LAN."""
    return bool(draft.lab.network.load_balancers) or "servicelb" not in disabled(draft, draft.lab.cluster or Cluster())
