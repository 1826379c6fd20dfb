"""Kubernetes on the lab's machines: which processes run where, with which settings.

Belongs here: files and command lines of the control plane and of the nodes. Not here: what is told to the running
cluster (cluster.py). Flags: https://kubernetes.io/docs/reference/command-line-tools-reference/.

The server's machine carries the control plane and is a node too, as with k3s. All of it lives in the machine's own
network, beside the host: pulling the plug of a machine takes its part of the cluster away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from homelab_platform_tests.testlab import cgroups
from homelab_platform_tests.testlab.addresses import API_PORT
from homelab_platform_tests.testlab.hosts import HostSpec, Place
from homelab_platform_tests.testlab.pki import Authority

ETCD = "http://127.0.0.1:2379"
DOMAIN = "cluster.local"
PAUSE_IMAGE = "localhost/pause:1"
SOCKET = "/run/containerd/containerd.sock"
FILES = 20000
"""Open files that each container may have."""
Processes = dict[str, dict[str, Any]]


class Nodes:
    """The cluster's processes on the machines of a lab. `kube` and `addons` are the programs (programs.py)."""

    def __init__(self, place: Place, kube: Path, addons: Path) -> None:
        self.place = place
        self._kube, self._addons = kube, addons
        self.folder = place.folder / "kube"
        self.authority = Authority(self.folder / "pki")

    @property
    def members(self) -> tuple[HostSpec, ...]:
        """The machines that are nodes."""
        return tuple(host for host in self.place.hosts if host.kube)

    @property
    def server(self) -> HostSpec:
        """The machine with the control plane."""
        return next(host for host in self.place.hosts if host.kube == "server")

    @property
    def url(self) -> str:
        """The API server."""
        return f"https://{self.address(self.server)}:{API_PORT}"

    @property
    def admin(self) -> Path:
        """The kubeconfig of someone who may do everything."""
        return self.authority.folder / "admin.kubeconfig"

    def address(self, host: HostSpec) -> str:
        """The address of a node."""
        return self.place.addresses.machine(self.place.index(host.name))

    def volumes(self) -> Path:
        """Where claimed volumes lie: FOLDER/NODE/VOLUME."""
        return self.folder / "volumes"

    def prepare(self) -> None:
        """Certificates, kubeconfigs and settings of every component. Only once for a lab."""
        self.authority.create()
        own = self.place.addresses
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        names += ["127.0.0.1", own.api_service, self.address(self.server), self.server.name]
        self.authority.issue("apiserver", "kube-apiserver", names=names)
        self.authority.issue("apiserver-kubelet", "apiserver-kubelet", "system:masters")
        self.authority.issue("front-proxy", "front-proxy")
        for file, user, group in (
            ("admin", "admin", "system:masters"),
            ("addons", "addons", "system:masters"),
            ("controllers", "system:kube-controller-manager", ""),
            ("scheduler", "system:kube-scheduler", ""),
            ("proxy", "system:kube-proxy", ""),
        ):
            self.authority.kubeconfig(self.url, file, user, group)
        for host in self.members:
            self._prepare_node(host)

    def _prepare_node(self, host: HostSpec) -> None:
        folder, address = self.node_folder(host), self.address(host)
        (folder / "cni").mkdir(parents=True)
        (self.volumes() / host.name).mkdir(parents=True)
        self.authority.kubeconfig(self.url, host.name, f"system:node:{host.name}", "system:nodes", [host.name, address])
        (folder / "containerd.toml").write_text(_containerd(folder))
        (folder / "cni" / "10-lab.conflist").write_text(
            json.dumps(_network(self.place.addresses.pods_of(self.place.index(host.name))))
        )
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(self._kubelet(host)))
        (folder / "proxy.yaml").write_text(yaml.safe_dump(self._proxy(host)))

    def node_folder(self, host: HostSpec) -> Path:
        """What a node keeps: images, containers, settings."""
        return self.folder / "nodes" / host.name

    def processes(self, host: HostSpec, without: frozenset[str] = frozenset()) -> Processes:
        """The processes of a machine by name, but for those `without`."""
        found = self._node(host)
        if host == self.server:
            found = self._control_plane() | found
        return {name: entry for name, entry in found.items() if name not in without}

    def _process(self, host: HostSpec, name: str, *command: str, before: str = "") -> Processes:
        return {
            name: {
                "command": list(command),
                "log": str(self.node_folder(host) / f"{name}.log"),
                "cgroup": f"{cgroups.top(self.place.id)}/{host.name}/system",
                "before": before,
                "environment": {"GOGC": "50"},
            }
        }

    def _control_plane(self) -> Processes:
        kube, server, pki = str(self._kube), self.server, self.authority.folder
        own = self.place.addresses
        etcd = {
            "name": "lab",
            "data-dir": self.folder / "etcd",
            "listen-client-urls": ETCD,
            "advertise-client-urls": ETCD,
            "listen-peer-urls": "http://127.0.0.1:2380",
            "initial-advertise-peer-urls": "http://127.0.0.1:2380",
            "initial-cluster": "lab=http://127.0.0.1:2380",
            "unsafe-no-fsync": "true",
        }
        api = {
            "etcd-servers": ETCD,
            "bind-address": self.address(server),
            "advertise-address": self.address(server),
            "secure-port": API_PORT,
            "tls-cert-file": pki / "apiserver.crt",
            "tls-private-key-file": pki / "apiserver.key",
            "client-ca-file": pki / "ca.crt",
            "service-account-key-file": pki / "accounts.pub",
            "service-account-signing-key-file": pki / "accounts.key",
            "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
            "service-cluster-ip-range": own.services,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "kubelet-client-certificate": pki / "apiserver-kubelet.crt",
            "kubelet-client-key": pki / "apiserver-kubelet.key",
            "kubelet-preferred-address-types": "InternalIP",
            "allow-privileged": "true",
            "proxy-client-cert-file": pki / "front-proxy.crt",
            "proxy-client-key-file": pki / "front-proxy.key",
            "requestheader-client-ca-file": pki / "ca.crt",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-username-headers": "X-Remote-User",
        }
        controllers = self._client("controllers") | {
            "service-account-private-key-file": pki / "accounts.key",
            "root-ca-file": pki / "ca.crt",
            "cluster-signing-cert-file": pki / "ca.crt",
            "cluster-signing-key-file": pki / "ca.key",
            "use-service-account-credentials": "true",
            "node-monitor-grace-period": "20s",
            "node-monitor-period": "2s",
        }
        volumes = {"kubeconfig": pki / "addons.kubeconfig", "folder": self.volumes()}
        return (
            self._process(server, "etcd", kube, "etcd", *_flags(etcd))
            | self._process(server, "kube-apiserver", kube, "kube-apiserver", *_flags(api))
            | self._process(server, "kube-controller-manager", kube, "kube-controller-manager", *_flags(controllers))
            | self._process(server, "kube-scheduler", kube, "kube-scheduler", *_flags(self._client("scheduler")))
            | self._process(server, "volumes", str(self._addons / "addons"), "volumes", *_flags(volumes))
        )

    def _client(self, name: str) -> dict[str, object]:
        config = self.authority.folder / f"{name}.kubeconfig"
        names = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        return dict.fromkeys(names, config) | {"bind-address": "127.0.0.1", "leader-elect": "false"}

    def _node(self, host: HostSpec) -> Processes:
        folder, kube = self.node_folder(host), str(self._kube)
        kubelet = {
            "config": folder / "kubelet.yaml",
            "kubeconfig": self.authority.folder / f"{host.name}.kubeconfig",
            "hostname-override": host.name,
            "node-ip": self.address(host),
            "root-dir": folder / "kubelet",
            "cert-dir": folder / "certs",
        }
        policies = {"kubeconfig": self.authority.folder / "addons.kubeconfig", "node": host.name}
        wait = f"for i in $(seq 100); do [ ! -S {SOCKET} ] || exit 0; sleep 0.1; done"
        return (
            self._process(host, "containerd", "containerd", "--config", str(folder / "containerd.toml"))
            | self._process(host, "policies", str(self._addons / "addons"), "policies", *_flags(policies))
            | self._process(host, "kube-proxy", kube, "kube-proxy", *_flags({"config": folder / "proxy.yaml"}))
            | self._process(host, "kubelet", kube, "kubelet", *_flags(kubelet), before=wait)
        )

    def _kubelet(self, host: HostSpec) -> dict[str, Any]:
        folder, pki = self.node_folder(host), self.authority.folder
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address(host),
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / f"{host.name}.crt"),
            "tlsPrivateKeyFile": str(pki / f"{host.name}.key"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.top(self.place.id)}/{host.name}",
            "enforceNodeAllocatable": ["pods"],
            "oomScoreAdj": 0,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "podLogsDir": str(folder / "logs"),
            "clusterDNS": [self.place.addresses.dns_service],
            "clusterDomain": DOMAIN,
            "resolvConf": "",
            "maxOpenFiles": FILES,
            "evictionHard": dict.fromkeys(("nodefs.available", "imagefs.available", "nodefs.inodesFree"), "1%")
            | {"memory.available": "100Mi"},
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "5s",
            "nodeStatusReportFrequency": "1m",
            "volumePluginDir": str(folder / "plugins"),
            "shutdownGracePeriod": "0s",
        }

    def _proxy(self, host: HostSpec) -> dict[str, Any]:
        untouched = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": self.place.addresses.pods,
            "clientConnection": {"kubeconfig": str(self.authority.folder / "proxy.kubeconfig")},
            "hostnameOverride": host.name,
            "nodePortAddresses": ["primary"],
            "conntrack": untouched,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
        }


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _containerd(folder: Path) -> str:
    """The settings of containerd 1.6: https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md."""
    return f"""version = 2
root = "{folder}/containerd"
state = "/run/containerd/state"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""


def _network(pods: str) -> dict[str, Any]:
    """The pods' network of a node. No address is disguised: every machine knows the way to every node's pods."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge, ports]}
