"""What one workload of the catalogue is: the typed form of `helm/<workload>/workload.yaml`.

Belongs here: the types, their reading of human units, and rules that hold within one file. Not here: finding and
reading the files (load.py), or rules about a lab (lab/rules).

Units after reading: memory and sizes in bytes, CPU in millicores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from homelab_platform.lab import quantities
from homelab_platform.lab.settings import SettingKind, SettingSpec

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Arch = Literal["amd64", "arm64", "armv7", "armv6"]
Tier = Literal["infrastructure", "storage", "core", "media", "extras"]
Form = Literal["helm", "app", "kustomize", "host", "builtin", "tool"]
Exposure = Literal["none", "cluster", "lan", "ingress", "vpn"]
Sso = Literal["oidc", "ldap", "forward-auth"]
BackupMethod = Literal[
    "postgres", "s3", "sqlite", "volume", "files", "raft-snapshot", "etcd-snapshot", "nifi", "database-and-files",
    "metadata-snapshot", "zfs", "ldif", "state", "elasticsearch-snapshot", "git", "secrets", "none",
]  # fmt: skip
NEED = re.compile(r"^[a-z0-9-]+(\|[a-z0-9-]+)*\??$")


def _size(value: Any) -> Any:
    return _read(quantities.size, value)


def _cpu(value: Any) -> Any:
    return _read(quantities.cpu, value)


def _read(reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except quantities.Bad as bad:
        raise ValueError(f"{bad.what}; {bad.remedy}") from bad


def _port(value: Any) -> Any:
    """`8080` and `53/udp` as a port; a mapping stays what it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"port": value}
    if isinstance(value, str):
        number, slash, protocol = value.partition("/")
        if number.isdigit() and slash:
            return {"port": int(number), "protocol": protocol}
    return value


Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Cpu = Annotated[int, BeforeValidator(_cpu), Field(ge=0)]


class Part(BaseModel):
    """Base of all parts of an entry: immutable, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False)


class Chart(Part):
    """Where a Helm chart comes from: a repository's address, the chart's name, its exact version.

    The address is `https://…`, `oci://…`, or `git+https://…//folder` for a chart that lies in a source tree only.
    """

    repo: Annotated[str, StringConstraints(pattern=r"^(https|oci|git\+https)://\S+[^/]$")]
    name: Text
    version: Text


class Arm64(Part):
    """Whether it runs on 64-bit ARM (`own-image`: only with an image that we build), and how that is known."""

    runs: Literal["yes", "no", "own-image", "unverified"]
    evidence: Text


class Requests(Part):
    """What the scheduler reserves, and where the figures come from.

    `basis`: chart (the chart's default), pi-cluster (in use on a public Raspberry Pi cluster), estimate (a first guess
    for a home on a Pi 5, to be measured), measured (by us), none (runs no process of its own).
    """

    cpu: Cpu = 0
    memory: Size = 0
    limit: Size | None = None
    basis: Literal["chart", "pi-cluster", "estimate", "measured", "none"]
    note: str = ""


class Port(Part):
    """A port that the workload listens on."""

    port: Annotated[int, Field(ge=1, le=65535)]
    protocol: Literal["tcp", "udp"] = "tcp"


class Volume(Part):
    """A volume: default size, access, mount point, and what kind of place it may lie on.

    `kind` is data (the lab's default storage class), local (never NFS), media (the lab's one shared media folder) or
    object (a bucket); `holds` says what lies on it, because SQLite, PostgreSQL and LMDB break on NFS.
    """

    size: Size
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] = "ReadWriteOnce"
    mount: str | None = None
    kind: Literal["data", "local", "media", "object"] = "data"
    holds: Literal["files", "sqlite", "postgresql", "lmdb", "raft", "index", "objects"] = "files"

    @model_validator(mode="after")
    def _databases_stay_local(self) -> Volume:
        if self.holds in {"sqlite", "postgresql", "lmdb", "raft"} and self.kind != "local":
            raise ValueError(f"a volume that holds {self.holds} must be kind local: it breaks on NFS")
        return self


class Bucket(Part):
    """A bucket that the workload wants on the lab's S3 server."""

    description: str = ""
    versioning: bool = False


class Exporter(Part):
    """A Prometheus endpoint of the workload, or of a sidecar beside it."""

    port: Annotated[int, Field(ge=1, le=65535)]
    path: str = "/metrics"
    note: str = ""


class Backup(Part):
    """How the state is saved: method, volumes and further things it covers, and what to know about it.

    `together` names what must be saved at one point in time with it. Of `none`, `note` says why nothing is lost.
    """

    method: BackupMethod
    covers: str = ""
    volumes: tuple[Name, ...] = ()
    together: tuple[Text, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _none_says_why(self) -> Backup:
        if self.method in {"none", "git"} and not self.note:
            raise ValueError(f"backup method {self.method} needs a note that says why nothing is lost")
        if self.method not in {"none", "git"} and not self.covers:
            raise ValueError("say in covers what the backup holds")
        return self


class Health(Part):
    """What proves from outside that it works: exactly one of an HTTP path, a SQL statement, a port, a unit, a query.

    `port` names the port for `http`; `object` names a Kubernetes object (`daemonset/x`) that must be available.
    """

    http: str | None = None
    port: Name | None = None
    status: tuple[int, ...] = (200,)
    sql: str | None = None
    tcp: Name | None = None
    unit: str | None = None
    dns: str | None = None
    object: str | None = None
    command: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Health:
        ways = [w for w in ("http", "sql", "tcp", "unit", "dns", "object", "command") if getattr(self, w) is not None]
        if len(ways) != 1:
            raise ValueError("say exactly one of http, sql, tcp, unit, dns, object, command")
        return self


class Setting(Part):
    """A key of its own that a lab file may set for this workload, beside those that every workload has."""

    kind: SettingKind
    description: Text
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False

    def spec(self) -> SettingSpec:
        """The same as the lab's settings reader takes it."""
        return SettingSpec(self.kind, self.description, self.choices, self.default, self.required)


class CatalogueEntry(Part):
    """One workload of the catalogue. The folder's name is its name.

    `home` is the project's address; `provides` names interfaces that others may ask for (`s3`, `oidc`); `members` the
    parts that a stack brings along; `nixos` the NixOS option under which it can also run as a host service;
    `own_chart` which of our own charts runs an app; `secrets` names Kubernetes Secrets `<workload>-<name>` and their
    keys, whose values are made up once and kept; `checked` how far the entry was verified.
    """

    name: Name
    title: Text
    description: Text
    tier: Tier
    form: Form = Field(alias="kind")
    home: Text
    licence: Text
    licence_note: str = ""
    chart_source: Chart | None = Field(None, alias="chart")
    own_chart: Literal["app", "homelab-platform"] = "app"
    app_version: str | None = None
    image: str | None = None
    arch: tuple[Arch, ...] = ("amd64", "arm64")
    arm64: Arm64
    needs_4k_pages: str | None = None
    requests: Requests
    per_node: bool = False
    operator: bool = False
    replicas: Annotated[int, Field(ge=0)] = 1
    namespace: Name
    ports: dict[Name, Annotated[Port, BeforeValidator(_port)]] = {}
    web: Name | None = None
    hostname: Name | None = None
    exposure: Exposure = "cluster"
    host_network: bool = False
    volumes: dict[Name, Volume] = {}
    buckets: dict[Name, Bucket] = {}
    needs_why: dict[Annotated[str, StringConstraints(pattern=NEED.pattern)], Text] = Field({}, alias="needs")
    provides: tuple[Name, ...] = ()
    members: tuple[Name, ...] = ()
    nixos: str | None = None
    sso: tuple[Sso, ...] = ()
    sso_note: str = ""
    exporters: dict[Name, Exporter] = {}
    backup: Backup
    health: Health | None = None
    secrets: dict[Name, tuple[Text, ...]] = {}
    aliases: dict[str, Text] = {}
    typed_settings: dict[Name, Setting] = Field({}, alias="settings")
    notes: tuple[Text, ...] = ()
    checked: Literal["facts", "chart", "rendered", "cluster", "servers"] = "facts"

    @property
    def kind(self) -> Literal["helm", "kustomize", "host", "builtin"]:
        """How it is deployed; `app` is Helm with our generic chart, `tool` a program on the operator's host."""
        deployed: dict[str, Literal["helm", "kustomize", "host", "builtin"]] = {"app": "helm", "tool": "host"}
        return deployed.get(self.form, self.form)  # type: ignore[arg-type]

    @property
    def chart(self) -> str | None:
        """The chart with its repository, the name of one of our own, None where no chart is used."""
        if self.chart_source is not None:
            return f"{self.chart_source.repo}/{self.chart_source.name}"
        return self.own_chart if self.form == "app" else None

    @property
    def chart_version(self) -> str | None:
        """The chart's exact version; None for our own chart, which has the project's version."""
        return self.chart_source.version if self.chart_source else None

    @property
    def cpu(self) -> int:
        """Millicores requested (per node if `per_node`)."""
        return self.requests.cpu

    @property
    def memory(self) -> int:
        """Bytes requested (per node if `per_node`)."""
        return self.requests.memory

    @property
    def stateful(self) -> bool:
        """Whether it keeps something that would be missed: its removal must not take the volumes along."""
        return bool(self.volumes) and self.backup.method not in {"none", "git"}

    @property
    def needs(self) -> tuple[str, ...]:
        """What it cannot run without: `a|b` is satisfied by either, `a?` orders after it only if it is there."""
        return tuple(self.needs_why)

    @cached_property
    def settings(self) -> Mapping[str, SettingSpec]:
        """Keys that a lab file may set for this workload alone."""
        return {name: setting.spec() for name, setting in self.typed_settings.items()}

    @cached_property
    def web_port(self) -> str | None:
        """The name of the port that its hostname leads to; None if it answers no web requests."""
        if self.web is not None:
            return self.web
        return next((name for name in ("https", "http") if name in self.ports), None)

    @model_validator(mode="after")
    def _consistent(self) -> CatalogueEntry:
        for complaint in self._complaints():
            raise ValueError(complaint)
        return self

    def _complaints(self) -> list[str]:
        found = []
        if (self.form == "helm") != (self.chart_source is not None):
            found.append("kind helm and chart belong together: name the chart, or choose another kind")
        if self.form == "app" and not self.image:
            found.append("kind app needs the image that our generic chart runs")
        if (self.arm64.runs in {"no"}) == ("arm64" in self.arch):
            found.append("arch and arm64.runs contradict each other")
        if self.web is not None and self.web not in self.ports:
            found.append(f"web names the port {self.web}, which ports does not have")
        if self.exposure == "ingress" and self.web_port is None:
            found.append("exposure ingress needs a port called http or https, or web: <port>")
        if unknown := [v for v in self.backup.volumes if v not in self.volumes]:
            found.append(f"backup names the volume {unknown[0]}, which volumes does not have")
        if self.health and (lost := {self.health.port, self.health.tcp} - {None, *self.ports}):
            found.append(f"health names the port {sorted(map(str, lost))[0]}, which ports does not have")
        if self.image and (self.image.endswith(":latest") or ":" not in self.image.rpartition("/")[2]):
            found.append("image needs a tag or digest, and never latest")
        return found


class Bundle(Part):
    """A name that stands for several workloads at once, such as arr-stack; the lab names its members."""

    name: Name
    title: Text
    description: Text
    kind: Literal["bundle"]
    members: tuple[Name, ...] = Field(min_length=1)


FORMS: tuple[str, ...] = get_args(Form)
