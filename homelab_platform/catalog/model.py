"""What one workload of the catalogue is: the typed form of `helm/<workload>/workload.yaml`.

Belongs here: the entry as a whole and rules that hold within one file. Not here: its parts (parts.py), finding and
reading the files (load.py), or rules about a lab (lab/rules).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from homelab_platform.catalog.lock import Lock
from homelab_platform.catalog.parts import (
    Arch,
    Arm64,
    Backup,
    Bucket,
    Chart,
    Client,
    Database,
    Exporter,
    Health,
    Name,
    Part,
    Port,
    Requests,
    Seconds,
    SecretKey,
    Setting,
    Text,
    Volume,
    read_port,
    read_secret,
)
from homelab_platform.lab.settings import SettingSpec

Tier = Literal["infrastructure", "storage", "core", "media", "extras"]
Form = Literal["helm", "app", "kustomize", "host", "builtin", "tool"]
Exposure = Literal["none", "cluster", "lan", "ingress", "vpn"]
Sso = Literal["oidc", "ldap", "forward-auth"]
NEED = re.compile(r"^[a-z0-9-]+(\|[a-z0-9-]+)*\??$")
_ELSEWHERE: dict[str, str] = {
    "host": "it is a service of a host, not a workload of the cluster: name it below hosts.NAME.services",
    "tool": "it is a program on the operator's machine, not a workload of the cluster",
}
OURS = frozenset({"app", "kustomize", "builtin"})
"""Forms whose objects are the project's own, or k3s': the suite renders the one and the adapter looks at the other."""
SecretKeys = Annotated[dict[Annotated[str, StringConstraints(min_length=1)], SecretKey], BeforeValidator(read_secret)]


class CatalogueEntry(Part):
    """One workload of the catalogue. The folder's name is its name.

    `home` is the project's address; `provides` names interfaces that others may ask for (`s3`, `oidc`); `members` the
    parts that a stack brings along; `nixos` the NixOS option under which it can also run as a host service;
    `internet` lets the pods of an app of ours reach the world outside of the home; `own_chart` which of our own charts
    runs an app; `secrets` names Kubernetes Secrets `<workload>-<name>` and their keys; `pods` gives labels of its pods
    and `services` the Service of a port, where these are not called like the workload; `issuer` is where OpenID Connect
    clients find it, `{hostname}` and `{client}` filled in; `first_start` how long its first start takes on a Pi;
    `waive` says why a fault that its rendering would be refused for is none; `pods_ran` names the test that ran it in
    pods; `refused` says why it cannot be deployed yet; `seeds` which of the five seeds name it. `lock` and `told` are
    found beside the file: what rendering it showed, and whether there are values.
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
    ports: dict[Name, Annotated[Port, BeforeValidator(read_port)]] = Field({})
    web: Name | None = None
    hostname: Name | None = None
    exposure: Exposure = "cluster"
    host_network: bool = False
    internet: bool = False
    volumes: dict[Name, Volume] = Field({})
    buckets: dict[Name, Bucket] = Field({})
    needs_why: dict[Annotated[str, StringConstraints(pattern=NEED.pattern)], Text] = Field({}, alias="needs")
    provides: tuple[Name, ...] = ()
    members: tuple[Name, ...] = ()
    nixos: str | None = None
    sso: tuple[Sso, ...] = ()
    sso_note: str = ""
    exporters: dict[Name, Exporter] = Field({})
    backup: Backup
    health: Health | None = None
    secrets: dict[Name, SecretKeys] = Field({})
    pods: tuple[dict[str, str], ...] = ()
    services: dict[Name, Text] = Field({})
    database: Database | None = None
    client: Client | None = None
    issuer: Text | None = None
    first_start: Seconds | None = None
    waive: dict[Name, Text] = Field({})
    refused: Text | None = None
    pods_ran: Text | None = None
    seeds: tuple[Annotated[str, StringConstraints(pattern=r"^00[0-4]$")], ...] = ()
    aliases: dict[str, Text] = Field({})
    typed_settings: dict[Name, Setting] = Field({}, alias="settings")
    notes: tuple[Text, ...] = ()
    lock: Lock | None = None
    told: bool = False

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
    def refusal(self) -> str | None:
        """Why it cannot be deployed as a workload, in one sentence; None when it can."""
        if self.refused is not None:
            return self.refused
        if self.form in _ELSEWHERE:
            return _ELSEWHERE[self.form]
        if self.form == "kustomize" and not self.told:
            return "its kustomization does not come with the platform: give the folder of one (kustomize: ./…)"
        if self.chart_source is not None and self.chart_source.repo.startswith("git+"):
            return "its chart lies in a source tree only: copy that folder beside the lab file (chart: ./charts/…)"
        if self.form == "helm" and self.volumes and not self.told:
            kept = ", ".join(self.volumes)
            return f"its chart is told nothing, so that {kept} would not be kept: it has no values.yaml"
        return None

    @property
    def tellable(self) -> bool:
        """Whether values of one's own are all that its refusal asks for."""
        git = self.chart_source is not None and self.chart_source.repo.startswith("git+")
        return self.form == "helm" and self.refused is None and not git

    @property
    def verified(self) -> Literal["pods", "rendered", "refused", "unverified"]:
        """How it was verified: it ran in pods, it was rendered with our values, it is refused; else not at all."""
        if self.refusal is not None:
            return "refused"
        if self.pods_ran:
            return "pods"
        return "rendered" if self.lock is not None or self.form in OURS else "unverified"

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
