"""The lab file's `workloads:` section. Nothing after a name means: as the catalogue has it.

Belongs here: what a person may say about any workload. A catalogue entry declares further settings of its own
(`keep:` of monitoring); they are read against the catalogue in check.py.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import Address, Cpu, Free, Many, Name, Named, Node, Port, Size, Version
from homelab_platform.lab.model.people import Role

Exposure = Literal["none", "cluster", "lan", "ingress", "vpn"]
_WAYS = ("none", "cluster", "lan", "ingress", "vpn")


class Expose(Node):
    """How a workload is reached. In short: a way (`expose: lan`), an address, or a hostname (`expose: blog`)."""

    short: ClassVar[str | None] = "way"
    way: Exposure | None = Field(
        None, description="lan: an address of its own; ingress: HTTPS by name; vpn: only through the VPN."
    )
    host: Name | None = Field(None, description="First label of its name; its own name when not said.")
    address: Address | None = Field(None, description="Load-balancer address; the next free one when not said.")
    share: Name | None = Field(None, description="Workloads with the same key may share one address.")
    port: Port | None = Field(None, description="Port that the name leads to.")
    public: bool = Field(False, description="Whether the internet may reach it (Cloudflare tunnel or port forward).")

    @classmethod
    def from_short(cls, value: object) -> Any:
        """A way, an address or a hostname."""
        if isinstance(value, bool):
            raise q.Bad(f"{str(value).lower()} does not say how", f"Write one of {', '.join(_WAYS)}.")
        if not isinstance(value, str):
            return value
        if value in _WAYS:
            return {"way": value}
        try:
            return {"way": "lan", "address": str(ipaddress.ip_address(value))}
        except ValueError:
            return {"host": value}

    @classmethod
    def short_schemas(cls, full: dict[str, object]) -> list[dict[str, Any]]:
        """A word, an address or a hostname."""
        return [{"type": "string", "examples": [*_WAYS, "192.168.0.201", "my-app"]}]


class WorkloadBackup(Node):
    """How it is backed up. In short: `none`, or the plan's name (`backup: nightly`)."""

    short: ClassVar[str | None] = "plans"
    method: str | None = Field(None, description="Method, where the catalogue's is not wanted; none for no backup.")
    plans: Many[Name] | None = Field(None, description="Plans of `backups:` that save it; all when not said.")
    why: str | None = Field(None, description="Reason for leaving it out.")

    @classmethod
    def from_short(cls, value: object) -> Any:
        """`none` or plans."""
        return {"method": "none"} if value == "none" else {"plans": value}


class WorkloadVolume(Node):
    """A volume, or in short its size."""

    short: ClassVar[str | None] = "size"
    size: Size | None = Field(None, description="How large.")
    storage: Literal["local-path", "nfs", "longhorn"] | None = Field(None, description="Storage class.")
    mount: str | None = Field(None, description="Where it is mounted.")
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] | None = Field(None, description="Access mode.")


class WorkloadPort(Node):
    """A port, or in short its number."""

    short: ClassVar[str | None] = "port"
    port: Port = Field(description="Number.")
    protocol: Literal["tcp", "udp"] = Field("tcp", description="Protocol.")


class Workload(Node):
    """One workload. Keys that are not listed here are settings that its catalogue entry declares."""

    model_config = ConfigDict(extra="allow")
    catalogue: Name | None = Field(None, description="Catalogue entry, where its name here differs (a second one).")
    description: str | None = Field(None, description="One line for people.")
    on: Many[Name] = Field((), description="Hosts it may run on.", examples=["pi-worker-1"])
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = Field(None, description="How many run.")
    cpu: Cpu | None = Field(None, description="Cores it asks for.", examples=["500m"])
    memory: Size | None = Field(None, description="Memory it asks for.", examples=["2Gi"])
    size: Size | None = Field(None, description="Size of its main volume.", examples=["20Gi"])
    volumes: Named[WorkloadVolume] = Field({}, description="Its volumes by name.")
    storage: Literal["local-path", "nfs", "longhorn"] | None = Field(None, description="Storage class of its volumes.")
    expose: Expose = Field(Expose.model_construct(), description="How it is reached.", examples=["lan", "my-app"])
    for_: Many[Role] = Field((), alias="for", description="Roles that may use it.", examples=[["dev", "admin"]])
    sso: Literal["none", "oidc", "ldap", "forward-auth"] | None = Field(None, description="How people sign in to it.")
    zone: Literal["dmz", "internal", "restricted"] | None = Field(None, description="How exposed it is.")
    backup: WorkloadBackup = Field(WorkloadBackup.model_construct(), description="How it is backed up.")
    needs: Many[Name] = Field((), description="Workloads that must run before it.", examples=[["postgresql"]])
    namespace: Name | None = Field(None, description="Kubernetes namespace.")
    chart: str | None = Field(
        None, description="Chart of your own: a folder beside the lab file, oci://… or https://repository/name."
    )
    kustomize: str | None = Field(None, description="Kustomize folder of your own.")
    image: str | None = Field(None, description="Image; on its own it runs with the generic chart.")
    chart_version: Version | None = Field(
        None, description="Version of the chart, where the catalogue's is not wanted."
    )
    app_version: Version | None = Field(None, description="Version of the application.")
    ports: Named[WorkloadPort] = Field({}, description="Ports of a workload of your own.", examples=[{"http": 8080}])
    env: dict[str, str] = Field({}, description="Environment; secrets as references.")
    values: Free = Field({}, description="Helm values over the catalogue's, as Helm knows them.")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that its catalogue entry must declare."""
        return self.model_extra or {}
