"""Workloads on a Kubernetes cluster, each a Helm release: probed, upgraded, put back, taken away.

Belongs here: how a workload's desired state becomes a release and how its state is observed. Not here: Helm and
Kubernetes themselves (tools/kube), what the values are (plan/values.py), or the cluster's own objects (cluster.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import HomelabError
from homelab_platform.layers.kubernetes.objects import flow_policy
from homelab_platform.names import Say
from homelab_platform.paths import project_path
from homelab_platform.plan.values import values_of
from homelab_platform.tools.kube import drift, health, pods, releases, volumes
from homelab_platform.tools.kube.api import Cluster, Object

if TYPE_CHECKING:
    from homelab_platform.catalog.load import Catalogue
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload
    from homelab_platform.plan.desired import DesiredState

OWN_CHARTS = ("app", "homelab-platform")
SHOWN = 12
"""Differences that are spelled out; the rest is counted."""
COMES_UP = 300.0
"""Seconds within which the pods of a new or changed workload are ready, or it is undone."""
PATIENCE = 60.0
"""Seconds for which a workload that is up may take to answer from outside."""
GENERATED = 24


class WorkloadAdapter:
    """The Helm workloads of a lab. `lab_folder` is where the lab file and its own charts and values lie.

    `given` are Secrets that follow from the lab and from what this site keeps to itself (plan/broker_access.py); those
    called `<workload>-…` are there, as they are here, before the workload is.
    """

    def __init__(
        self,
        lab: ResolvedLab,
        catalogue: Catalogue,
        helm: releases.Helm,
        kubectl: Path,
        lab_folder: Path | None = None,
        *,
        given: Sequence[Object] = (),
    ) -> None:
        self._lab = lab
        self._catalogue = catalogue
        self._helm = helm
        self._kubectl = kubectl
        self._folder = lab_folder
        self._given = given

    @property
    def _cluster(self) -> Cluster:
        return self._helm.cluster

    def values(self, workload: ResolvedWorkload) -> dict[str, Any]:
        """What the workload's chart is told. Marks of given Secrets go to the pods, so that new ones restart them."""
        found = values_of(self._lab, workload, self._catalogue.entries.get(workload.catalogue), self._folder)
        marks: dict[str, str] = {}
        for secret in self._given_to(workload):
            marks |= secret["metadata"].get("annotations") or {}
        if marks and (workload.chart or "app") == "app":
            found["podAnnotations"] = {**(found.get("podAnnotations") or {}), **marks}
        return found

    def probe(self, desired: DesiredState) -> Observation:
        """The release, and every object of it compared with what it should be."""
        name, namespace = str(desired.document["name"]), str(desired.document["namespace"])
        found = releases.current(self._cluster, namespace, name)
        if found is None:
            return Observation(exists=False)
        differences: list[str] = []
        if found.status != "deployed":
            differences.append(f"the release is {found.status}: {found.description}")
        workload = self._workload(desired)
        differences += _value_lines(found.values, self.values(workload))
        differences += self._chart_lines(found, workload)
        for wanted in (*found.manifest, *self._policies(desired), *self._given_to(workload)):
            differences += [difference.line() for difference in drift.differences(self._cluster, wanted)]
        facts = {"release": f"{found.chart}, revision {found.revision}", "status": found.status}
        return Observation(True, _fingerprint(found), tuple(_shortened(differences)), facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Put back what was changed by hand, upgrade if the release is another, and wait until it answers."""
        workload = self._workload(desired)
        self._ground(workload, say)
        found = releases.current(self._cluster, workload.namespace, workload.name)
        values = self.values(workload)
        if found is not None and found.status == "deployed":
            self._put_back(found, say)
        if not (found is not None and _is_current(found, desired, values) and not self._chart_lines(found, workload)):
            chart, version = self.chart(workload)
            say(f"{'installing' if found is None else 'upgrading'} {workload.name}")
            self._helm.upgrade(
                workload.name,
                workload.namespace,
                chart,
                values,
                desired.fingerprint,
                version=version,
                timeout=COMES_UP,
                say=say,
            )
        for policy in self._policies(desired):
            self._cluster.apply(policy)
        verdict = self.until_it_answers(workload)
        if not verdict.ok:
            self._undo(found, workload, verdict.said, say)
        say(verdict.said)

    def _undo(self, before: releases.Release | None, workload: ResolvedWorkload, said: str, say: Say) -> None:
        """Its pods are ready, yet it does not answer: the former state comes back, and that reads as failed.

        What stays although it does not answer loses its fingerprint: the next look must not take it for applied.
        """
        name, namespace = workload.name, workload.namespace
        known = releases.history(self._cluster, namespace, name)
        former = [item for item in known[:-1] if item.status == "superseded"]
        undone = "There was no former state; it was left for you to look at."
        if former and (before is None or known[-1].revision != before.revision):
            say(f"it does not answer; going back to revision {former[-1].revision}")
            self._helm.rollback(name, namespace, former[-1].revision)
            undone = f"It was rolled back to revision {former[-1].revision}."
        else:
            releases.disown(self._cluster, namespace, name)
            if before is not None:
                undone = "It is what was there before; look at its pods (`kubectl logs`) and apply again."
        raise HomelabError.of(f"workload {workload.name}", f"is up but does not answer: {said}", undone)

    def _put_back(self, found: releases.Release, say: Say) -> None:
        for wanted in found.manifest:
            for difference in drift.put_back(self._cluster, wanted):
                say(f"put back: {difference.line()}")

    def _ground(self, workload: ResolvedWorkload, say: Say) -> None:
        """The namespace and the generated secrets, which a chart only refers to."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": workload.namespace}}
        if self._cluster.get(namespace) is None:
            self._cluster.apply(namespace)
        for given in self._given_to(workload):
            drift.put_back(self._cluster, given)
        for secret in self._secrets(workload):
            if self._cluster.get(secret) is None:
                say(f"making the secret {secret['metadata']['name']}")
                keys = secret.pop("keys")
                values = {key: secrets.token_urlsafe(GENERATED) for key in keys}
                self._cluster.apply({**secret, "type": "Opaque", "stringData": values})

    def _given_to(self, workload: ResolvedWorkload) -> list[Object]:
        return [
            secret
            for secret in self._given
            if secret["metadata"]["namespace"] == workload.namespace
            and secret["metadata"]["name"].startswith(f"{workload.name}-")
        ]

    def _secrets(self, workload: ResolvedWorkload) -> Iterator[Object]:
        return self._generated(workload.catalogue, workload.name, workload.namespace)

    def _generated(self, catalogue: str, name: str, namespace: str) -> Iterator[Object]:
        entry = self._catalogue.entries.get(catalogue)
        for secret, keys in (entry.secrets if entry is not None else {}).items():
            metadata = {"name": f"{name}-{secret}", "namespace": namespace}
            yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "keys": keys}

    def chart(self, workload: ResolvedWorkload) -> tuple[str, str | None]:
        """The chart as `helm` takes it, and its version. Raises HomelabError for one that cannot be had."""
        chart = workload.chart or "app"
        if chart in OWN_CHARTS:
            return str(project_path("helm", chart)), None
        if chart.startswith("."):
            folder = (self._folder or Path()) / chart
            if not (folder / "Chart.yaml").is_file():
                raise HomelabError.of(
                    f"workload {workload.name}",
                    f"its chart {chart} has no Chart.yaml",
                    f"It was looked for in {folder}.",
                )
            return str(folder), None
        if chart.startswith("git+"):
            raise HomelabError.of(
                f"workload {workload.name}", f"its chart lies in a source tree: {chart}",
                "Copy that folder beside the lab file and name it: `chart: ./charts/…`.",
            )  # fmt: skip
        return chart, workload.chart_version

    def _chart_lines(self, found: releases.Release, workload: ResolvedWorkload) -> list[str]:
        """Our own chart changes with the platform, which no document says."""
        if (workload.chart or "app") != "app":
            return []
        chart = app_chart()
        return [] if found.chart == chart else [f"the chart is {found.chart}, should be {chart}"]

    def until_it_answers(self, workload: ResolvedWorkload, patience: float | None = None) -> health.Verdict:
        """Try its health check until it answers, for `patience` seconds (PATIENCE) at most; the last verdict."""
        entry = self._catalogue.entries.get(workload.catalogue)
        ports = {name: port.port for name, port in workload.ports.items() if port.protocol == "tcp"}
        made = tuple(secret["metadata"]["name"] for secret in self._secrets(workload))
        idle = workload.chart == "app" and self.values(workload).get("replicas") == 0
        target = health.Target(workload.name, workload.namespace, ports, entry.health if entry else None, made, idle)
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            verdict = self._cluster.patiently(lambda: health.ask(self._cluster, self._kubectl, target))
            if verdict.ok or time.monotonic() > deadline:
                return verdict
            pods.free_stuck(self._cluster, workload.namespace, workload.name)
            time.sleep(0.5)

    def remove(self, key: str, document: Mapping[str, Any], say: Say) -> None:
        """Take the release away; its volumes stay, and are named."""
        for claim in self._uninstalled(document, say):
            meta = claim["metadata"]
            say(
                f"volume {meta['namespace']}/{meta['name']} was kept, with its data; "
                f"`kubectl delete pvc -n {meta['namespace']} {meta['name']}` ends it"
            )

    def remove_with_data(self, key: str, document: Mapping[str, Any], say: Say) -> None:
        """Take the release away, its volumes, and the secrets that were made up for it."""
        for claim in self._uninstalled(document, say):
            say(volumes.delete(self._cluster, claim))
        name, namespace = str(document["name"]), str(document["namespace"])
        for secret in self._generated(str(document.get("catalogue", name)), name, namespace):
            self._cluster.delete(secret)

    def _uninstalled(self, document: Mapping[str, Any], say: Say) -> list[Object]:
        """Take the release away and return its claims, which are all that is left."""
        name, namespace = str(document["name"]), str(document["namespace"])
        self._helm.settle(name, namespace, say)
        found = releases.current(self._cluster, namespace, name)
        claims = volumes.claims_of(self._cluster, namespace, name, found.manifest if found else ())
        self._helm.uninstall(name, namespace)
        self._cluster.delete(flow_policy(namespace, name, ()))
        return claims

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Its pods, its volumes, and the way of its releases."""
        name, namespace = str(desired.document["name"]), str(desired.document["namespace"])
        running = self._cluster.list("v1", "Pod", namespace, f"app.kubernetes.io/instance={name}")
        yield Exhibit("pods", "table", [_pod_row(pod) for pod in running])
        known = releases.history(self._cluster, namespace, name)
        manifest = known[-1].manifest if known else ()
        claims = [
            {"volume": claim["metadata"]["name"], "size": claim["spec"]["resources"]["requests"]["storage"],
             "phase": (claim.get("status") or {}).get("phase", "?")}
            for claim in volumes.claims_of(self._cluster, namespace, name, manifest)
        ]  # fmt: skip
        if claims:
            yield Exhibit("volumes", "table", claims)
        rows = [
            {"revision": item.revision, "status": item.status, "chart": item.chart, "what": item.description}
            for item in reversed(known)
        ]
        yield Exhibit("releases", "table", rows)

    def _policies(self, desired: DesiredState) -> list[Object]:
        """Our own charts bring their network policies along; a vendor's gets ours beside it."""
        document = desired.document
        if document.get("chart", "app") in OWN_CHARTS:
            return []
        callers = (document.get("derived") or {}).get("callers") or ()
        return [flow_policy(str(document["namespace"]), str(document["name"]), callers)]

    def _workload(self, desired: DesiredState) -> ResolvedWorkload:
        return self._lab.workloads[str(desired.document["name"])]


@cache
def app_chart() -> str:
    """Name and version of our generic chart, as releases carry it: `app-1.0.0`."""
    import yaml

    said = yaml.safe_load(project_path("helm", "app", "Chart.yaml").read_text())
    return f"{said['name']}-{said['version']}"


def _fingerprint(release: releases.Release) -> str:
    return releases.fingerprint_of(release.fingerprint)


def _is_current(found: releases.Release, desired: DesiredState, values: Mapping[str, Any]) -> bool:
    if found.status != "deployed":
        return False
    return _fingerprint(found) == desired.fingerprint and dict(found.values) == dict(values)


def _value_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Which values the release was installed with that are others now, whichever file they stand in."""
    return [
        f"value {path} is {was or 'not set'}, should be {now or 'not set'}"
        for path, was, now in drift.compare(old, new)
    ]


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"and {more} more differences"] if more > 0 else lines


def _pod_row(pod: Object) -> dict[str, Any]:
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    return {
        "pod": pod["metadata"]["name"],
        "node": (pod.get("spec") or {}).get("nodeName", "none yet"),
        "phase": status.get("phase", "?"),
        "ready": f"{sum(bool(item.get('ready')) for item in containers)}/{len(containers)}",
        "restarts": sum(int(item.get("restartCount", 0)) for item in containers),
    }
