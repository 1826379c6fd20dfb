"""What a workload's rendered objects are: controllers and their pods, Services, claims, Secrets, hooks, webhooks.

Belongs here: pure reading of objects, whoever rendered them (`helm template`, a release's record, a kustomization). Not
here: whether that is as it should be (judge.py).

Units: CPU in millicores, memory in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Object = Mapping[str, Any]
CONTROLLERS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
HOOK = "helm.sh/hook"
_SIZE = re.compile(r"([0-9.]+)([KMGTPE]i?|k|m)?")
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
          "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}  # fmt: skip
_CLAIMING = ("volumeClaimTemplates", "volumeClaimTemplate", "storage", "walStorage")
"""Fields of custom resources below which their operator is asked for claims."""


@dataclass(frozen=True)
class Pods:
    """The pods of one controller. `claims` are the names of claims that they mount, `secrets` those that they read."""

    kind: str
    name: str
    labels: Mapping[str, str]
    replicas: int
    cpu: int
    memory: int
    images: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    claims: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    host_network: bool = False
    hook: bool = False


@dataclass(frozen=True)
class Service:
    """A Service: `ports` by name, `targets` the pods' port (name or number) of each, `selector` which pods."""

    name: str
    type: str
    ports: Mapping[str, int]
    targets: Mapping[str, int | str]
    selector: Mapping[str, str]


@dataclass(frozen=True)
class Rendering:
    """All objects of one workload."""

    objects: tuple[Object, ...]

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Rendering:
        """The rendering of these objects; lists are taken apart."""
        found: list[Object] = []
        for item in objects:
            found += item.get("items") or [] if item.get("kind") == "List" else [item]
        return cls(tuple(found))

    def kind(self, *kinds: str) -> Iterator[Object]:
        """The objects of some kinds."""
        return (item for item in self.objects if item.get("kind") in kinds)

    @cached_property
    def pods(self) -> tuple[Pods, ...]:
        """Controllers of pods, hooks among them; an operator's pods are not."""
        return tuple(_pods(item) for item in self.kind(*CONTROLLERS))

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """All Services."""
        return tuple(_service(item) for item in self.kind("Service"))

    @cached_property
    def claims(self) -> dict[str, str]:
        """What is kept: name of each claim, or `Kind/name.field` of what an operator is asked for, with its size."""
        return dict(_claims(self.objects))

    @cached_property
    def webhooks(self) -> tuple[int, ...]:
        """Ports of pods at which the API server calls."""
        found = set()
        for item in self.kind("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
            for hook in item.get("webhooks") or ():
                asked = (hook.get("clientConfig") or {}).get("service") or {}
                found |= set(self._targets(str(asked.get("name")), int(asked.get("port") or 443)))
        return tuple(sorted(found))

    def _targets(self, service: str, port: int) -> Iterator[int]:
        for known in self.services:
            for name, number in known.ports.items():
                if known.name == service and number == port:
                    target = known.targets[name]
                    yield target if isinstance(target, int) else self._port_called(target, known.selector) or port

    def _port_called(self, name: str, selector: Mapping[str, str]) -> int | None:
        return next((p.ports[name] for p in self.selected(selector) if name in p.ports), None)

    def selected(self, selector: Mapping[str, str]) -> list[Pods]:
        """The controllers whose pods carry these labels."""
        return [pods for pods in self.pods if selector and selector.items() <= pods.labels.items()]

    @property
    def crds(self) -> tuple[str, ...]:
        """Names of the kinds that it brings along."""
        return tuple(sorted(str(item["metadata"]["name"]) for item in self.kind("CustomResourceDefinition")))


def _pods(item: Object) -> Pods:
    kind, spec = str(item["kind"]), item.get("spec") or {}
    template = (
        (spec.get("jobTemplate") or {}).get("spec", {}).get("template") if kind == "CronJob" else spec.get("template")
    )
    meta, pod = (template or {}).get("metadata") or {}, (template or {}).get("spec") or {}
    containers = pod.get("containers") or []
    starting = pod.get("initContainers") or []
    beside = [c for c in starting if c.get("restartPolicy") == "Always"]
    volumes = [v for v in pod.get("volumes") or () if v]
    claims = [str(v["persistentVolumeClaim"]["claimName"]) for v in volumes if v.get("persistentVolumeClaim")]
    claims += [str(t["metadata"]["name"]) for t in spec.get("volumeClaimTemplates") or ()]
    return Pods(
        kind,
        str(item["metadata"]["name"]),
        {str(k): str(v) for k, v in (meta.get("labels") or {}).items()},
        1 if kind in ("DaemonSet", "Job", "CronJob") else int(spec.get("replicas", 1) or 0),
        sum(_cpu(_request(c, "cpu")) for c in (*containers, *beside)),
        sum(size_of(_request(c, "memory")) for c in (*containers, *beside)),
        tuple(sorted({str(c.get("image")) for c in (*containers, *starting)})),
        {str(p.get("name")): int(p["containerPort"]) for c in containers for p in c.get("ports") or ()},
        tuple(claims),
        tuple(sorted(_read_secrets(pod))),
        bool(pod.get("hostNetwork")),
        HOOK in (item["metadata"].get("annotations") or {}),
    )


def pod_specs(rendering: Rendering) -> Iterator[tuple[str, Object]]:
    """The specification of every pod that installing makes, each with `Kind name` of its controller."""
    for item in rendering.kind(*CONTROLLERS, "Pod"):
        if "test" in str((item["metadata"].get("annotations") or {}).get(HOOK)):
            continue  # only `helm test` makes it
        spec = item.get("spec") or {}
        spec = spec["jobTemplate"]["spec"] if item["kind"] == "CronJob" else spec
        spec = spec if item["kind"] == "Pod" else (spec.get("template") or {}).get("spec") or {}
        yield f"{item['kind']} {item['metadata']['name']}", spec


def _request(container: Object, what: str) -> str:
    resources = container.get("resources") or {}
    asked = resources.get("requests") or {}
    return str(asked.get(what) or (resources.get("limits") or {}).get(what) or "0")


def _cpu(text: str) -> int:
    return int(float(text[:-1])) if text.endswith("m") else int(float(text) * 1000)


def size_of(text: str) -> int:
    """Bytes of a quantity of Kubernetes, such as `512Mi`; 0 for what is none."""
    found = _SIZE.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS.get(found[2] or "", 1)) if found else 0


def _read_secrets(pod: Object) -> set[str]:
    """Secrets without which the pod does not start."""
    found = set()
    for container in (*(pod.get("containers") or ()), *(pod.get("initContainers") or ())):
        for row in container.get("env") or ():
            asked = (row.get("valueFrom") or {}).get("secretKeyRef")
            if asked and not asked.get("optional"):
                found.add(str(asked["name"]))
        for row in container.get("envFrom") or ():
            if row.get("secretRef") and not row["secretRef"].get("optional"):
                found.add(str(row["secretRef"]["name"]))
    for volume in pod.get("volumes") or ():
        secret = (volume or {}).get("secret")
        if secret and secret.get("secretName") and not secret.get("optional"):
            found.add(str(secret["secretName"]))
    return found


def _service(item: Object) -> Service:
    spec = item.get("spec") or {}
    rows = [(str(p.get("name") or p["port"]), p) for p in spec.get("ports") or ()]
    return Service(
        str(item["metadata"]["name"]),
        str(spec.get("type", "ClusterIP")),
        {name: int(p["port"]) for name, p in rows},
        {name: p.get("targetPort") or int(p["port"]) for name, p in rows},
        {str(k): str(v) for k, v in (spec.get("selector") or {}).items()},
    )


def _claims(objects: Iterable[Object]) -> Iterator[tuple[str, str]]:
    for item in objects:
        kind, name, spec = item.get("kind"), item["metadata"]["name"], item.get("spec") or {}
        if kind == "PersistentVolumeClaim":
            yield str(name), str((spec.get("resources") or {}).get("requests", {}).get("storage", ""))
        elif kind in CONTROLLERS:
            for template in spec.get("volumeClaimTemplates") or ():
                wanted = (template["spec"].get("resources") or {}).get("requests", {})
                yield f"{name}/{template['metadata']['name']}", str(wanted.get("storage", ""))
        elif kind not in ("CustomResourceDefinition", "ConfigMap", "Secret"):
            yield from _asked(spec, f"{kind}/{name}")


def _asked(tree: object, path: str) -> Iterator[tuple[str, str]]:
    """Sizes that a custom resource asks claims of: a map with a size below one of the fields that say so."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key in _CLAIMING:
                yield from _sizes(value, f"{path}.{key}")
            else:
                yield from _asked(value, f"{path}.{key}")
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _asked(value, f"{path}[{index}]")


def _sizes(tree: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        if isinstance(tree.get("size"), str):
            yield path, tree["size"]
            return
        storage = ((tree.get("resources") or {}).get("requests") or {}).get("storage") if "resources" in tree else None
        if storage:
            yield path, str(storage)
            return
        for value in tree.values():
            yield from _sizes(value, path)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _sizes(value, f"{path}[{index}]")
