"""The lab file's `cluster:`, `storage:`, `nix:` and `tooling:` sections.

Belongs here: k3s, the way workloads get there, storage classes and pools, and the tools that do the work.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from homelab_platform.lab.model.fields import Address, Duration, Free, Many, Name, Named, Node, Secret, Size, Version


class Repository(Node):
    """A Git repository that a GitOps controller follows, or in short its address."""

    short: ClassVar[str | None] = "repository"
    repository: str = Field(description="Address.", examples=["https://git.example.org/ada/lab.git"])
    branch: str = Field("main", description="Branch.")
    path: str = Field("clusters/home", description="Folder of this lab.")
    every: Duration = Field(60, description="How often it looks.", examples=["1m"])
    token: Secret | None = Field(None, description="Reference to a token or deploy key.")
    prune: bool = Field(True, description="Whether what leaves the repository leaves the cluster.")
    self_heal: bool = Field(True, description="Whether changes by hand are put back.")


class Deploy(Node):
    """How workloads reach the cluster: `deploy: helm`, or `deploy: {flux: {repository: …}}`."""

    way: Literal["helm", "flux", "argocd"] = Field("helm", description="helm: the platform itself applies.")
    flux: Repository | None = Field(None, description="Flux CD follows this repository.")
    argocd: Repository | None = Field(None, description="Argo CD follows this repository.")
    short: ClassVar[str | None] = "way"

    @classmethod
    def from_short(cls, value: object) -> Any:
        """`deploy: helm`."""
        return {"way": value}

    @property
    def chosen(self) -> Literal["helm", "flux", "argocd"]:
        """The way that is used."""
        return "flux" if self.flux else "argocd" if self.argocd else self.way


class Api(Node):
    """The Kubernetes API."""

    address: Address | None = Field(None, description="Virtual address; the first server's when not said.")
    names: Many[str] = Field((), description="Further names on its certificate.")
    port: int = Field(6443, description="Port.")


class Registry(Node):
    """A container registry or a mirror of one, or in short its address."""

    short: ClassVar[str | None] = "endpoint"
    endpoint: str = Field(description="Address of the mirror.")
    user: str | None = Field(None, description="User.")
    password: Secret | None = Field(None, description="Reference to its password.")


class Cluster(Node):
    """The k3s cluster, or in short its version."""

    short: ClassVar[str | None] = "k3s"
    k3s: Version = Field("v1.33.13+k3s1", description="k3s version.", examples=["v1.33.13+k3s1"])
    managed: bool = Field(
        True, description="Whether the platform installs and upgrades k3s on its Ansible hosts; no where it is there."
    )
    datastore: Literal["sqlite", "etcd", "external"] | None = Field(
        None, description="etcd for several servers, SQLite for one (SD cards do not carry etcd)."
    )
    endpoint: Secret | None = Field(None, description="Reference to the address of an external datastore.")
    disable: (
        Many[Literal["traefik", "servicelb", "local-storage", "metrics-server", "coredns", "network-policy"]] | None
    ) = Field(None, description="Bundled parts to leave out; what a workload of the lab replaces when not said.")
    deploy: Deploy = Field(Deploy.model_construct(), description="How workloads reach the cluster.")
    api: Api = Field(Api.model_construct(), description="The Kubernetes API.")
    token: Secret | None = Field(
        None, description="Reference to the join token; made at the first start when not said."
    )
    runtime: Literal["containerd", "docker"] = Field("containerd", description="Container runtime.")
    registries: dict[str, Registry] = Field({}, description="Registry mirrors by the registry's name.")
    air_gapped: bool = Field(False, description="Whether images and binaries come from a local store only.")
    pod_security: Literal["privileged", "baseline", "restricted"] = Field(
        "restricted",
        description="Level of the Pod Security Standards that namespaces enforce; a workload's own entry may waive it.",
    )
    network_policies: Literal["deny", "allow"] = Field(
        "deny", description="What is not declared is denied, or allowed."
    )
    audit: bool = Field(False, description="Whether API calls are logged.")
    oidc: bool = Field(False, description="Whether the API takes the identity provider's tokens.")
    server_flags: Many[str] = Field((), description="Further flags of k3s server.")
    agent_flags: Many[str] = Field((), description="Further flags of k3s agent.")
    kubelet: Free = Field({}, description="Kubelet configuration as it stands.")


class LocalPath(Node):
    """Volumes in a folder of the node (k3s bundles it). It enforces no sizes."""

    path: str = Field("/var/lib/rancher/k3s/storage", description="Folder on each node.")
    disk: Name | None = Field(None, description="Disk that the folder lies on; the largest data disk when not said.")
    volumes: Literal["local", "hostpath"] = Field(
        "local", description="Kind of volume; Velero cannot save the files of hostpath volumes."
    )
    reclaim: Literal["retain", "delete"] = Field("retain", description="What happens to data of a deleted claim.")


class Nfs(Node):
    """Volumes on a NAS."""

    server: str = Field(description="Name, address or host of the lab.", examples=["192.168.0.10"])
    path: str = Field(description="Exported folder.", examples=["/volume1/k8s"])
    mount: str = Field("/mnt/nas1", description="Where hosts mount it.")
    mode: Literal["csi", "host-mount"] = Field(
        "csi", description="One volume per claim, or one mounted folder for all."
    )
    version: Literal["3", "4", "4.1", "4.2"] = Field("4.1", description="NFS version.")
    options: Many[str] = Field(("hard", "noatime"), description="Mount options.")


class Longhorn(Node):
    """Replicated block volumes."""

    replicas: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None, description="Copies; min(3, nodes) when not said."
    )
    hosts: Many[Name] | None = Field(
        None, description="Hosts that hold data; all nodes with a data disk when not said."
    )
    disk: Name | None = Field(None, description="Disk that it uses on each host.")
    backup_target: str | None = Field(None, description="S3 or NFS address for volume backups.")
    drain_policy: Literal["block-if-contains-last-replica", "allow-if-replica-is-stopped", "always-allow"] = Field(
        "allow-if-replica-is-stopped", description="Whether it may hold up a drain."
    )


class Dataset(Node):
    """A ZFS dataset."""

    mount: str | None = Field(None, description="Where it is mounted.")
    quota: Size | None = Field(None, description="Most it may hold.")
    record: Size | None = Field(None, description="Record size.")
    snapshots: Literal["none", "hourly", "daily", "weekly"] = Field("daily", description="How often it is snapped.")
    share: Literal["none", "nfs", "samba"] = Field("none", description="Whether it is shared.")


class Pool(Node):
    """A ZFS pool."""

    host: Name = Field(description="Host that it is on.")
    layout: Literal["single", "mirror", "raidz1", "raidz2", "raidz3"] = Field(
        "mirror", description="How disks are joined."
    )
    disks: Many[Name] = Field((), description="Disks of the host; those that name this pool when not said.")
    scrub: Literal["weekly", "monthly", "never"] = Field("monthly", description="How often all data is read.")
    trim: bool = Field(True, description="Whether SSDs are told what is free.")
    arc: Size | None = Field(None, description="Most memory its cache may take.")
    encrypted: bool = Field(False, description="Whether it is encrypted.")
    key: Secret | None = Field(None, description="Reference to its key.")
    datasets: dict[str, Dataset] = Field({}, description="Datasets by path below the pool.")
    send_to: Many[Name] = Field((), description="Backup targets that snapshots are sent to.")


class Media(Node):
    """One shared folder for downloads and media in the TRaSH layout, so that hard links work."""

    on: Literal["local", "nfs", "zfs"] = Field("local", description="Where it lies.")
    path: str = Field("/var/lib/media-data", description="Folder on the host or below the NFS export.")
    host: Name | None = Field(None, description="Host that holds it; the one with the most disk when not said.")
    size: Size | None = Field(None, description="How large it may get.")
    layout: Literal["trash"] = Field("trash", description="Folders inside: /data/{torrents,media}/….")
    kinds: Many[Literal["movies", "tv", "music", "books"]] = Field(
        ("movies", "tv", "music", "books"), description="Folders in each half."
    )
    owner: str = Field("1000:1000", description="User and group that own it.")


class Storage(Node):
    """Where volumes lie, or in short the default class."""

    short: ClassVar[str | None] = "default"
    default: Literal["local-path", "nfs", "longhorn"] | None = Field(
        None, description="Class of volumes that say nothing: longhorn, else nfs, else local-path when not said."
    )
    local_path: LocalPath = Field(LocalPath.model_construct(), description="Volumes in a folder of the node.")
    nfs: Nfs | None = Field(None, description="Volumes on a NAS.")
    longhorn: Longhorn | None = Field(None, description="Replicated block volumes.")
    zfs: Named[Pool] = Field({}, description="ZFS pools by name.")
    media: Media | None = Field(None, description="Shared folder for media.")


class NixInput(Node):
    """A flake input, or in short its address."""

    short: ClassVar[str | None] = "url"
    url: str = Field(description="Flake address.", examples=["github:NixOS/nixpkgs/nixos-25.11"])
    follows: Named[str] = Field({}, description="Its inputs that follow ours.")


class Nix(Node):
    """What all NixOS hosts share."""

    release: Annotated[str, Field(pattern=r"^(\d\d\.\d\d|unstable)$")] = Field("25.11", description="nixpkgs release.")
    state_version: Annotated[str, Field(pattern=r"^\d\d\.\d\d$")] = Field(
        "25.11", description="For hosts that say none."
    )
    inputs: Named[NixInput] = Field({}, description="Further flake inputs.")
    deploy: Literal["platform", "nixinate", "deploy-rs"] = Field("platform", description="Tool that switches hosts.")
    gc: Duration = Field(30 * 86_400, description="Age at which old generations go.", examples=["7d"])
    generations: Annotated[int, Field(ge=2)] = Field(5, description="Generations kept whatever their age.")
    caches: dict[str, str] = Field({}, description="Binary caches: address to public key.")
    build: Literal["docker", "local", "remote", "binfmt"] = Field(
        "local", description="How images and systems are built."
    )
    builders: Many[Name] = Field((), description="Hosts that build for others.")
    unfree: Many[str] = Field((), description="Unfree packages allowed on every host.")


class Puppet(Node):
    """Puppet (OpenVox) for hosts that say configured_by: puppet."""

    server: Name | None = Field(None, description="Host that serves catalogues; none: applied masterless.")
    bolt: bool = Field(True, description="Whether Bolt plans are written.")
    distribution: Literal["openvox", "puppet"] = Field("openvox", description="Which build.")


class Terraform(Node):
    """The lab as Terraform modules, or in short which program."""

    short: ClassVar[str | None] = "program"
    program: Literal["opentofu", "terraform"] = Field("opentofu", description="Which program.")
    state: str | None = Field(None, description="Where its state lies; a local file when not said.")
    modules: Many[Literal["networking", "storage", "security", "monitoring", "k3s-cluster", "data-platform"]] = Field(
        ("networking", "storage", "security", "monitoring", "k3s-cluster", "data-platform"),
        description="What it covers.",
    )


class Ci(Node):
    """Where pull requests are checked, or in short the service."""

    short: ClassVar[str | None] = "service"
    service: Literal["github-actions", "gitea-actions", "gitlab", "none"] = Field("none", description="Service.")
    repository: str | None = Field(None, description="Repository of the lab.")


class BaseImage(Node):
    """An image of an operating system as it is published, and its checksum."""

    image: str = Field(
        description="File beside the lab file, or an http(s) address.", examples=["images/raspios-lite-arm64.img.xz"]
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] = Field(
        description="SHA-256 of that file, from where the image comes from."
    )


class RaspiosImages(Node):
    """The Raspberry Pi OS that cards are made from, by processor."""

    arm64: BaseImage | None = Field(None, description="For 64-bit boards.")
    armhf: BaseImage | None = Field(None, description="For 32-bit boards.")


class Tooling(Node):
    """Tools beside the platform itself."""

    configuration: Literal["ansible", "puppet"] = Field("ansible", description="For hosts that are not NixOS.")
    terraform: Terraform | None = Field(None, description="The lab as Terraform or OpenTofu modules.")
    puppet: Puppet | None = Field(None, description="Puppet and Bolt.")
    ci: Ci = Field(Ci.model_construct(), description="Where pull requests are checked.")
    images: str | None = Field(None, description="Registry that images of your own are pushed to.")
    raspios: RaspiosImages | None = Field(None, description="Raspberry Pi OS that cards of its hosts are made from.")
