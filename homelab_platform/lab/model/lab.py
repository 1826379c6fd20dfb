"""The lab file as a type: what a person may write, with a description of every key.

Belongs here: the top level only; each section has a module of its own (network.py, hosts.py …). Strict
and frozen: what is not described here is refused. Nothing here looks across fields: that is lab/rules.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from homelab_platform.lab.model.cluster import Cluster, Nix, Storage, Tooling
from homelab_platform.lab.model.fields import Domain, Many, Name, Named, NamedOrList, Node, TimeZone
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.model.network import Network
from homelab_platform.lab.model.operations import Alerts, Backups, Logs, Patching, Task
from homelab_platform.lab.model.people import Identity, Person, Secrets
from homelab_platform.lab.model.streams import Stream
from homelab_platform.lab.model.workloads import Workload

LANGUAGE_VERSION = 1


class Locale(Node):
    """Language and keyboard of the hosts."""

    language: str = Field("en_GB.UTF-8", description="Locale.")
    keyboard: str = Field("us", description="Keyboard layout.", examples=["gb"])


class Lab(Node):
    """The whole lab. Say what is special; everything else has a default that `homelab show --why` explains."""

    version: Literal[1] = Field(1, description="Version of this language.")
    lab: Name = Field(description="Name of the lab.", examples=["pi-cluster"])
    description: str | None = Field(None, description="One line for people.")
    include: Many[str] = Field((), description="Further files of the same form, as globs.", examples=[["hosts/*.yaml"]])
    domain: Domain = Field("lab.home.arpa", description="DNS domain of the lab.", examples=["lab.example.org"])
    subdomain: Domain | None = Field(None, description="Services are <service>.<subdomain>.<domain>.")
    timezone: TimeZone = Field("UTC", description="Zone of all times.")
    locale: Locale = Field(Locale.model_construct(), description="Language and keyboard.")
    environment: Literal["prod", "staging", "dev"] = Field("prod", description="Which of several labs this is.")
    network: Network = Field(Network.model_construct(), description="Addresses of the lab as a whole.")
    hosts: Named[Host] = Field({}, description="Machines by name.")
    cluster: Cluster | None = Field(None, description="The k3s cluster; made of defaults when a host is in it.")
    storage: Storage = Field(Storage.model_construct(), description="Where volumes lie.")
    secrets: Secrets = Field(Secrets.model_construct(), description="Where secrets are kept.")
    people: Named[Person] = Field({}, description="Who uses the lab.")
    identity: Identity = Field(Identity.model_construct(), description="How people sign in.")
    workloads: NamedOrList[Workload] = Field({}, description="What runs, by name.")
    streams: Named[Stream] = Field({}, description="Streams of readings by name.")
    backups: Backups = Field(Backups.model_construct(), description="What is saved, when and where to.")
    patching: Patching = Field(Patching.model_construct(), description="When hosts are updated.")
    alerts: Alerts = Field(Alerts.model_construct(), description="Who hears of trouble.")
    logs: Logs = Field(Logs.model_construct(), description="How long logs are kept.")
    nix: Nix = Field(Nix.model_construct(), description="What all NixOS hosts share.")
    tooling: Tooling = Field(Tooling.model_construct(), description="Tools beside the platform itself.")
    tasks: Named[Task] = Field({}, description="Steps of the build-up, by name.")
