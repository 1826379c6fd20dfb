"""The parts of a catalogue entry: chart, requests, ports, volumes, backup, health, secrets, database, client.

Belongs here: one type for each part, its reading of human units, and rules within one part. Not here: the entry as a
whole (model.py).

Units after reading: memory and sizes in bytes, CPU in millicores, durations in seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from homelab_platform.lab import quantities
from homelab_platform.lab.settings import SettingKind, SettingSpec

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Arch = Literal["amd64", "arm64", "armv7", "armv6"]
BackupMethod = Literal[
    "postgres", "s3", "sqlite", "volume", "files", "raft-snapshot", "etcd-snapshot", "nifi", "database-and-files",
    "metadata-snapshot", "zfs", "ldif", "state", "elasticsearch-snapshot", "git", "secrets", "none",
]  # fmt: skip


def _size(value: object) -> Any:
    return _read(quantities.size, value)


def _duration(value: object) -> Any:
    return _read(quantities.duration, value)


def _cpu(value: object) -> Any:
    return _read(quantities.cpu, value)


def _read(reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except quantities.Bad as bad:
        raise ValueError(f"{bad.what}; {bad.remedy}") from bad


def read_port(value: object) -> Any:
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
Seconds = Annotated[int, BeforeValidator(_duration), Field(gt=0)]


class Part(BaseModel):
    """Base of all parts of an entry: immutable, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False, defer_build=True)


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

    `port` names the port for `http`; `object` names an object of its namespace (`Kind/name`, `{name}` standing for the
    workload's name), which must be available or, of a custom resource, have the `condition` (Ready when not said).
    """

    http: str | None = None
    port: Name | None = None
    status: tuple[int, ...] = (200,)
    sql: str | None = None
    tcp: Name | None = None
    unit: str | None = None
    dns: str | None = None
    object: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]+(\.[a-z0-9.-]+/v[0-9a-z]+)?/[^/]+$")] | None = None
    condition: Text | None = None
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


class SecretKey(Part):
    """One key of a Secret that is made at the first installation and then kept.

    `form` says how the random `bytes` are written: text (base64 without signs that an address cannot hold), hex,
    base64, letters (and digits, for programs that choke on signs). Instead of random bytes: `is` a fixed text, such as
    a user's name; `reference` a key of the lab file that holds a reference (`network.dns.cloudflare.token`,
    `workload.settings.token`); `of: s3/access-key` a key of the Secret `<provider>-s3` of whoever provides s3;
    `template` a text with `$key` for other keys of this Secret, `$database_…` for those of `<workload>-database`, and
    `$client_id`, `$client_secret`, `$issuer` of its sign-in. `when` makes the key for one way to sign in only.
    """

    form: Literal["text", "hex", "base64", "letters"] = "text"
    size: Annotated[int, Field(ge=8, le=256, alias="bytes")] = 24
    fixed: Annotated[str | None, Field(alias="is")] = None
    reference: Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[A-Za-z0-9_-]+)+$")] | None = None
    of: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/\S+$")] | None = None
    template: str | None = None
    when: Literal["oidc", "ldap", "forward-auth"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> SecretKey:
        if len([s for s in (self.fixed, self.reference, self.of, self.template) if s is not None]) > 1:
            raise ValueError("say one of is, reference, of and template")
        return self


def read_secret(value: object) -> Any:
    """`[password]`, a list of keys with random texts, as the mapping that says the same."""
    if isinstance(value, list):
        return {str(key): {} for key in value}
    if isinstance(value, dict):
        return {key: said or {} for key, said in value.items()}
    return value


class Database(Part):
    """A database of its own at whoever provides postgresql, with a user of the same name who owns it.

    Name, user and password lie in the Secret `<workload>-database`; `name` is that of the workload when not said.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")] | None = None
    extensions: tuple[Name, ...] = ()


Callback = Annotated[str, StringConstraints(pattern=r"^(/|[a-z][a-z0-9.+-]*:)\S*$")]


class Client(Part):
    """How it is registered at whoever provides oidc. Its id and secret lie in the Secret `<workload>-oidc`.

    `callbacks` are paths below its address, or whole addresses of an app (`app.immich:///oauth-callback`).
    """

    callbacks: tuple[Annotated[str, StringConstraints(pattern=r"^(/|[a-z][a-z0-9.+-]*:)\S*$")], ...] = Field(
        min_length=1
    )
    note: str = ""
