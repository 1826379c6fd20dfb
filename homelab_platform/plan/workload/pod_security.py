"""Kubernetes' Pod Security Standards over rendered pods: which level a pod needs, and why.

Belongs here: pure functions from a pod's specification to what each level refuses. Not here: the level that a
workload may have (lab/resolve), or the label of its namespace (layers/kubernetes/objects.py).

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Kubernetes 1.33). Windows pods, AppArmor,
SELinux and sysctls are not looked at: no chart of the catalogue sets them, and the API server refuses them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from homelab_platform.lab.pod_levels import PodLevel

Spec = Mapping[str, Any]
BASELINE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
RESTRICTED_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})


def beyond_baseline(pod: Spec) -> Iterator[str]:
    """What the level baseline refuses: it gives the pod its node."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is on"
    for volume in pod.get("volumes") or ():
        if (volume or {}).get("hostPath"):
            yield f"it mounts {volume['hostPath'].get('path')} of its node"
    for container in containers(pod):
        name, security = container.get("name"), container.get("securityContext") or {}
        if security.get("privileged"):
            yield f"container {name} is privileged"
        added = set((security.get("capabilities") or {}).get("add") or ()) - BASELINE_CAPABILITIES
        if added:
            yield f"container {name} has {', '.join(sorted(added))}"
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield f"container {name} takes port {port['hostPort']} of its node"
        if security.get("procMount") not in (None, "Default"):
            yield f"container {name} sees /proc unmasked"
    for security in securities(pod):
        if (security.get("seccompProfile") or {}).get("type") == "Unconfined":
            yield "seccomp is off"


def beyond_restricted(pod: Spec) -> Iterator[str]:
    """What the level restricted refuses and baseline does not: a way to become root in the pod."""
    whole = pod.get("securityContext") or {}
    for volume in pod.get("volumes") or ():
        kinds = set(volume or {}) - {"name"} - RESTRICTED_VOLUMES - {"hostPath"}
        if kinds:
            yield f"it mounts a volume of kind {', '.join(sorted(kinds))}"
    if whole.get("runAsUser") == 0:
        yield "it runs as root"
    for container in containers(pod):
        name, security = container.get("name"), container.get("securityContext") or {}
        if not security.get("runAsNonRoot", whole.get("runAsNonRoot")):
            yield f"container {name} may run as root (runAsNonRoot)"
        if security.get("runAsUser") == 0:
            yield f"container {name} runs as root"
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"container {name} may gain rights (allowPrivilegeEscalation)"
        capabilities = security.get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()):
            yield f"container {name} does not drop all capabilities"
        added = set(capabilities.get("add") or ()) & BASELINE_CAPABILITIES - {"NET_BIND_SERVICE"}
        if added:
            yield f"container {name} has {', '.join(sorted(added))}"
        seccomp = (security.get("seccompProfile") or whole.get("seccompProfile") or {}).get("type")
        if seccomp is None:
            yield f"container {name} has no seccomp profile"


def containers(pod: Spec) -> Iterator[Spec]:
    """All containers of a pod, those that only start it too."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(kind) or ()


def securities(pod: Spec) -> Iterator[Spec]:
    """The security context of the pod and of each container."""
    yield pod.get("securityContext") or {}
    for container in containers(pod):
        yield container.get("securityContext") or {}


def level_of(pod: Spec) -> PodLevel:
    """The strictest level under which the API server takes this pod."""
    if any(beyond_baseline(pod)):
        return "privileged"
    return "baseline" if any(beyond_restricted(pod)) else "restricted"
