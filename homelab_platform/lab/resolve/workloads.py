"""Derived facts of workloads: exposure, address, hostname, sign-in, needs, volumes, placement.

Belongs here: one ResolvedWorkload from one Chosen. Placement is in placement.py, volumes in
volumes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from homelab_platform.lab.catalogue import Entry
from homelab_platform.lab.pod_levels import PodLevel, most_open
from homelab_platform.lab.resolve.bundled import has_load_balancer
from homelab_platform.lab.resolve.chosen import Chosen, Draft, plain, settings_of
from homelab_platform.lab.resolve.network import load_balancer_addresses
from homelab_platform.lab.resolve.placement import place
from homelab_platform.lab.resolve.volumes import pinned_workloads, volumes_of
from homelab_platform.lab.resolved import ResolvedExporter, ResolvedHost, ResolvedPort, ResolvedWorkload

Exposure = Literal["none", "cluster", "lan", "ingress", "vpn"]
Sso = Literal["none", "oidc", "ldap", "forward-auth"]
_OUTSIDE: tuple[Sso, ...] = ("oidc",)
"""Ways to sign in at a provider outside of the lab, of which only the issuer is known."""


@dataclass(frozen=True)
class _Ground:
    """Where one workload runs and how it is reached."""

    placement: tuple[str, ...]
    exposure: Exposure
    address: str | None


def resolve_workloads(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> dict[str, ResolvedWorkload]:
    """Every workload of the lab by name."""
    placed = place(draft, hosts, pinned_workloads(draft))
    ways = {name: exposure_of(chosen) for name, chosen in draft.chosen.items()}
    wanting = [
        (name, chosen.said.expose.address, chosen.said.expose.share)
        for name, chosen in draft.chosen.items()
        if ways[name] == "lan" and chosen.kind != "host"
    ]
    addresses = {**_node_addresses(draft, wanting, placed, hosts), **load_balancer_addresses(draft, wanting)}
    found = {
        name: _workload(draft, chosen, _Ground(placed[name], ways[name], addresses.get(name)), hosts)
        for name, chosen in sorted(draft.chosen.items())
    }
    needs = _needs(draft, found)
    return {name: workload.model_copy(update={"needs": needs[name]}) for name, workload in found.items()}


def _node_addresses(
    draft: Draft,
    wanting: Iterable[tuple[str, str | None, str | None]],
    placed: Mapping[str, tuple[str, ...]],
    hosts: Mapping[str, ResolvedHost],
) -> dict[str, str]:
    """Where nothing gives services addresses of their own, each has that of the one node that it runs on."""
    said = draft.lab.cluster
    if said is None or "servicelb" not in (said.disable or ()) or draft.first("load-balancer"):
        return {}
    found = {name: hosts[placed[name][0]].address for name, _, _ in wanting if len(placed[name]) == 1}
    return {name: address for name, address in found.items() if address}


def _workload(
    draft: Draft,
    chosen: Chosen,
    ground: _Ground,
    hosts: Mapping[str, ResolvedHost],
) -> ResolvedWorkload:
    said, entry = chosen.said, chosen.entry
    exposure = ground.exposure
    volumes = volumes_of(draft, chosen, ground.placement, hosts)
    return ResolvedWorkload(
        name=chosen.name,
        catalogue=chosen.catalogue,
        namespace=said.namespace or (entry.namespace if entry else "apps"),
        tier=entry.tier if entry else "extras",
        kind=chosen.kind,
        chart=said.chart or (entry.chart if entry else None if said.kustomize else "app"),
        chart_version=said.chart_version or (entry.chart_version if entry and not said.chart else None),
        app_version=said.app_version or (entry.app_version if entry else None),
        image=said.image or (entry.image if entry else None),
        placement=ground.placement,
        replicas=chosen.replicas,
        cpu=chosen.cpu,
        memory=chosen.memory,
        ports=_ports(chosen),
        volumes=volumes,
        hostname=hostname_of(draft, chosen, exposure),
        address=ground.address,
        exposure=exposure,
        zone=zone_of(draft, chosen),
        sso=sso_of(draft, chosen, exposure),
        roles=roles_of(draft, chosen),
        values=plain(said.values),
        settings=_settings(chosen),
        exporters=_exporters(chosen),
        provides=tuple(sorted(chosen.provides)),
        **_objects(chosen),
        issuer=_issuer(draft, chosen, exposure),
        backup=_backup(chosen, volumes),
        stateful=entry.stateful if entry else bool(volumes),
        pod_security=pod_security_of(draft, chosen, exposure),
    )


def pod_security_of(draft: Draft, chosen: Chosen, exposure: Exposure) -> PodLevel:
    """The most open level of the lab's own, of what the workload's entry waives by name, and of what else it needs.

    Pods of a chart of one's own may be root inside, as most are. Ports of a node are beyond baseline.
    """
    levels: list[PodLevel] = [draft.lab.cluster.pod_security if draft.lab.cluster is not None else "restricted"]
    waived = chosen.entry.waive if chosen.entry else {}
    if "not-baseline" in waived or (exposure == "lan" and not has_load_balancer(draft)):
        levels.append("privileged")
    if "not-restricted" in waived or chosen.said.chart or chosen.said.kustomize:
        levels.append("baseline")
    return most_open(levels)


def exposure_of(chosen: Chosen) -> Exposure:
    """How the workload is reached: what is said, what an address or a hostname implies, the catalogue's way."""
    expose = chosen.said.expose
    if expose.way:
        return expose.way
    if expose.address or expose.share:
        return "lan"
    if expose.host or expose.public:
        return "ingress"
    return chosen.entry.exposure if chosen.entry else "cluster"


def hostname_of(draft: Draft, chosen: Chosen, exposure: Exposure) -> str | None:
    """`<service>.<subdomain>.<domain>` of what people reach by name."""
    if exposure in ("none", "cluster"):
        return None
    fallback = chosen.entry.hostname if chosen.entry and chosen.name == chosen.entry.name else None
    return f"{chosen.said.expose.host or fallback or chosen.name}.{draft.service_domain}"


def zone_of(draft: Draft, chosen: Chosen) -> str:
    """dmz, internal or restricted."""
    if chosen.said.zone:
        return chosen.said.zone
    zones = draft.lab.network.zones
    return next((zone for zone in ("dmz", "restricted") if chosen.name in zones.get(zone, ())), "internal")


def sso_of(draft: Draft, chosen: Chosen, exposure: Exposure) -> Sso:
    """How people sign in: what is said, else the first way that both the workload and the provider know."""
    if chosen.said.sso:
        return chosen.said.sso
    identity = draft.lab.identity
    if exposure in ("none", "cluster") or chosen.entry is None or identity.provider == "none":
        return "none"
    if chosen.catalogue == identity.provider:
        return "none"
    provider = draft.first(identity.provider)
    named = draft.catalog.resolve_name(identity.provider)
    ways = draft.catalog[named].provides if named is not None else _OUTSIDE
    if provider is not None:
        ways = draft.chosen[provider].provides
    known: tuple[Sso, ...] = chosen.entry.sso  # type: ignore[assignment]
    return next((way for way in known if way in ways), "none")


def roles_of(draft: Draft, chosen: Chosen) -> tuple[str, ...]:
    """Roles that may use it: those it names, those whose rights name it, and admins always."""
    rights = draft.lab.identity.roles
    named = {role for role, right in rights.items() if chosen.name in right.workloads}
    return tuple(sorted({"admin", *chosen.said.for_, *named}))


def _objects(chosen: Chosen) -> dict[str, Any]:
    """Names and labels of what its chart makes, and what others make for it; nothing for a chart of one's own."""
    entry = chosen.entry
    if entry is None or chosen.said.chart:
        return {}

    def named(text: str) -> str:
        return text.replace("{name}", chosen.name)

    return {
        "pods": tuple({key: named(value) for key, value in labels.items()} for labels in entry.pods),
        "services": {port: named(service) for port, service in entry.services.items()},
        "database": _database(chosen, entry),
        "client": {"callbacks": list(entry.client.callbacks)} if entry.client else None,
    }


def _issuer(draft: Draft, chosen: Chosen, exposure: Exposure) -> str | None:
    template, hostname = chosen.entry.issuer if chosen.entry else None, hostname_of(draft, chosen, exposure)
    return template.replace("{hostname}", hostname) if template and hostname else None


def _database(chosen: Chosen, entry: Entry) -> dict[str, Any] | None:
    said = entry.database
    if not said:
        return None
    name = said.name if chosen.name == entry.name and said.name else chosen.name.replace("-", "_")
    return {"name": name, "extensions": list(said.extensions)}


def _ports(chosen: Chosen) -> dict[str, ResolvedPort]:
    ports = {
        name: ResolvedPort(name=name, port=spec.port, protocol=spec.protocol)
        for name, spec in (chosen.entry.ports.items() if chosen.entry else ())
    }
    own = {name: ResolvedPort(name=name, port=p.port, protocol=p.protocol) for name, p in chosen.said.ports.items()}
    return {**ports, **own}


def _exporters(chosen: Chosen) -> dict[str, ResolvedExporter]:
    entries = chosen.entry.exporters.items() if chosen.entry else ()
    return {name: ResolvedExporter(name=name, port=spec.port, path=spec.path) for name, spec in entries}


def _settings(chosen: Chosen) -> dict[str, Any]:
    said, entry = chosen.said, chosen.entry
    facts = settings_of(entry.settings, said.settings) if entry else plain(said.settings)
    further: dict[str, object] = {
        "kustomize": said.kustomize,
        "description": said.description,
        "env": dict(said.env) or None,
        "public": said.expose.public or None,
        "port": said.expose.port,
        "share": said.expose.share,
    }
    return {**facts, **{key: value for key, value in further.items() if value is not None}}


def _backup(chosen: Chosen, volumes: Mapping[str, object]) -> dict[str, Any] | None:
    """Method and volumes; None when nothing would be missed."""
    said = chosen.said.backup
    spec = chosen.entry.backup if chosen.entry else None
    method = said.method or (spec.method if spec else "volume" if volumes else "none")
    if method in ("none", "git"):
        return None
    covered = [name for name in spec.volumes if name in volumes] if spec and spec.volumes else sorted(volumes)
    facts: dict[str, object] = {"method": method, "volumes": covered}
    together = tuple(getattr(spec, "together", ())) if spec else ()
    if together:
        facts["together"] = sorted(together)
    if said.plans is not None:
        facts["plans"] = sorted(said.plans)
    return facts


def _needs(draft: Draft, found: Mapping[str, ResolvedWorkload]) -> dict[str, tuple[str, ...]]:
    """What each workload must come after: said and catalogued needs, then the platform parts that it stands on.

    A platform part is left out where it would close a circle (the ingress controller behind its own sign-in).
    """
    firm = {name: _firm_needs(draft, chosen) for name, chosen in sorted(draft.chosen.items())}
    order = {name: set(needs) for name, needs in firm.items()}
    for name in sorted(found):
        for other in _platform_needs(draft, found[name]):
            if other != name and other not in order[name] and not _reaches(order, other, name):
                order[name].add(other)
    return {name: tuple(sorted(needs)) for name, needs in order.items()}


def _firm_needs(draft: Draft, chosen: Chosen) -> tuple[str, ...]:
    needs = {name for name in chosen.said.needs if name in draft.chosen}
    for need in chosen.entry.needs if chosen.entry else ():
        options = need.removesuffix("?").split("|")
        if any(option in needs for option in options):
            continue
        provider = draft.first(*options)
        if provider is not None:
            needs.add(provider)
    return tuple(sorted(needs - {chosen.name}))


def _platform_needs(draft: Draft, workload: ResolvedWorkload) -> list[str]:
    if workload.kind in ("host", "builtin"):
        return []
    words: list[tuple[str, ...]] = []
    for volume in workload.volumes.values():
        words.append((f"{volume.storage_class}-volumes",))
    if workload.exposure == "lan":
        words.append(("load-balancer",))
    if workload.exposure in ("ingress", "vpn"):
        words.append(("ingress",))
    if workload.sso != "none":
        words.append((draft.lab.identity.provider,))
    return sorted({name for group in words if (name := draft.first(*group)) is not None})


def _reaches(order: Mapping[str, set[str]], start: str, goal: str) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        for other in order.get(name, ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return False
