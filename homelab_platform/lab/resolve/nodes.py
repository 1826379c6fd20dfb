"""How Ansible sets up k3s on a host: its unit and its configuration, as k3s' own file has them.

Belongs here: one host's part in the cluster. Not here: labels and taints of running nodes (layers/kubernetes), NixOS.
"""

from __future__ import annotations

from typing import Any

from homelab_platform.lab.resolved import ResolvedCluster, ResolvedHost, ResolvedLab

TOKEN_FILE = "/etc/rancher/k3s/token"  # noqa: S105 (a path)
KUBELET_FILE = "/etc/rancher/k3s/kubelet.yaml"


def node_facts(lab: ResolvedLab, host: ResolvedHost) -> dict[str, Any]:
    """What the role k3s reads; empty where k3s is not the platform's to install, or the way is not Ansible."""
    cluster = lab.cluster
    if cluster is None or not cluster.servers or host.k3s is None or not cluster.settings.get("managed", True):
        return {}
    if host.settings.get("configured_by") != "ansible":
        return {}
    first = host.name == cluster.servers[0]
    config = _common(cluster, host) | (_server(lab, cluster, host, first) if host.k3s == "server" else {})
    if not first:
        config |= {"server": _api(lab, cluster), "token-file": TOKEN_FILE}
    registration = {
        "node-label": [f"{name}={value}" for name, value in sorted(host.labels.items())],
        "node-taint": list(host.taints),
    }
    flags = cluster.settings.get("server_flags" if host.k3s == "server" else "agent_flags") or ()
    return {
        "version": cluster.version,
        "unit": "k3s.service" if host.k3s == "server" else "k3s-agent.service",
        "join": not first,
        "config": config,
        "registration": {key: value for key, value in registration.items() if value},
        "flags": list(flags),
        "kubelet": cluster.settings.get("kubelet") or {},
    }


def _common(cluster: ResolvedCluster, host: ResolvedHost) -> dict[str, Any]:
    config: dict[str, object] = {"node-name": host.name}
    if host.address:
        config["node-ip"] = host.address
    if cluster.settings.get("kubelet"):
        config["kubelet-arg"] = [f"config={KUBELET_FILE}"]
    return config


def _server(lab: ResolvedLab, cluster: ResolvedCluster, host: ResolvedHost, first: bool) -> dict[str, Any]:
    api: dict[str, Any] = cluster.settings.get("api") or {}
    names = {cluster.api_address, host.address, f"{host.name}.{lab.network.domain}", *(api.get("names") or ())}
    config: dict[str, object] = {
        "cluster-cidr": lab.network.pod_cidr,
        "service-cidr": lab.network.service_cidr,
        "https-listen-port": int(api.get("port") or 6443),
        "write-kubeconfig-mode": "0600",
        "tls-san": sorted(name for name in names if name),
    }
    if cluster.disabled:
        config["disable"] = list(cluster.disabled)
    if first and cluster.datastore == "etcd":
        config["cluster-init"] = True
    return config


def _api(lab: ResolvedLab, cluster: ResolvedCluster) -> str:
    port = (cluster.settings.get("api") or {}).get("port") or 6443
    return f"https://{cluster.api_address or f'{cluster.servers[0]}.{lab.network.domain}'}:{port}"
