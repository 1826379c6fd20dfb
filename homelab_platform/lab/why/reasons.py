"""The sentences of `homelab show --why`: why a derived value is what it is, and how keys are called in the lab file.

Belongs here: words only; trace.py decides which one applies.
"""

from __future__ import annotations

SHOWN_AS = {
    **dict.fromkeys(("memory", "allocatable_memory", "size", "quota", "capacity", "arc", "record"), "size"),
    **dict.fromkeys(("cpu", "allocatable_cpu"), "cpu"),
    **dict.fromkeys(
        ("keep_raw", "keep_table", "keep", "every", "expire_after", "gc", "drain_timeout", "settle"), "duration"
    ),
    **dict.fromkeys(("old_versions", "unfinished"), "duration"),
}

# how a resolved field is called in the lab file, where the two differ
RENAMED: dict[str, tuple[str, ...]] = {
    "hosts.dhcp": ("address",),
    "hosts.vpn_address": ("vpn",),
    "network.pod_cidr": ("pods",),
    "network.service_cidr": ("services",),
    "network.dns_servers": ("dns", "upstream"),
    "network.dns_records": ("dns", "records"),
    "cluster.version": ("k3s",),
    "cluster.disabled": ("disable",),
    "cluster.deploy": ("deploy",),
    "cluster.settings": (),
    "cluster.api_address": ("api", "address"),
    "cluster.servers": ("-",),
    "cluster.agents": ("-",),
    "workloads.placement": ("on",),
    "workloads.exposure": ("expose",),
    "workloads.hostname": ("expose", "host"),
    "workloads.address": ("expose", "address"),
    "workloads.roles": ("for",),
    "workloads.needs": ("needs",),
    "workloads.settings": (),
    "workloads.namespace": ("namespace",),
    "streams.source": ("from",),
    "streams.source_settings": ("from",),
    "streams.keep_raw": ("keep",),
    "streams.keep_table": ("keep",),
}

CATALOGUE_FIELDS = frozenset(
    {
        "catalogue", "namespace", "tier", "kind", "chart", "chart_version", "app_version", "image", "replicas", "cpu",
        "memory", "ports", "volumes", "exposure", "settings", "exporters", "backup", "stateful",
    }
)  # fmt: skip

DERIVED = {
    "hosts.allocatable_cpu": "derived: cpu without what k3s takes",
    "hosts.allocatable_memory": "derived: memory without the system, k3s and the host's services",
    "hosts.dhcp": "derived: no address is said",
    "hosts.dns_names": "derived: <host>.<domain>",
    "hosts.disks": "derived: the first disk boots, others are mounted below /mnt",
    "hosts.exporters": "derived: every managed host has a node exporter; services bring theirs",
    "hosts.firewall": "derived: ports of its services, then network.firewall",
    "hosts.needs": "derived: a node comes after the first k3s server",
    "hosts.role": "derived: node in the cluster, else by its board",
    "hosts.services": "derived: follows from network, storage or tooling",
    "hosts.settings": "derived: from its system and board",
    "hosts.site": "default: home",
    "hosts.users": "derived: everyone whose role may log in",
    "hosts.vpn_address": "derived: the end of its LAN address, or a place by its name",
    "network.dns_records": "derived: hosts and exposed workloads",
    "network.dns_servers": "derived: the LAN's own resolver, then network.dns.upstream",
    "network.vpn": "derived: one peer for each member of the star",
    "network.zones": "derived: workloads that no zone names are internal",
    "network.dns": "default: public resolvers, CoreDNS in the cluster",
    "network.pod_cidr": "default: k3s' own",
    "network.service_cidr": "default: k3s' own",
    "network.tls": "derived: DNS-01 when a DNS provider is given",
    "cluster.version": "default: the k3s version the platform was tested with",
    "cluster.servers": "derived: hosts with k3s: server",
    "cluster.agents": "derived: hosts with k3s: agent",
    "cluster.datastore": "derived: SQLite for one server, etcd for several",
    "cluster.disabled": "derived: bundled parts that a workload of the lab replaces",
    "cluster.api_address": "derived: the first server's address",
    "cluster.gitops": "default: for repositories that say nothing else",
    "cluster.settings": "default: as k3s has it, hardened",
    "cluster.deploy": "default: the platform itself applies",
    "workloads.placement": "derived: architecture, taints and memory; data on a local disk pins it",
    "workloads.address": "derived: a free place of network.load_balancers by its name, or its node's own",
    "workloads.hostname": "derived: <service>.<subdomain>.<domain>",
    "workloads.needs": "derived: what the catalogue says it needs, and the platform parts it stands on",
    "workloads.roles": "derived: admins, and roles whose rights name it",
    "workloads.sso": "derived: the first way that it and the identity provider both know",
    "workloads.zone": "default: internal",
    "workloads.storage_class": "derived: storage.default; databases never on NFS",
    "workloads.on_host": "derived: the host it is pinned to",
    "workloads.exposure": "default: inside the cluster only",
    "streams.bucket": "default: the lab's raw bucket",
    "streams.prefix": "derived: the stream's name",
    "streams.sensors": "default: nothing is said",
    "streams.table": "default: default.sensor_data",
    "streams.source_settings": "derived: the lab's own broker and flow",
    "buckets.owner": "derived: who asked for it",
    "buckets.expire_after": "default: never",
    "buckets.keep": "derived: the keep of each of its streams",
    "buckets.old_versions": "default: 30d in a versioned bucket",
    "buckets.unfinished": "default: 2d",
    "buckets.access": "derived: who writes and who reads its streams, tables and marts",
    "buckets.encrypted": "derived: the S3 server's setting",
    "tables.streams": "derived: streams that name this table",
    "tables.keep": "derived: the longest keep of its streams",
    "tables.bucket": "default: the lake",
    "marts.reads": "derived: the tables that streams fill",
    "marts.settings": "derived: sensors and devices of the streams",
    "backups.item": "derived: everything that holds state",
    "backups.method": "derived: the catalogue's method, or the layer's",
    "backups.drill": "default: weekly, on a day by its name",
    "backups.keep": "default: seven daily ones",
    "backups.schedule": "default: daily at 02:30",
    "backups.targets": "default: all targets",
    "backups.encrypted": "default: always",
}
