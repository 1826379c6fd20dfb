"""What the desired state of each layer's assets consists of.

Belongs here: one function per layer, from the resolved lab to that layer's DesiredState values. A document holds what
matters to its asset and nothing else, so that a change in the lab touches exactly the assets that it means. Facts that
an asset truly takes from others (scrape targets, DNS records, VPN peers) are in its document; facts_for says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from homelab_platform.lab import interfaces
from homelab_platform.lab.resolve.backups import datastore_host, stands_still
from homelab_platform.names import LAKE_BUCKET, RAW_BUCKET
from homelab_platform.plan.access import callers, media_facts, namespaces, pod_security
from homelab_platform.plan.cards import CARD, base_image, card_document
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.facts import facts_for, providers
from homelab_platform.plan.layers import make_key

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab, ResolvedStream, ResolvedWorkload

CLUSTER = make_key("cluster", "k3s")

_HOST_ELSEWHERE = frozenset({"labels", "taints", "cpu", "memory", "allocatable_cpu", "allocatable_memory", "needs"})
"""Fields of a host that other assets carry (the cluster its labels) or that follow from its board."""

_NUMBERS = frozenset({int, float, bool})
"""What says something even when it is zero or false."""

_ENTRANCES = {
    "mqtt": (interfaces.MQTT, interfaces.ENTRANCE),
    "http": (interfaces.ENTRANCE,),
    "rest": (interfaces.ENTRANCE,),
    "prometheus": (interfaces.PROMETHEUS,),
}
TABLE_CHECKS = ("freshness", "range", "gaps", "rejected", "conservation", "clocks", "burst")
"""The verifications of a table of readings; the graph gives each of them its check."""


def all_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The assets of every layer, without fingerprints; deps may name keys that the lab does not have."""
    for host in lab.hosts.values():
        yield from host_states(lab, host)
    yield from cluster_states(lab)
    yield from workload_states(lab)
    for stream in lab.streams.values():
        yield flow_state(lab, stream)
    yield from bucket_states(lab)
    yield from table_states(lab)
    yield from mart_states(lab)
    yield from backup_states(lab)


def table_key(name: str) -> str:
    """The key of the Iceberg table `namespace.table`; the namespace `default` is left out."""
    return make_key("table", name.removeprefix("default."))


def _present(document: dict[str, object]) -> dict[str, Any]:
    """The document without what is not said, so that a new optional field of the lab changes no fingerprint."""
    return {name: value for name, value in document.items() if value or value.__class__ in _NUMBERS}


def _sorted_names(document: dict[str, Any], *fields: str) -> dict[str, Any]:
    """The document with the lists of names in `fields` in order, where the order means nothing."""
    for name in fields:
        if isinstance(document.get(name), list):
            document[name] = sorted(document[name])
    return document


def _people(lab: ResolvedLab, names: tuple[str, ...], *also: str) -> dict[str, Any]:
    include = {"role", "ssh_keys", "groups", *also}
    return {
        name: _present(lab.people[name].model_dump(mode="json", include=include))
        for name in names
        if name in lab.people
    }


def _owners(lab: ResolvedLab) -> tuple[str, ...]:
    emails = tuple(sorted(p.email for p in lab.people.values() if p.role == "admin" and p.email))
    return emails or ("team:admin",)


def host_states(lab: ResolvedLab, host: ResolvedHost) -> Iterator[DesiredState]:
    """A host and, unless someone else looks after its system, the image that it first starts from."""
    image = make_key("image", host.name)
    where = host.address or ("DHCP" if host.dhcp else "no fixed address")
    family = "raspberrypi" if host.board.startswith("pi") else host.arch
    if host.os != "external":
        yield DesiredState(
            image,
            "image",
            _image_document(lab, host),
            title=f"Image of {host.name}",
            description=f"The disk image that {host.name} ({host.board}, {host.os}) starts from the first time.",
            kinds=(host.os, family, *((CARD,) if base_image(lab, host) else ())),
            owners=_owners(lab),
        )
    yield DesiredState(
        make_key("host", host.name),
        "host",
        _host_document(lab, host),
        deps=(image, *(make_key("host", other) for other in host.needs)),
        title=host.name,
        description=f"{host.board} with {host.os} at {where}, {host.role or host.k3s or 'host'}.",
        kinds=(host.os, family),
        owners=_owners(lab),
        links={"SSH": f"ssh://{host.address}"} if host.address else {},
    )


def _image_document(lab: ResolvedLab, host: ResolvedHost) -> dict[str, Any]:
    """What the very first start needs: the rest the host learns when it is applied, without a new card."""
    include = {"board", "arch", "os", "address", "dhcp", "wifi"}
    document = host.model_dump(mode="json", include=include)
    people = _people(lab, host.users)
    return _present(
        {
            **document,
            "hostname": host.name,
            "gateway": None if host.dhcp else lab.network.gateway,
            "timezone": lab.timezone,
            "people": {name: person for name, person in people.items() if person.get("role") == "admin"},
            **card_document(lab, host),
        }
    )


def _host_document(lab: ResolvedLab, host: ResolvedHost) -> dict[str, Any]:
    by_its_image = ["wifi"] if host.os == "raspios" else []
    document = host.model_dump(mode="json", exclude={*_HOST_ELSEWHERE, *by_its_image})
    _sorted_names(document, "users", "dns_names")
    document["people"] = _people(lab, host.users, "settings")
    document["network"] = _present(
        {
            "domain": lab.network.domain,
            "lan": lab.network.lan,
            "gateway": lab.network.gateway,
            "dns_servers": list(lab.network.dns_servers),
        }
    )
    document["timezone"] = lab.timezone
    document["vpn_peers"] = _vpn_peers(lab, host)
    return _present(document)


def _vpn_peers(lab: ResolvedLab, host: ResolvedHost) -> dict[str, str]:
    """The hub of the star knows every spoke; a spoke knows the hub alone."""
    if host.vpn_address is None:
        return {}
    hub = (lab.network.vpn.get("wireguard") or {}).get("hub")
    members = {name: other.vpn_address for name, other in lab.hosts.items() if other.vpn_address and name != host.name}
    if hub == host.name:
        return members
    return {hub: members[hub]} if hub in members else {}


def cluster_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The k3s cluster with the labels and taints of its nodes."""
    cluster = lab.cluster
    if cluster is None:
        return
    nodes = (*cluster.servers, *cluster.agents)
    document = _present(cluster.model_dump(mode="json"))
    _sorted_names(document, "disabled", "servers", "agents")
    document["nodes"] = {
        name: _present({"labels": lab.hosts[name].labels, "taints": sorted(lab.hosts[name].taints)})
        for name in nodes
        if name in lab.hosts
    }
    document["pod_cidr"], document["service_cidr"] = lab.network.pod_cidr, lab.network.service_cidr
    document["namespaces"], document["pod_security"] = namespaces(lab), pod_security(lab)
    if media := media_facts(lab):
        document["media"] = media
    yield DesiredState(
        CLUSTER,
        "cluster",
        document,
        deps=tuple(make_key("host", name) for name in nodes),
        title="k3s",
        description=f"k3s {cluster.version}: {len(cluster.servers)} server(s), {len(cluster.agents)} agent(s).",
        kinds=("kubernetes", "k3s"),
        owners=_owners(lab),
        links={"API": f"https://{cluster.api_address}:6443"} if cluster.api_address else {},
    )


def workload_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The workloads, each after what it runs on and what it needs."""
    owners, may_call = _owners(lab), callers(lab)
    scheme = "https" if lab.network.tls else "http"
    for name, workload in lab.workloads.items():
        document = _present(workload.model_dump(mode="json", exclude={"provides"}))
        _sorted_names(document, "placement", "needs", "roles")
        derived = facts_for(lab, workload)
        if may_call.get(name):
            derived["callers"] = may_call[name]
        if derived:
            document["derived"] = derived
        yield DesiredState(
            make_key("workload", name),
            "workload",
            document,
            deps=(*_ground(workload), *(make_key("workload", other) for other in workload.needs)),
            checks=("answers",),
            title=name,
            description=_workload_line(workload),
            kinds=_workload_kinds(workload),
            owners=tuple(f"team:{role}" for role in workload.roles) or owners,
            links={"Open": f"{scheme}://{workload.hostname}"} if workload.hostname else {},
        )


def _ground(workload: ResolvedWorkload) -> tuple[str, ...]:
    if workload.kind == "host":
        return tuple(make_key("host", name) for name in workload.placement)
    return (CLUSTER,)


def _workload_kinds(workload: ResolvedWorkload) -> tuple[str, ...]:
    manner = {"helm": "helm", "kustomize": "kubernetes", "host": "systemd", "builtin": "k3s"}[workload.kind]
    return (manner, workload.catalogue)


def _workload_line(workload: ResolvedWorkload) -> str:
    version = workload.app_version or workload.chart_version or ""
    where = f" on {', '.join(workload.placement)}" if workload.placement else ""
    reached = f", reached at {workload.hostname}" if workload.hostname else ""
    return f"{workload.catalogue} {version}".strip() + f"{where}{reached}."


def flow_state(lab: ResolvedLab, stream: ResolvedStream) -> DesiredState:
    """The way of a stream's readings into its bucket."""
    document = _present(stream.model_dump(mode="json", exclude={"keep_raw", "keep_table", "table"}))
    _sorted_names(document, "devices")
    if stream.source == "machine":
        entrances = tuple(make_key("host", name) for name, host in lab.hosts.items() if host.os != "external")
    else:
        entrances = providers(lab, *_ENTRANCES.get(stream.source, ()))
    sensors = ", ".join(stream.sensors) or "whatever arrives"
    return DesiredState(
        make_key("flow", stream.name),
        "flow",
        document,
        deps=entrances,
        title=f"Flow {stream.name}",
        description=f"{sensors} from {stream.source} into s3://{stream.bucket}/{stream.prefix}.",
        kinds=(stream.source,),
        owners=_owners(lab),
    )


def bucket_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The buckets, each after the object store and after whoever fills it."""
    stores = providers(lab, interfaces.S3)
    for name, bucket in lab.buckets.items():
        writers = tuple(make_key("flow", s.name) for s in lab.streams.values() if s.bucket == name)
        yield DesiredState(
            make_key("bucket", name),
            "bucket",
            _present(bucket.model_dump(mode="json")),
            deps=(*stores, *writers, make_key("workload", bucket.owner)),
            title=f"Bucket {name}",
            description=f"Objects of {bucket.owner}.",
            kinds=("s3",),
            owners=_owners(lab),
        )


def table_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The Iceberg tables, each after the buckets that it reads, the one that holds it, and its catalogue."""
    catalogues = providers(lab, interfaces.POSTGRESQL)
    for table in lab.tables.values():
        streams = [lab.streams[name] for name in table.streams if name in lab.streams]
        sources = {s.bucket for s in streams} | {table.bucket}
        document = _present(table.model_dump(mode="json"))
        _sorted_names(document, "streams")
        rejects = table.name.endswith("_rejected")
        if not rejects:
            document["sensors"] = {stream.name: _sensors(stream) for stream in streams}
        yield DesiredState(
            table_key(table.name),
            "table",
            _present(document),
            deps=(*(make_key("bucket", name) for name in sources), *catalogues),
            checks=() if rejects else TABLE_CHECKS,
            title=table.name,
            description=f"{'Lines that are no readings' if rejects else 'Readings'} of {', '.join(table.streams)}.",
            kinds=("iceberg", "parquet"),
            owners=_owners(lab),
        )


def _sensors(stream: ResolvedStream) -> dict[str, Any]:
    return {name: _present(sensor.model_dump(mode="json")) for name, sensor in stream.sensors.items()}


def mart_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The marts, each made from the tables and marts that it reads."""
    for name, mart in lab.marts.items():
        reads = tuple(make_key("mart", r) if r in lab.marts else table_key(r) for r in mart.reads)
        yield DesiredState(
            make_key("mart", name),
            "mart",
            _sorted_names(_present(mart.model_dump(mode="json")), "reads"),
            deps=reads,
            follows=reads,
            title=f"Mart {name}",
            description=f"{mart.about} Computed from {', '.join(mart.reads)}.".lstrip(),
            kinds=("duckdb", "iceberg"),
            owners=_owners(lab),
        )


def backup_states(lab: ResolvedLab) -> Iterator[DesiredState]:
    """The backups, each after what it saves, and their drills."""
    for name, backup in lab.backups.items():
        document = _present(backup.model_dump(mode="json", exclude={"drill"}))
        document["targets"] = {
            t: _present(lab.targets[t].model_dump(mode="json")) for t in backup.targets if t in lab.targets
        }
        key, places = make_key("backup", name), ", ".join(backup.targets)
        kinds = (backup.method, *_saved_here(lab, backup.item))
        yield DesiredState(
            key,
            "backup",
            document,
            deps=(*_saved(lab, backup.item), *_keepers(lab, backup.targets)),
            title=f"Backup of {backup.item}",
            description=f"{backup.item} by {backup.method} to {places or 'the folder beside the site'}.",
            kinds=kinds,
            owners=_owners(lab),
        )
        if backup.drill:
            yield DesiredState(
                make_key("drill", name),
                "drill",
                {"item": backup.item, "method": backup.method, "schedule": backup.drill},
                deps=(key,),
                follows=(key,),
                title=f"Drill of {backup.item}",
                description=f"Restores the newest backup of {backup.item} into a scratch place and compares it; "
                f"{backup.drill}.",
                kinds=kinds,
                owners=_owners(lab),
            )


def _saved(lab: ResolvedLab, item: str) -> tuple[str, ...]:
    """The assets that an item of a backup consists of."""
    if item == "cluster":
        return (CLUSTER,)
    if item == "lake":
        buckets = (make_key("bucket", name) for name in (RAW_BUCKET, LAKE_BUCKET))
        return (*map(table_key, lab.tables), *buckets)
    return (item,)


def _saved_here(lab: ResolvedLab, item: str) -> tuple[str, ...]:
    """What a site must hold or reach to save this item itself: the platform's state, that of its NiFi, hosts by SSH."""
    if item == "platform/nifi":
        return ("nifi",)
    layer, _, name = item.partition("/")
    if layer == "host" and stands_still(lab.hosts[name]):
        return ("ssh",)
    if item == "cluster" and datastore_host(lab) is not None:
        return ("ssh",)
    return ("platform",) if layer in ("lake", "platform", "bucket") else ()


def _keepers(lab: ResolvedLab, targets: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts that these backup targets lie on."""
    places = {urlsplit(lab.targets[name].url).hostname for name in targets if name in lab.targets}
    return tuple(
        make_key("host", name)
        for name, host in lab.hosts.items()
        if places & {name, host.address, host.address6, *host.dns_names} - {None}
    )
