"""What a bare cluster of the lab is given at its start: names, the default storage, rights of its own components.

Belongs here: manifests of kube-system. Not here: anything that the project itself would apply to a user's cluster.
"""

from __future__ import annotations

from typing import Any

from homelab_platform_tests.testlab.addresses import Addresses

DNS_IMAGE = "localhost/test-lab-dns:1"
STORAGE = "local-path"
"""The name that k3s gives to the storage class with which a lab begins."""
SYSTEM = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}
_COREFILE = """.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 5
    }
    cache 5
}
"""
Manifest = dict[str, Any]


def base(addresses: Addresses) -> list[Manifest]:
    """All of it."""
    return [_proxy_rights(), _storage(), *_dns_rights(), *_dns(addresses)]


def _proxy_rights() -> Manifest:
    return _binding("test-lab-proxy", "system:node-proxier", {"kind": "User", "name": "system:kube-proxy"})


def _storage() -> Manifest:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "homelab.test/local-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _dns_rights() -> list[Manifest]:
    read = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": rules,
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coredns", "namespace": SYSTEM}}
    subject = {"kind": "ServiceAccount", "name": "coredns", "namespace": SYSTEM}
    return [account, role, _binding("system:coredns", "system:coredns", subject)]


def _binding(name: str, role: str, subject: dict[str, str]) -> Manifest:
    group = {} if subject["kind"] == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject | group],
    }


def _dns(addresses: Addresses) -> list[Manifest]:
    meta = {"name": "coredns", "namespace": SYSTEM}
    ports = [{"name": f"dns-{kind.lower()}", "port": 53, "protocol": kind} for kind in ("UDP", "TCP")]
    opened = [{"containerPort": port["port"], "name": port["name"], "protocol": port["protocol"]} for port in ports]
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": opened,
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 30},
        "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}, "limits": {"memory": "170Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
    }
    template = {"metadata": {"labels": _LABELS}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": _LABELS}, "template": template}
    service = {"clusterIP": addresses.dns_service, "selector": _LABELS, "ports": ports}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": _COREFILE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": SYSTEM}, "spec": service},
    ]
