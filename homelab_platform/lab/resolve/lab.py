"""From the lab as written to the lab with every derived fact.

Belongs here: the order in which facts are derived, and the small sections; each family of facts has a module of its
own (hosts.py, workloads.py …). Pure: equal labs give equal bytes, on every machine, whatever the
order of keys in the file. A lab that breaks rules still resolves as far as it can: the rules say what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.model.cluster import Cluster
from homelab_platform.lab.quantities import SECRET_REFERENCE
from homelab_platform.lab.resolve.backups import (
    ResolvedData,
    backup_items,
    patching_facts,
    resolve_backups,
    resolve_targets,
)
from homelab_platform.lab.resolve.bundled import disabled
from homelab_platform.lab.resolve.chosen import Draft, facts_of, make_draft, plain
from homelab_platform.lab.resolve.data import resolve_buckets, resolve_marts, resolve_streams, resolve_tables
from homelab_platform.lab.resolve.host_facts import with_host_facts
from homelab_platform.lab.resolve.hosts import resolve_hosts
from homelab_platform.lab.resolve.network import network_facts, vpn_addresses
from homelab_platform.lab.resolve.scrape import scrape_targets
from homelab_platform.lab.resolve.volumes import storage_facts
from homelab_platform.lab.resolve.workloads import resolve_workloads
from homelab_platform.lab.resolved import (
    ResolvedCluster,
    ResolvedHost,
    ResolvedLab,
    ResolvedPerson,
    ResolvedWorkload,
)


def resolve(loaded: LoadedLab, catalog: Catalogue) -> ResolvedLab:
    """Derives every fact of the lab."""
    draft = make_draft(loaded, catalog)
    lab = draft.lab
    vpn = vpn_addresses(draft)
    hosts = resolve_hosts(draft, vpn)
    workloads = resolve_workloads(draft, hosts)
    cluster = cluster_facts(draft, hosts)
    streams = resolve_streams(draft, hosts, workloads)
    buckets = resolve_buckets(draft, streams, workloads)
    tables = resolve_tables(streams)
    items = backup_items(cluster, hosts, workloads, ResolvedData(streams, buckets, tables))
    resolved = ResolvedLab(
        version=lab.version,
        name=lab.lab,
        timezone=lab.timezone,
        source=loaded.path.name,
        network=network_facts(draft, hosts, workloads, vpn),
        hosts=hosts,
        cluster=cluster,
        people=people_facts(draft.loaded),
        identity=identity_facts(draft, workloads),
        storage=storage_facts(draft, hosts),
        secrets=secret_facts(draft),
        workloads=workloads,
        streams=streams,
        buckets=buckets,
        tables=tables,
        marts=resolve_marts(streams, tables, loaded.marts),
        targets=resolve_targets(draft),
        backups=resolve_backups(draft, items, workloads),
        patching=patching_facts(draft, hosts),
        scrape_targets=scrape_targets(hosts, workloads),
        tasks=task_facts(draft),
        settings=_settings(draft),
    )
    return with_host_facts(resolved)


def cluster_facts(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> ResolvedCluster | None:
    """The cluster section of lab.json; None for a lab without k3s."""
    said = draft.lab.cluster
    if said is None and not draft.nodes:
        return None
    said = said or Cluster()
    way = said.deploy.chosen
    repository = said.deploy.flux or said.deploy.argocd
    servers = draft.servers
    first = next((hosts[name].address for name in servers if hosts[name].address), None)
    return ResolvedCluster(
        version=said.k3s if said.k3s.startswith("v") else f"v{said.k3s}",
        servers=servers,
        agents=tuple(name for name in draft.nodes if name not in servers),
        datastore=said.datastore or ("etcd" if len(servers) > 1 else "sqlite"),
        disabled=disabled(draft, said),
        api_address=said.api.address or first,
        deploy=way,
        gitops=plain(repository.model_dump()) if repository is not None else {},
        settings=_cluster_settings(said),
    )


def _cluster_settings(said: Cluster) -> dict[str, Any]:
    apart = {"k3s", "datastore", "disable", "deploy"}
    return {name: value for name, value in facts_of(said, exclude_none=True).items() if name not in apart}


def people_facts(loaded: LoadedLab) -> dict[str, ResolvedPerson]:
    """People with their public keys as text, where the files could be read."""
    return {
        name: ResolvedPerson(
            name=name,
            role=person.role,
            ssh_keys=tuple(loaded.keys.get(key, key) for key in person.ssh),
            groups=tuple(sorted(person.groups)),
            email=person.email,
            settings=_present(
                {
                    "kind": person.kind,
                    "full_name": person.name,
                    "shell": person.shell,
                    "password": person.password,
                    "gpg": person.gpg,
                    "mfa": person.mfa or None,
                }
            ),
        )
        for name, person in sorted(loaded.lab.people.items())
    }


def identity_facts(draft: Draft, workloads: Mapping[str, ResolvedWorkload]) -> dict[str, Any]:
    """Provider, its name, and a client for every workload that people sign in to."""
    said = draft.lab.identity
    provider = workloads.get(draft.first(said.provider) or "")
    facts: dict[str, object] = _present(
        {name: value for name, value in facts_of(said).items() if name not in {"roles", "domain"}}
    )
    facts["hostname"] = said.domain or (provider.hostname if provider else None)
    facts["roles"] = {role: facts_of(rights) for role, rights in said.roles.items()}
    facts["clients"] = {
        name: {"way": w.sso, "hostname": w.hostname, "roles": list(w.roles)}
        for name, w in workloads.items()
        if w.sso != "none"
    }
    return facts


def secret_facts(draft: Draft) -> dict[str, str]:
    """Every reference of the lab file by its path, and the one that a VPN has by default."""
    found = dict(secret_references(draft.lab.model_dump(by_alias=True, exclude_unset=True)))
    star = draft.lab.network.vpn.wireguard
    if star is not None:
        found["network.vpn.wireguard.key"] = star.key
    return dict(sorted(found.items()))


def secret_references(document: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, reference) of every secret that a document refers to."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from secret_references(value, f"{path}.{key}" if path else str(key))
    elif isinstance(document, (list, tuple)):
        for index, value in enumerate(document):
            yield from secret_references(value, f"{path}.{index}")
    elif isinstance(document, str) and SECRET_REFERENCE.fullmatch(document):
        yield path, document


def task_facts(draft: Draft) -> tuple[dict[str, Any], ...]:
    """Tasks by phase, then by name."""
    rows = sorted(draft.lab.tasks.items(), key=lambda row: (row[1].phase or 100, row[0]))
    return tuple({"name": name, **_present(plain(task.model_dump()))} for name, task in rows)


def _settings(draft: Draft) -> dict[str, Any]:
    lab = draft.lab
    return _present(
        {
            "description": lab.description,
            "environment": lab.environment,
            "locale": facts_of(lab.locale),
            "alerts": _present(facts_of(lab.alerts)),
            "logs": facts_of(lab.logs),
            "nix": plain(lab.nix.model_dump()) if any(h.os == "nixos" for h in lab.hosts.values()) else None,
            "tooling": _present(facts_of(lab.tooling)),
            "secrets": _present(facts_of(lab.secrets)),
            "backup_engine": lab.backups.engine if lab.backups.plans else None,
        }
    )


def _present(document: Mapping[str, object]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in (None, {}, [])}
