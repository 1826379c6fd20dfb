"""What a workload is told about others of its lab: whom it uses, whom it serves, where people sign in.

Belongs here: derived facts by interface (`postgresql`, `s3`, `oidc`, …), under the names that values and manifests know
them by. Whoever provides an interface answers for it, a person's own entry as well as the project's. Not here: how a
file refers to them (references.py), or the Secrets themselves (workload/secrets.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homelab_platform.lab.interfaces import FORWARD_AUTH, OIDC, POSTGRESQL, workloads_with

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

MIDDLEWARE = "forward-auth"
"""The Traefik Middleware that a provider of forward-auth makes in its own namespace."""


def provider_of(lab: ResolvedLab, interface: str, workload: ResolvedWorkload | None = None) -> ResolvedWorkload | None:
    """Who provides an interface: of those that `workload` needs, else of the lab, the first by name."""
    able = workloads_with(lab, interface)
    if workload is None:
        return next(iter(able), None)
    needed_first = sorted(able, key=lambda other: (other.name not in workload.needs, other.name))
    return next((other for other in needed_first if other.name != workload.name), None)


def uses_of(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, dict[str, object]]:
    """Each interface that a workload's needs provide: `name`, `namespace`, and the `host`, `port`, `address` and `url`
    under which pods reach it.
    """
    found: dict[str, dict[str, object]] = {}
    for name in workload.needs:
        other = lab.workloads[name]
        for interface in other.provides:
            found.setdefault(interface, _reached(other, interface))
    return found


def _reached(other: ResolvedWorkload, interface: str) -> dict[str, object]:
    ports = other.ports
    port = next((p for p in (interface, "http", "https", *ports) if p in ports), "")
    host = f"{other.service_of(port)}.{other.namespace}.svc"
    facts: dict[str, object] = {"name": other.name, "namespace": other.namespace, "host": host}
    if port:
        number = ports[port].port
        scheme = "https" if port == "https" else "http"
        facts |= {"port": number, "address": f"{host}:{number}", "url": f"{scheme}://{host}:{number}"}
    return facts


def databases_at(lab: ResolvedLab, provider: ResolvedWorkload) -> list[ResolvedWorkload]:
    """The workloads that keep a database at this provider, by name."""
    return [
        other
        for _, other in sorted(lab.workloads.items())
        if other.database is not None and _is_provider(lab, POSTGRESQL, other, provider)
    ]


def clients_at(lab: ResolvedLab, provider: ResolvedWorkload) -> list[ResolvedWorkload]:
    """The workloads whose people sign in at this provider by OpenID Connect, by name."""
    return [
        other
        for _, other in sorted(lab.workloads.items())
        if other.sso == OIDC and other.client is not None and _is_provider(lab, OIDC, other, provider)
    ]


def _is_provider(lab: ResolvedLab, interface: str, other: ResolvedWorkload, provider: ResolvedWorkload) -> bool:
    found = provider_of(lab, interface, other) if interface in _interfaces(lab, other) else None
    return found is not None and found.name == provider.name


def _interfaces(lab: ResolvedLab, workload: ResolvedWorkload) -> set[str]:
    """The interfaces that a workload's needs provide."""
    return {interface for name in workload.needs for interface in lab.workloads[name].provides}


def database_facts(lab: ResolvedLab, provider: ResolvedWorkload) -> list[dict[str, Any]]:
    """The databases that are asked of a provider: `name`, `owner`, `extensions`, and the `secret` with its password."""
    if POSTGRESQL not in provider.provides:
        return []
    return [
        {
            "name": (other.database or {})["name"],
            "owner": (other.database or {})["name"],
            "extensions": list((other.database or {})["extensions"]),
            "extension_rows": [{"name": name} for name in (other.database or {})["extensions"]],
            "secret": f"{provider.name}-{other.name}",
        }
        for other in databases_at(lab, provider)
    ]


def client_facts(lab: ResolvedLab, provider: ResolvedWorkload) -> list[dict[str, object]]:
    """The OpenID Connect clients of a provider: `id`, `address`, `redirects` (addresses), `groups` of its users."""
    if OIDC not in provider.provides:
        return []
    scheme = "https" if lab.network.tls else "http"
    return [
        {
            "id": other.name,
            "address": f"{scheme}://{other.hostname}",
            "redirects": [
                {
                    "matching_mode": "strict",
                    "url": f"{scheme}://{other.hostname}{path}" if path.startswith("/") else path,
                }
                for path in (other.client or {})["callbacks"]
            ],
            "groups": [f"lab-{role}" for role in sorted(other.roles)],
        }
        for other in clients_at(lab, provider)
    ]


def sso_facts(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, object]:
    """How people sign in to a workload: `issuer` and `url` of the provider, and the `middleware` of an ingress."""
    if workload.sso == "none":
        return {}
    provider = provider_of(lab, workload.sso, workload)
    scheme = "https" if lab.network.tls else "http"
    if provider is None:
        issuer = lab.identity.get("issuer")
        return {"issuer": issuer, "url": issuer, "provider": ""} if issuer else {}
    facts: dict[str, object] = {"provider": provider.name, "url": f"{scheme}://{provider.hostname}"}
    if provider.issuer:
        facts["issuer"] = provider.issuer.replace("{client}", workload.name)
    if FORWARD_AUTH in provider.provides:
        facts["middleware"] = f"{provider.namespace}-{MIDDLEWARE}@kubernetescrd"
    return facts
