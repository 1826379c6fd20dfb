"""What has to be there before a workload's pods: its namespace and its Secrets.

Belongs here: reading and writing them. Not here: which Secrets there are and what they hold
(plan/workload/secret_plan.py). A value is held only between reading it and writing it; messages name Secrets and keys.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.names import Say
from homelab_platform.plan.workload.secret_plan import Name, SecretPlanner
from homelab_platform.secrets.values import reveal
from homelab_platform.tools.kube.api import Cluster, Object

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

FLOWS = "homelab/flows"
"""The label of a network policy that says whose it is."""
BASIC_AUTH = frozenset({"username", "password"})


def make_namespace(cluster: Cluster, name: str) -> None:
    """The namespace, if it is not there."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    if cluster.get(namespace) is None:
        cluster.apply(namespace)


def make_secrets(
    cluster: Cluster,
    lab: ResolvedLab,
    workload: ResolvedWorkload,
    entry: CatalogueEntry | None,
    *,
    folder: Path,
    say: Say,
) -> None:
    """Bring the workload's Secrets to where they should be. `folder` is the lab file's.

    Raises HomelabError for a reference that cannot be resolved; nothing is written then.
    """

    def read(name: Name) -> Mapping[str, str] | None:
        return _values(cluster.get(_named(name)))

    planned = SecretPlanner(lab, workload, entry, read, lambda text: reveal(text, folder)).plan()
    for name, values in planned.wanted.items():
        held = read(name)
        if held is not None and all(held.get(key) == value for key, value in values.items()):
            continue
        say(f"{'making' if held is None else 'changing'} the secret {name[1]}")
        make_namespace(cluster, name[0])
        data = {key: base64.b64encode(value.encode()).decode() for key, value in {**(held or {}), **values}.items()}
        cluster.apply({**_named(name), "type": _type(cluster, name, values), "data": data})


def _named(name: Name) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": name[0], "name": name[1]}}


def _type(cluster: Cluster, name: Name, values: Mapping[str, str]) -> str:
    """A Secret's type never changes: that of the one that is there, else what its keys say."""
    held = cluster.get(_named(name))
    if held is not None:
        return str(held.get("type") or "Opaque")
    return "kubernetes.io/basic-auth" if set(values) == BASIC_AUTH else "Opaque"


def _values(secret: Object | None) -> dict[str, str] | None:
    if secret is None:
        return None
    return {key: base64.b64decode(text).decode() for key, text in (secret.get("data") or {}).items()}


def own_secrets(catalogue_secrets: Mapping[str, object], name: str, namespace: str) -> Iterator[Object]:
    """The Secrets that were made for a workload, and go when its data goes."""
    for secret in (*catalogue_secrets, "database", "oidc"):
        yield _named((namespace, f"{name}-{secret}"))
