"""The resolved lab: every fact that a tool needs, derived once. Serialised it is `lab.json`.

Belongs here: the frozen output types and their canonical serialisation. Not here: how a fact is derived
(lab/resolve/lab.py), or anything that depends on the machine where it runs. All maps are keyed by name and written
sorted, so that equal labs give equal bytes. Secrets stay references (`sops:…`, `env:…`, `file:…`).

Units: memory and sizes in bytes, CPU in millicores, durations in seconds.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from homelab_platform.lab.pod_levels import PodLevel


class Frozen(BaseModel):
    """Base of all resolved types: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResolvedPerson(Frozen):
    """A person of the lab: login name, role, SSH key files or literal public keys, groups."""

    name: str
    role: Literal["admin", "dev", "guest"]
    ssh_keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    email: str | None = None
    settings: dict[str, Any] = {}


class ResolvedDisk(Frozen):
    """A disk of a host; `kind` is sd, ssd, nvme, hdd or usb; `size` in bytes."""

    name: str
    kind: str
    size: int
    mount: str | None = None
    filesystem: str | None = None
    device: str | None = None


class ResolvedExporter(Frozen):
    """A Prometheus exporter on a host or beside a workload."""

    name: str
    port: int
    path: str = "/metrics"


class ResolvedSecret(Frozen):
    """A secret as a file on a host: its reference, and how the file lies there. `mode` in octal; `units` are restarted
    when it changes.
    """

    name: str
    reference: str
    path: str
    owner: str = "root"
    group: str = "root"
    mode: str = "0400"
    units: tuple[str, ...] = ()


class ResolvedHost(Frozen):
    """One machine. `allocatable_*` is what is left for pods after the OS and k3s."""

    name: str
    board: str
    arch: Literal["amd64", "arm64", "armv7", "armv6"]
    os: str  # nixos, raspios, debian or external
    role: str
    site: str = "home"
    address: str | None = None
    address6: str | None = None
    mac: str | None = None
    dhcp: bool = False
    interfaces: dict[str, dict[str, Any]] = {}
    wifi: dict[str, Any] | None = None
    k3s: Literal["server", "agent"] | None = None
    cpu: int
    memory: int
    allocatable_cpu: int = 0
    allocatable_memory: int = 0
    disks: dict[str, ResolvedDisk] = {}
    users: tuple[str, ...] = ()
    services: dict[str, dict[str, Any]] = {}  # host services (NixOS modules, Ansible roles) with their settings
    exporters: dict[str, ResolvedExporter] = {}
    firewall: tuple[dict[str, Any], ...] = ()
    sources: dict[str, tuple[str, ...]] = {}  # networks behind each word of the firewall's `from`
    system: dict[str, Any] = {}  # language, keyboard, ntp
    telemetry: dict[str, Any] = {}  # stream, site, every (seconds), to (broker), topic of its own readings
    node: dict[str, Any] = {}  # how Ansible sets up k3s here: version, unit, config, registration, flags, join
    labels: dict[str, str] = {}
    taints: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    vpn_address: str | None = None
    ssh_host_key: str | None = None  # public half, where `homelab secrets` made or recorded it
    secrets: dict[str, ResolvedSecret] = {}  # files to be delivered; references only
    needs: tuple[str, ...] = ()  # names of other hosts that must be up first
    settings: dict[str, Any] = {}


class ResolvedNetwork(Frozen):
    """Addresses of the lab as a whole: LAN, VLANs, pools, CIDRs, DNS records, VPN peers, zones, firewall."""

    domain: str
    subdomain: str | None = None
    lan: str | None = None
    lan6: str | None = None
    gateway: str | None = None
    dhcp: str | None = None
    load_balancers: str | None = None
    pod_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    vlans: dict[str, str] = {}
    zones: dict[str, tuple[str, ...]] = {}
    dns_servers: tuple[str, ...] = ()
    dns_records: dict[str, str] = {}
    dns: dict[str, Any] = {}
    vpn: dict[str, Any] = {}
    firewall: tuple[dict[str, Any], ...] = ()
    wifi: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    settings: dict[str, Any] = {}


class ResolvedCluster(Frozen):
    """The k3s cluster."""

    version: str
    servers: tuple[str, ...]
    agents: tuple[str, ...] = ()
    datastore: str = "sqlite"
    disabled: tuple[str, ...] = ()
    api_address: str | None = None
    deploy: Literal["helm", "flux", "argocd"] = "helm"
    gitops: dict[str, Any] = {}
    settings: dict[str, Any] = {}


class ResolvedPort(Frozen):
    """A port that a workload listens on."""

    name: str
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"


class ResolvedVolume(Frozen):
    """A volume of a workload. `on_host` is the host whose disk holds it, if one is known."""

    name: str
    size: int
    storage_class: str
    access: str = "ReadWriteOnce"
    mount: str | None = None
    on_host: str | None = None


class ResolvedWorkload(Frozen):
    """One workload as it will run. `needs` names other workloads of this lab that must be applied before it."""

    name: str
    catalogue: str  # catalogue entry that it was made from
    namespace: str
    tier: str
    kind: Literal["helm", "kustomize", "host", "builtin"]
    chart: str | None = None
    chart_version: str | None = None
    app_version: str | None = None
    image: str | None = None
    placement: tuple[str, ...] = ()  # host names it may run on; empty: the scheduler decides
    replicas: int = 1
    cpu: int = 0
    memory: int = 0
    ports: dict[str, ResolvedPort] = {}
    volumes: dict[str, ResolvedVolume] = {}
    needs: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()  # interfaces that it offers to others: s3, postgresql, oidc
    pods: tuple[dict[str, str], ...] = ()  # labels of its pods, each a set; empty: app.kubernetes.io/instance
    services: dict[str, str] = {}  # port name → Service, where that is not called like the workload
    database: dict[str, Any] | None = None  # name and extensions of its database at the provider of postgresql
    client: dict[str, Any] | None = None  # as an OIDC client: callback paths
    issuer: str | None = None  # as a provider of oidc: where clients find it, `{client}` standing for their name
    hostname: str | None = None
    address: str | None = None
    exposure: Literal["none", "cluster", "lan", "ingress", "vpn"] = "cluster"
    zone: str | None = None
    sso: Literal["none", "oidc", "ldap", "forward-auth"] = "none"
    roles: tuple[str, ...] = ()
    values: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    exporters: dict[str, ResolvedExporter] = {}
    backup: dict[str, Any] | None = None
    stateful: bool = False
    pod_security: PodLevel = "restricted"  # the level of Kubernetes' Pod Security Standards that its pods need

    def service_of(self, port: str) -> str:
        """The Kubernetes Service behind which a port of it lies."""
        return self.services.get(port, self.name)

    def labels(self) -> tuple[dict[str, str], ...]:
        """Sets of labels by which its pods are known."""
        return self.pods or ({"app.kubernetes.io/instance": self.name},)


class ResolvedSensor(Frozen):
    """A sensor of a stream: its unit, the range of plausible values (inclusive), the expected interval in seconds."""

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    every: float | None = None


class ResolvedStream(Frozen):
    """A stream of readings. `source` is one of mqtt, http, files, prometheus, rest, machine; `devices` known ahead.

    `keep_raw` and `keep_table` in seconds; None keeps for ever.
    """

    name: str
    source: str
    source_settings: dict[str, Any] = {}
    bucket: str
    prefix: str
    table: str = "default.sensor_data"
    devices: tuple[str, ...] = ()
    sensors: dict[str, ResolvedSensor] = {}
    columns: dict[str, str] = {}  # further columns of the stream: name → Iceberg type
    tz: str | None = None  # zone of times without one
    keep_raw: int | None = None
    keep_table: int | None = None


class ResolvedGrant(Frozen):
    """What one user of the S3 server may do in a bucket: put, read or change the objects under these prefixes."""

    right: Literal["put", "read", "change"]
    under: tuple[str, ...] = ("",)


class ResolvedBucket(Frozen):
    """A bucket of the lab's S3 server.

    `keep` says for each stream's prefix how long its raw objects stay once they are in the table, in seconds; None is
    for ever. `expire_after` deletes every object of the bucket after that time, `old_versions` what was replaced or
    deleted in a versioned bucket, `unfinished` uploads in parts that were never finished. `access` is by user.
    """

    name: str
    owner: str  # workload or stream it belongs to, or `platform`
    versioning: bool = False
    expire_after: int | None = None
    keep: dict[str, int | None] = {}
    old_versions: int | None = None
    unfinished: int | None = None
    encrypted: bool = False
    size: int | None = None
    access: dict[str, ResolvedGrant] = {}


class ResolvedTable(Frozen):
    """An Iceberg table that streams fill. `name` is `namespace.table` in the catalog `hive`."""

    name: str
    streams: tuple[str, ...] = ()
    bucket: str
    keep: int | None = None
    columns: dict[str, str] = {}


class ResolvedColumn(Frozen):
    """A column of a mart. `kind` is date, time, text, number, count or truth."""

    name: str
    kind: str
    about: str
    unit: str = ""


class ResolvedMart(Frozen):
    """A table computed from others. Everything from `about` on is said of the lab's own marts only.

    `lookback` in days; `tests` as written: unique, not_null, range, no_rows.
    """

    name: str
    reads: tuple[str, ...]
    settings: dict[str, Any] = {}
    about: str = ""
    sql: str = ""
    columns: tuple[ResolvedColumn, ...] = ()
    sort: tuple[str, ...] = ()
    lookback: int | None = None
    apart: tuple[str, ...] = ()
    tests: dict[str, Any] = {}


class ResolvedBackup(Frozen):
    """One item that is backed up: what, by which method, where to, when, how long it is kept."""

    name: str
    item: str  # workload/postgresql, host/nas, bucket/raw, cluster, table/sensor_data …
    method: str
    targets: tuple[str, ...]
    schedule: str  # cron, in the lab's time zone
    keep: dict[str, int] = {}
    drill: str | None = None  # cron of the drill
    encrypted: bool = True


class ResolvedTarget(Frozen):
    """A place that backups go to; `credentials` are references."""

    name: str
    url: str
    credentials: dict[str, str] = {}
    settings: dict[str, Any] = {}


class ScrapeTarget(Frozen):
    """One Prometheus target: `job` groups, `address` is host:port."""

    job: str
    instance: str
    address: str
    path: str = "/metrics"


class ResolvedLab(Frozen):
    """The whole lab with every derived fact. `to_json` is `lab.json`, byte-identical for equal labs."""

    version: int
    name: str
    timezone: str
    source: str  # the lab file's name without its folder, so that the bytes do not depend on where it lies
    network: ResolvedNetwork
    hosts: dict[str, ResolvedHost] = {}
    cluster: ResolvedCluster | None = None
    people: dict[str, ResolvedPerson] = {}
    identity: dict[str, Any] = {}
    storage: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    workloads: dict[str, ResolvedWorkload] = {}
    streams: dict[str, ResolvedStream] = {}
    buckets: dict[str, ResolvedBucket] = {}
    tables: dict[str, ResolvedTable] = {}
    marts: dict[str, ResolvedMart] = {}
    targets: dict[str, ResolvedTarget] = {}
    backups: dict[str, ResolvedBackup] = {}
    patching: dict[str, Any] = {}
    scrape_targets: tuple[ScrapeTarget, ...] = ()
    tasks: tuple[dict[str, Any], ...] = ()
    settings: dict[str, Any] = {}

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, two-space indent, newline at the end, UTF-8."""
        return orjson.dumps(
            self.model_dump(mode="json"),
            option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
