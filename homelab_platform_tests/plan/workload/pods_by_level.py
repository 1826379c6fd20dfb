"""Pods with the strictest level under which Kubernetes takes them: for our judgement of it, and for a real API server.

Belongs here: specifications without an image of their own (`IMAGE`). One thing differs from `restricted` in each.
"""

from __future__ import annotations

from typing import Any

from homelab_platform.lab.pod_levels import PodLevel

IMAGE = "localhost/busybox:1"
SAFE: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
WHOLE: dict[str, Any] = {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}


def _pod(whole: dict[str, Any] | None = None, *, ports: list[Any] | None = None, **security: Any) -> dict[str, Any]:
    """A restricted pod with another context of the pod (`whole`) or of its container."""
    container: dict[str, Any] = {"name": "c", "image": IMAGE, "securityContext": {**SAFE, **security}}
    if ports:
        container["ports"] = ports
    return {"securityContext": WHOLE if whole is None else whole, "containers": [container]}


def _without(context: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in context.items() if name != key}


PODS: dict[str, tuple[PodLevel, dict[str, Any]]] = {
    "restricted": ("restricted", _pod()),
    "a port below 1024": ("restricted", _pod(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})),
    "a folder of its own": ("restricted", {**_pod(), "volumes": [{"name": "own", "emptyDir": {}}]}),
    "nothing said at all": ("baseline", {"containers": [{"name": "c", "image": IMAGE}]}),
    "root by the container": ("baseline", _pod(runAsUser=0, runAsNonRoot=False)),
    "root by the pod": ("baseline", _pod({**WHOLE, "runAsUser": 0})),
    "the pod's image decides": ("baseline", _pod(_without(WHOLE, "runAsNonRoot"))),
    "rights to gain": ("baseline", _pod(allowPrivilegeEscalation=True)),
    "capabilities kept": ("baseline", _pod(capabilities={})),
    "files of others": ("baseline", _pod(capabilities={"drop": ["ALL"], "add": ["DAC_OVERRIDE"]})),
    "the pod has no seccomp": ("baseline", _pod(_without(WHOLE, "seccompProfile"))),
    "a share mounted by itself": (
        "baseline", {**_pod(), "volumes": [{"name": "share", "nfs": {"server": "192.0.2.1", "path": "/"}}]},
    ),
    "files of the node": ("privileged", {**_pod(), "volumes": [{"name": "node", "hostPath": {"path": "/"}}]}),
    "network of the node": ("privileged", {**_pod(), "hostNetwork": True}),
    "processes of the node": ("privileged", {**_pod(), "hostPID": True}),
    "memory of the node": ("privileged", {**_pod(), "hostIPC": True}),
    "a port of the node": ("privileged", _pod(ports=[{"containerPort": 8080, "hostPort": 8080}])),
    "every right": ("privileged", _pod(privileged=True, allowPrivilegeEscalation=True)),
    "raw packets": ("privileged", _pod(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]})),
    "the whole of /proc": ("privileged", {**_pod(procMount="Unmasked"), "hostUsers": False}),
    "seccomp off": ("privileged", _pod(seccompProfile={"type": "Unconfined"})),
}  # fmt: skip
