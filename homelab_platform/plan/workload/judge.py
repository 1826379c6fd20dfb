"""Whether a workload's rendered objects are as its entry and its lab promise: nothing lost, open or unseen.

Belongs here: one function per fault, pure. A fault that is none for a workload is waived in its entry, with the reason
(`waive: {host-path: …}`). The same faults are looked for before a release is installed (layers/kubernetes), when the
facts of a chart are taken (`scripts/catalogue-lock`), and by the suite.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homelab_platform.plan.workload.pod_security import beyond_baseline, beyond_restricted
from homelab_platform.plan.workload.rendering import Pods, Rendering, pod_specs

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.lab.resolved import ResolvedWorkload

Object = Mapping[str, Any]
_SECRET_KEY = re.compile(r"pass(word|wd)?$|secret(_?key)?$|token$|api_?key$", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"PASS(WORD|WD)?$|(SECRET_|API_?)KEY$|CLIENT_SECRET$|TOKEN$")
_DEAD = re.compile(r"(^|/)bitnami(legacy)?/|^k8s\.gcr\.io/|^quay\.io/coreos/")
_PLACEHOLDER = re.compile(r"[Xx]{8,}|change-?me", re.IGNORECASE)


@dataclass(frozen=True)
class Judged:
    """A workload, its entry (None of one's own), its release's objects and those beside it."""

    workload: ResolvedWorkload
    entry: CatalogueEntry | None
    release: Rendering
    beside: Rendering

    @property
    def all(self) -> Rendering:
        """Both."""
        return Rendering((*self.release.objects, *self.beside.objects))


@dataclass(frozen=True, order=True)
class Fault:
    """One thing for which a workload is not applied: `rule` is its stable name, which an entry may waive."""

    rule: str
    what: str


def faults_of(judged: Judged) -> list[Fault]:
    """All faults that its entry does not waive, in order."""
    entry = judged.entry
    waived = set(entry.waive) if entry is not None else set()
    if entry is None or entry.chart != judged.workload.chart:
        waived |= NAMED_BY_ENTRY
    found = {Fault(rule, what) for rule, look in FAULTS.items() if rule not in waived for what in look(judged)}
    return sorted(found)


def lost_data(judged: Judged) -> Iterator[str]:
    """A volume of the workload that no claim of the rendering keeps."""
    wanted = [volume for volume in judged.workload.volumes.values() if volume.size]
    claims = judged.all.claims
    existing = {claim for pods in judged.release.pods for claim in pods.claims}
    kept = len(claims) + len({name for name in existing if not _has(claims, name)})
    if kept < len(wanted):
        names = ", ".join(volume.name for volume in wanted)
        yield f"its volumes are {names}, but its chart keeps {', '.join(sorted(claims)) or 'nothing'}"


def _has(claims: Mapping[str, str], name: str) -> bool:
    return name in claims or any(claim.rpartition("/")[2] == name for claim in claims)


def unmounted(judged: Judged) -> Iterator[str]:
    """A claim that no pod mounts: the data would lie in the container."""
    mounted = {claim for pods in judged.all.pods for claim in pods.claims}
    for name in judged.all.claims:
        if "/" not in name and name not in mounted and not _operated(judged):
            yield f"no pod mounts its claim {name}"


def _operated(judged: Judged) -> bool:
    """Whether its pods are made by an operator, so that the rendering has none."""
    return not any(not pods.hook for pods in judged.release.pods)


def plain_secret(judged: Judged) -> Iterator[str]:
    """A secret that the chart made up or that stands in its values: it lies in the release, and may be the same at
    everybody's."""
    for item in judged.all.kind("Secret"):
        if (item.get("type") or "").startswith("kubernetes.io/service-account"):
            continue
        for key, text in {**_decoded(item.get("data")), **(item.get("stringData") or {})}.items():
            if text and (_SECRET_KEY.search(key) or _PLACEHOLDER.search(str(text))):
                yield f"its chart writes {key} into the Secret {item['metadata']['name']} by itself"
    for pods in _templates(judged.all):
        for container in (*(pods.get("containers") or ()), *(pods.get("initContainers") or ())):
            for row in container.get("env") or ():
                if (
                    row.get("value")
                    and _SECRET_VARIABLE.search(str(row.get("name")))
                    and not str(row["value"]).startswith("/")
                ):
                    yield f"the variable {row['name']} holds a secret in clear"


def _decoded(data: Any) -> dict[str, str]:
    found = {}
    for key, text in (data or {}).items():
        try:
            found[str(key)] = base64.b64decode(str(text)).decode(errors="replace")
        except ValueError:
            found[str(key)] = str(text)
    return found


def _templates(rendering: Rendering) -> Iterator[Object]:
    for item in rendering.kind("Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield ((item.get("spec") or {}).get("template") or {}).get("spec") or {}


def missing_service(judged: Judged) -> Iterator[str]:
    """A port that is asked, scraped or opened by name, and that no Service leads to."""
    workload, rendering = judged.workload, judged.all
    numbers = {port.port: name for name, port in workload.ports.items() if port.protocol == "tcp"}
    numbers |= {e.port: numbers.get(e.port, str(e.port)) for e in workload.exporters.values()}
    known = {service.name for service in rendering.services}
    for number, name in numbers.items():
        service = workload.service_of(name)
        found = next((s for s in rendering.services if s.name == service), None)
        if found is None and not _operated(judged):
            yield f"no Service {service} leads to its port {name} (there is {', '.join(sorted(known)) or 'none'})"
        elif found is not None and number not in found.ports.values():
            yield f"its Service {service} has no port {number} ({name})"


def open_service(judged: Judged) -> Iterator[str]:
    """A Service that the whole home reaches although the lab says otherwise."""
    if judged.workload.exposure == "lan":
        return
    for service in judged.all.services:
        if service.type in ("LoadBalancer", "NodePort"):
            yield f"its Service {service.name} is a {service.type}, but it is not exposed to the LAN"


def unreachable(judged: Judged) -> Iterator[str]:
    """A workload that the lab exposes and that nothing leads to."""
    workload, rendering = judged.workload, judged.all
    if workload.exposure == "lan" and workload.address:
        open_ = [s for s in rendering.services if s.type == "LoadBalancer"]
        host = any(pods.host_network for pods in rendering.pods) or _host_ports(rendering)
        if not open_ and not host:
            yield f"nothing of it listens at {workload.address}"
    if workload.exposure in ("ingress", "vpn") and workload.hostname and _web(judged) is not None:
        hosts = set(_hosts(rendering))
        if workload.hostname not in hosts:
            yield f"no ingress leads to {workload.hostname} (there is {', '.join(sorted(hosts)) or 'none'})"


def _web(judged: Judged) -> str | None:
    return judged.entry.web_port if judged.entry is not None else "http"


def _host_ports(rendering: Rendering) -> bool:
    return any(
        port.get("hostPort")
        for pod in _templates(rendering)
        for c in pod.get("containers") or ()
        for port in c.get("ports") or ()
    )


def _hosts(rendering: Rendering) -> Iterator[str]:
    for item in rendering.kind("Ingress"):
        for rule in (item.get("spec") or {}).get("rules") or ():
            yield str(rule.get("host"))
    for item in rendering.kind("IngressRoute"):
        for route in (item.get("spec") or {}).get("routes") or ():
            yield from re.findall(r"Host\(`([^`]+)`\)", str(route.get("match")))


def open_page(judged: Judged) -> Iterator[str]:
    """A page whose sign-in the lab promises and the rendering does not ask for."""
    workload = judged.workload
    if workload.exposure not in ("ingress", "vpn"):
        return
    if workload.sso == "forward-auth":
        for item in judged.all.kind("Ingress"):
            said = (item["metadata"].get("annotations") or {}).get(
                "traefik.ingress.kubernetes.io/router.middlewares", ""
            )
            if "forward-auth@kubernetescrd" not in said:
                yield f"its ingress {item['metadata']['name']} does not ask for a sign-in (forward-auth)"
        for item in judged.all.kind("IngressRoute"):
            if "forward-auth" not in str(item.get("spec")):
                yield f"its IngressRoute {item['metadata']['name']} does not ask for a sign-in (forward-auth)"
    if workload.sso == "oidc" and f"{workload.name}-oidc" not in str(judged.all.objects):
        yield f"nothing of it reads the Secret {workload.name}-oidc, so nobody signs in by OpenID Connect"


def bad_image(judged: Judged) -> Iterator[str]:
    """An image that moves under the same name, or that nobody patches any longer."""
    for pods in judged.all.pods:
        for image in pods.images:
            if image.endswith(":latest") or (":" not in image.rpartition("/")[2] and "@" not in image):
                yield f"the image {image} has no fixed version"
            if _DEAD.search(image):
                yield f"the image {image} is no longer maintained"


def unlabelled(judged: Judged) -> Iterator[str]:
    """Pods that no network policy of ours would know, so that default-deny would cut them off."""
    known = judged.workload.labels()
    for pods in judged.release.pods:
        if not pods.hook and not any(labels.items() <= pods.labels.items() for labels in known):
            yield f"pods of {pods.kind} {pods.name} carry none of the labels by which they are let through"


def host_path(judged: Judged) -> Iterator[str]:
    """Data on a folder of whichever node a pod runs on."""
    for pod in _templates(judged.all):
        for volume in pod.get("volumes") or ():
            if (volume or {}).get("hostPath"):
                yield f"it mounts {volume['hostPath'].get('path')} of its node"


def default_class(judged: Judged) -> Iterator[str]:
    """A claim of another storage class than the lab gives it. Our own chart is told the lab's, unless a person says
    another."""
    if (judged.workload.chart or "app") == "app":
        return
    classes = {volume.storage_class for volume in judged.workload.volumes.values()}
    for item in judged.all.kind("PersistentVolumeClaim"):
        name = (item.get("spec") or {}).get("storageClassName")
        if classes and name not in classes and not (item.get("spec") or {}).get("volumeName"):
            wanted = " or ".join(sorted(classes))
            yield f"its claim {item['metadata']['name']} is of class {name or 'default'}, not {wanted}"


def not_baseline(judged: Judged) -> Iterator[str]:
    """A pod that has its node, in a namespace that refuses such."""
    if judged.workload.pod_security != "privileged":
        for name, pod in pod_specs(judged.all):
            yield from (f"{name}: {what}, which its namespace refuses" for what in beyond_baseline(pod))


def not_restricted(judged: Judged) -> Iterator[str]:
    """A pod that may be or become root inside, in a namespace that refuses such."""
    if judged.workload.pod_security == "restricted":
        for name, pod in pod_specs(judged.all):
            yield from (f"{name}: {what}, which its namespace refuses" for what in beyond_restricted(pod))


FAULTS: dict[str, Callable[[Judged], Iterator[str]]] = {
    "lost-data": lost_data,
    "unmounted": unmounted,
    "plain-secret": plain_secret,
    "missing-service": missing_service,
    "open-service": open_service,
    "unreachable": unreachable,
    "open-page": open_page,
    "bad-image": bad_image,
    "unlabelled": unlabelled,
    "host-path": host_path,
    "default-class": default_class,
    "not-baseline": not_baseline,
    "not-restricted": not_restricted,
}


NAMED_BY_ENTRY = frozenset({"missing-service", "default-class"})
"""Faults against what an entry says of its own chart; a chart of one's own may name and choose as it likes."""


def pod_sets(rendering: Rendering) -> list[Pods]:
    """Controllers whose pods stay: no hooks."""
    return [pods for pods in rendering.pods if not pods.hook]
