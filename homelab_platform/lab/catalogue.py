"""What the lab needs to know about a catalogue, as protocols: the catalogue itself lies to the right and is passed in.

Belongs here: the read-only shape of a catalogue and its entries. Not here: reading `helm/<workload>/workload.yaml`.

Units: memory and sizes in bytes, CPU in millicores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from homelab_platform.lab.settings import SettingSpec


class PortSpec(Protocol):
    """A port that a workload listens on. `expose` names the port that a hostname leads to when there are several."""

    @property
    def port(self) -> int:
        """The number, 1 to 65535."""

    @property
    def protocol(self) -> Literal["tcp", "udp"]:
        """Its transport."""


class VolumeSpec(Protocol):
    """A volume: its default size, access mode and where it is mounted.

    `kind` is `data` (the lab's default storage class), `local` (never NFS: databases), `media` (the lab's one shared
    media folder) or `object` (a bucket instead of a volume).
    """

    @property
    def size(self) -> int:
        """Default size in bytes."""

    @property
    def access(self) -> str:
        """Access mode in Kubernetes' words: ReadWriteOnce, ReadWriteMany."""

    @property
    def mount(self) -> str | None:
        """Path inside the container; None where the chart decides."""

    @property
    def kind(self) -> Literal["data", "local", "media", "object"]:
        """What it holds, which decides where it may lie."""


class ExporterSpec(Protocol):
    """A Prometheus endpoint of the workload."""

    @property
    def port(self) -> int:
        """The port that Prometheus asks."""

    @property
    def path(self) -> str:
        """The path that Prometheus asks."""


class BackupSpec(Protocol):
    """How the workload's state is saved: the method's name, the volumes it covers, and why there is none."""

    @property
    def method(self) -> str:
        """The method: dump, files, stop, snapshot, none …"""

    @property
    def volumes(self) -> tuple[str, ...]:
        """The volumes that it covers; empty for all."""


class Entry(Protocol):
    """One workload of the catalogue (`helm/<name>/workload.yaml`)."""

    @property
    def waive(self) -> Mapping[str, str]:
        """Faults for which its rendering is not refused, each with the reason."""

    @property
    def name(self) -> str:
        """The entry's name, its folder in helm/."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Old names that lead here, each with the sentence that says why."""

    @property
    def kind(self) -> Literal["helm", "kustomize", "host", "builtin"]:
        """How it is deployed."""

    @property
    def tier(self) -> Literal["infrastructure", "storage", "core", "media", "extras"]:
        """Which part of the lab it belongs to: what comes up first is first."""

    @property
    def namespace(self) -> str:
        """The namespace it lives in by default."""

    @property
    def chart(self) -> str | None:
        """The chart: a path of the project, or a reference into a repository."""

    @property
    def chart_version(self) -> str | None:
        """The pinned version of the chart."""

    @property
    def app_version(self) -> str | None:
        """The version of the program inside."""

    @property
    def image(self) -> str | None:
        """The image of a workload without a chart of its own."""

    @property
    def arch(self) -> tuple[str, ...]:
        """Processor architectures that its images exist for: amd64, arm64, armv7, armv6."""

    @property
    def cpu(self) -> int:
        """CPU request in millicores."""

    @property
    def memory(self) -> int:
        """Request of the main pod (all replicas of everything else that does not scale included)."""

    @property
    def per_node(self) -> bool:
        """Whether one copy runs on every node (a DaemonSet); cpu and memory then count on each."""

    @property
    def replicas(self) -> int:
        """How many copies run."""

    @property
    def ports(self) -> Mapping[str, PortSpec]:
        """Its ports by name."""

    @property
    def volumes(self) -> Mapping[str, VolumeSpec]:
        """Its volumes by name."""

    @property
    def buckets(self) -> Mapping[str, Any]:
        """Its buckets on the S3 server of the lab, by name."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Workloads it cannot run without; `a|b` is satisfied by either, `a?` orders after it only if it is there."""

    @property
    def provides(self) -> tuple[str, ...]:
        """Interfaces that it offers to others, such as `s3`; `needs` may name them."""

    @property
    def pods(self) -> tuple[Mapping[str, str], ...]:
        """Sets of labels of its pods, `{name}` standing for the workload's name; empty where the usual one is set."""

    @property
    def services(self) -> Mapping[str, str]:
        """Service of each port that is not behind one called like the workload; `{name}` as above."""

    @property
    def database(self) -> Any:
        """Its database at the provider of postgresql: `name`, `extensions`; None when it keeps none there."""

    @property
    def client(self) -> Any:
        """How it is registered at the provider of oidc: `callbacks`; None when it cannot be."""

    @property
    def issuer(self) -> str | None:
        """Where OpenID Connect clients find it, with `{hostname}` and `{client}`; None when it provides no oidc."""

    @property
    def refusal(self) -> str | None:
        """Why it cannot be deployed as a workload, in one sentence; None when it can."""

    @property
    def tellable(self) -> bool:
        """Whether values of one's own are all that its refusal asks for."""

    @property
    def operator(self) -> bool:
        """Whether it only runs others: a lab that needs it need not name it."""

    @property
    def exposure(self) -> Literal["none", "cluster", "lan", "ingress", "vpn"]:
        """Who may reach it by default."""

    @property
    def hostname(self) -> str | None:
        """The first label of its DNS name when that is not the workload's name."""

    @property
    def sso(self) -> tuple[str, ...]:
        """Ways it can be signed in to, best first: oidc, ldap, forward-auth; empty when there is none."""

    @property
    def exporters(self) -> Mapping[str, ExporterSpec]:
        """Its Prometheus endpoints by name."""

    @property
    def backup(self) -> BackupSpec | None:
        """How its state is saved; None where it has none."""

    @property
    def stateful(self) -> bool:
        """Whether it holds state."""

    @property
    def settings(self) -> Mapping[str, SettingSpec]:
        """The settings that a lab may give it, by name."""


class Catalogue(Protocol):
    """All entries by name."""

    def __getitem__(self, name: str) -> Entry: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def resolve_name(self, name: str) -> str | None:
        """The entry that a name or an old name means; None when nobody knows it."""

    def members(self, name: str) -> tuple[str, ...]:
        """The workloads that a bundle's name stands for; empty for any other name."""
