"""The interfaces by which parts of a lab find each other: what one provides, another may ask for.

Belongs here: the names that code asks for, and who provides them. An entry of the catalogue says `provides:`, a service
of hosts too (host_services/services.yaml); a person's own entry counts like the project's. Not here: what a provider
tells of itself (plan/neighbours.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from homelab_platform.lab.host_services.table import HOST_SERVICES

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab, ResolvedWorkload

S3, POSTGRESQL = "s3", "postgresql"
MQTT = "mqtt"
BROKER_USERS = "broker-users"
"""A broker that reads users and rights from the Secret which the platform writes for it."""
PROMETHEUS = "prometheus"
MACHINE_READINGS = "machine-readings"
"""Pods that publish what their nodes say of themselves."""
ENTRANCE = "entrance"
"""Takes readings in that come over HTTP, from a REST interface or a broker, and puts them into the bucket."""
OIDC, FORWARD_AUTH, LDAP = "oidc", "forward-auth", "ldap"
INGRESS, GATEWAY = "ingress", "gateway"
CERTIFICATES, HOST_CERTIFICATES = "certificates", "host-certificates"
DNS_RECORDS = "dns-records"
"""Answers for the lab's own names, or writes them into a zone."""
ADDRESS_POOL = "address-pool"
"""Gives services addresses out of the lab's pool."""
VPN = "vpn"
VAULT = "vault"
"""Keeps secrets and signs certificates by the API of Vault."""
DASHBOARD, UPTIME_CHECKS = "dashboard", "uptime-checks"


def workloads_with(lab: ResolvedLab, *interfaces: str) -> tuple[ResolvedWorkload, ...]:
    """The workloads that provide one of these, by name."""
    wanted = set(interfaces)
    return tuple(workload for _, workload in sorted(lab.workloads.items()) if wanted & set(workload.provides))


def hosts_with(lab: ResolvedLab, *interfaces: str) -> tuple[ResolvedHost, ...]:
    """The hosts of which a service provides one of these, by name."""
    return tuple(host for _, host in sorted(lab.hosts.items()) if service_with(host.services, *interfaces))


def service_with(services: Iterable[str], *interfaces: str) -> str | None:
    """The first of these host services that provides one of the interfaces."""
    wanted = set(interfaces)
    return next(
        (name for name in services if name in HOST_SERVICES and wanted & set(HOST_SERVICES[name].provides)), None
    )
