"""Workloads on a Kubernetes cluster, each a Helm release: probed, upgraded, put back, taken away.

Belongs here: how a workload's desired state becomes a release and how its state is observed. Not here: Helm and
Kubernetes themselves (tools/kube), what the values are (plan/values.py), or the cluster's own objects (cluster.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import HomelabError, Problem
from homelab_platform.layers.kubernetes import beside, ground, shown
from homelab_platform.layers.kubernetes.charts import OWN_CHARTS, PLATFORM, chart_lines, chart_of
from homelab_platform.layers.kubernetes.kustomized import Kustomized
from homelab_platform.layers.kubernetes.objects import Flows, flow_policies
from homelab_platform.layers.kubernetes.specs import WorkloadSpec
from homelab_platform.names import Say
from homelab_platform.plan.access import ANYONE, node_networks
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.specs import read
from homelab_platform.plan.values import values_of
from homelab_platform.plan.workload.judge import Judged, faults_of, pod_sets
from homelab_platform.plan.workload.kustomization import kustomization_files
from homelab_platform.plan.workload.manifests import manifests_of
from homelab_platform.plan.workload.rendering import Rendering
from homelab_platform.tools.kube import drift, health, kustomize, pods, releases, volumes
from homelab_platform.tools.kube.api import Cluster, Object
from homelab_platform.wire.json_types import Document

if TYPE_CHECKING:
    from homelab_platform.catalog.load import Catalogue
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

KUSTOMIZE, BUILTIN = "kustomize", "builtin"
COMES_UP = 300.0
"""Seconds within which the pods of a workload are ready, or it is undone, where its entry says no other time."""
PATIENCE = 60.0
"""Seconds for which a workload that is up may take to answer from outside."""


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
        spec = read(WorkloadSpec, desired.document)
        name, namespace = spec.name, spec.namespace
        if spec.kind == KUSTOMIZE:
            return self._kustomized(self._workload(desired)).probe()
        if spec.kind == BUILTIN:
            return self._builtin(desired)
        found = releases.current(self._cluster, namespace, name)
        if found is None:
            return Observation(exists=False)
        differences: list[str] = []
        if found.status != "deployed":
            differences.append(f"the release is {found.status}: {found.description}")
        workload = self._workload(desired)
        differences += shown.value_lines(found.values, self.values(workload))
        differences += chart_lines(found, workload)
        policies = self._policies(desired, Rendering.of(found.manifest))
        for wanted in (*found.manifest, *policies, *self._given_to(workload)):
            differences += [difference.line() for difference in drift.differences(self._cluster, wanted)]
        differences += beside.difference_lines(self._cluster, namespace, name, self._beside(workload))
        facts = {"release": f"{found.chart}, revision {found.revision}", "status": found.status}
        return Observation(True, _fingerprint(found), tuple(shown.shortened(differences)), facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Put back what was changed by hand, upgrade if the release is another, and wait until it answers."""
        workload = self._workload(desired)
        if workload.kind == KUSTOMIZE:
            self._change_kustomized(workload, desired, say)
            return
        if workload.kind == BUILTIN:
            self._wait_for_builtin(workload)
            return
        values, items = self.values(workload), self._beside(workload)
        found = releases.current(self._cluster, workload.namespace, workload.name)
        current = found is not None and _is_current(found, desired, values) and not chart_lines(found, workload)
        if found is not None and current:
            rendering = Rendering.of(found.manifest)
        else:
            rendering = self._rendered(workload, values)
            self._judge(workload, rendering, items)
        self._ground(workload, say)
        if found is not None and found.status == "deployed":
            self._put_back(found, say)
        # whoever may call it, and its own way to the API server, must be open before anything waits for its pods
        for policy in self._policies(desired, rendering):
            self._cluster.apply(policy)
        beside.write(self._cluster, [item for item in items if beside.is_early(item)], say)
        if not current:
            self._upgrade(workload, values, desired, say, first=found is None)
        late = [item for item in items if not beside.is_early(item)]
        beside.write(self._cluster, late, say, patience=self._first_start(workload))
        beside.prune(self._cluster, workload.namespace, workload.name, items, say)
        # pods that an operator makes are not waited for by helm
        verdict = self.until_it_answers(workload, None if pod_sets(rendering) else self._first_start(workload))
        if not verdict.ok:
            self._undo(found, workload, verdict.said, say)
        say(verdict.said)

    def _builtin(self, desired: DesiredState) -> Observation:
        """k3s deploys it; all that is to see is whether it runs."""
        verdict = self.until_it_answers(self._workload(desired), patience=0)
        return Observation(verdict.ok, desired.fingerprint if verdict.ok else "", (), {"k3s": verdict.said})

    def _wait_for_builtin(self, workload: ResolvedWorkload) -> None:
        verdict = self.until_it_answers(workload, self._first_start(workload))
        if not verdict.ok:
            what = f"k3s brings it along, and it does not run: {verdict.said}"
            raise HomelabError.of(f"workload {workload.name}", what, "Is it left out by cluster: {disable: …}?")

    def _kustomized(self, workload: ResolvedWorkload) -> Kustomized:
        files = kustomization_files(self._lab, workload, self._folder)
        made = kustomize.build(self._kubectl, files, name=workload.name, namespace=workload.namespace)
        return Kustomized(self._cluster, workload.namespace, workload.name, [*made, *self._beside(workload)])

    def _change_kustomized(self, workload: ResolvedWorkload, desired: DesiredState, say: Say) -> None:
        found = self._kustomized(workload)
        self._judge(workload, Rendering.of(found.objects), ())
        self._ground(workload, say)
        found.write(say, self._first_start(workload))
        verdict = self.until_it_answers(workload, self._first_start(workload))
        if not verdict.ok:
            said = f"is up but does not answer: {verdict.said}"
            raise HomelabError.of(f"workload {workload.name}", said, "It was left for you to look at (`kubectl logs`).")
        found.own(desired.fingerprint)
        say(verdict.said)

    def _rendered(self, workload: ResolvedWorkload, values: Mapping[str, object]) -> Rendering:
        chart, version = chart_of(workload, self._folder)
        return Rendering.of(self._helm.template(workload.name, workload.namespace, chart, values, version=version))

    def _judge(self, workload: ResolvedWorkload, rendering: Rendering, items: Sequence[Object]) -> None:
        """Refuse what would lose data, stand open or never be seen, before anything is touched."""
        entry = self._catalogue.entries.get(workload.catalogue)
        if (workload.chart or "app") == PLATFORM:
            return
        found = faults_of(Judged(workload, entry, rendering, Rendering.of(items)))
        if found:
            where = f"workload {workload.name}"
            remedy = "Nothing was changed. Correct its values, or waive it in its entry (waive: {%s: why})."
            if entry is None:
                remedy += f" It has none yet: make helm/{workload.name}/workload.yaml beside the lab file."
            raise HomelabError([Problem(where, fault.what, remedy % fault.rule, fault.rule) for fault in found])

    def _upgrade(
        self, workload: ResolvedWorkload, values: Mapping[str, object], desired: DesiredState, say: Say, *, first: bool
    ) -> None:
        chart, version = chart_of(workload, self._folder)
        say(f"{'installing' if first else 'upgrading'} {workload.name}")
        self._helm.upgrade(
            workload.name,
            workload.namespace,
            chart,
            values,
            desired.fingerprint,
            version=version,
            timeout=self._first_start(workload),
            say=say,
        )

    def _first_start(self, workload: ResolvedWorkload) -> float:
        entry = self._catalogue.entries.get(workload.catalogue)
        return float(entry.first_start) if entry is not None and entry.first_start is not None else COMES_UP

    def _beside(self, workload: ResolvedWorkload) -> list[Object]:
        return manifests_of(self._lab, workload, self._folder)

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
        """The namespace and the Secrets, which a chart only refers to."""
        ground.make_namespace(self._cluster, workload.namespace)
        for given in self._given_to(workload):
            drift.put_back(self._cluster, given)
        entry = self._catalogue.entries.get(workload.catalogue)
        ground.make_secrets(self._cluster, self._lab, workload, entry, folder=self._folder or Path(), say=say)

    def _given_to(self, workload: ResolvedWorkload) -> list[Object]:
        return [
            secret
            for secret in self._given
            if secret["metadata"]["namespace"] == workload.namespace
            and secret["metadata"]["name"].startswith(f"{workload.name}-")
        ]

    def _secrets(self, catalogue: str, name: str, namespace: str) -> Iterator[Object]:
        entry = self._catalogue.entries.get(catalogue)
        return ground.own_secrets(entry.secrets if entry is not None else {}, name, namespace)

    def until_it_answers(self, workload: ResolvedWorkload, patience: float | None = None) -> health.Verdict:
        """Try its health check until it answers, for `patience` seconds (PATIENCE) at most; the last verdict."""
        entry = self._catalogue.entries.get(workload.catalogue)
        ports = {name: port.port for name, port in workload.ports.items() if port.protocol == "tcp"}
        made = self._secrets(workload.catalogue, workload.name, workload.namespace)
        found = releases.current(self._cluster, workload.namespace, workload.name)
        running = pod_sets(Rendering.of(found.manifest)) if found is not None else []
        target = health.Target(
            workload.name,
            workload.namespace,
            ports,
            entry.health if entry else None,
            secrets=tuple(secret["metadata"]["name"] for secret in made),
            services=workload.services,
            controllers=tuple((pods.kind, pods.name) for pods in running if pods.kind in health.CONTROLLERS),
            idle=workload.kind == "helm" and workload.chart == "app" and self.values(workload).get("replicas") == 0,
        )
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            verdict = self._cluster.patiently(lambda: health.ask(self._cluster, self._kubectl, target))
            if verdict.ok or time.monotonic() > deadline:
                return verdict
            pods.free_stuck(self._cluster, workload.namespace, workload.name)
            time.sleep(0.5)

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Take the release away; its volumes stay, and are named."""
        for claim in self._uninstalled(read(WorkloadSpec, document), say):
            meta = claim["metadata"]
            say(
                f"volume {meta['namespace']}/{meta['name']} was kept, with its data; "
                f"`kubectl delete pvc -n {meta['namespace']} {meta['name']}` ends it"
            )

    def remove_with_data(self, key: str, document: Document, say: Say) -> None:
        """Take the release away, its volumes, and the secrets that were made up for it."""
        spec = read(WorkloadSpec, document)
        for claim in self._uninstalled(spec, say):
            say(volumes.delete(self._cluster, claim))
        for secret in self._secrets(spec.catalogue or spec.name, spec.name, spec.namespace):
            self._cluster.delete(secret)

    def _uninstalled(self, spec: WorkloadSpec, say: Say) -> list[Object]:
        """Take the release away and return its claims, which are all that is left."""
        name, namespace = spec.name, spec.namespace
        if spec.kind == BUILTIN:
            return []
        if spec.kind != KUSTOMIZE:
            self._helm.settle(name, namespace, say)
        found = releases.current(self._cluster, namespace, name)
        claims = volumes.claims_of(self._cluster, namespace, name, found.manifest if found else ())
        kept = [
            row for row in beside.recorded(self._cluster, namespace, name) if row["kind"] == "PersistentVolumeClaim"
        ]
        beside.remove_all(self._cluster, namespace, name, say)
        if spec.kind != KUSTOMIZE:
            self._helm.uninstall(name, namespace)
        for policy in self._cluster.list("networking.k8s.io/v1", "NetworkPolicy", namespace, f"{ground.FLOWS}={name}"):
            self._cluster.delete(policy)
        return [*claims, *(live for row in kept if (live := self._cluster.get(row)) is not None)]

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Its pods, its volumes, and the way of its releases."""
        spec = read(WorkloadSpec, desired.document)
        yield from shown.exhibits(self._cluster, spec.name, spec.namespace)

    def _policies(self, desired: DesiredState, rendering: Rendering) -> list[Object]:
        """Our own charts bring their network policies along; a vendor's gets ours beside it."""
        spec = read(WorkloadSpec, desired.document)
        if spec.chart in OWN_CHARTS:
            return []
        workload = self._workload(desired)
        callers = spec.derived.callers
        own = list(workload.labels())
        hooks = [pods.labels for pods in rendering.pods if pods.hook and pods.labels]
        own += [dict(labels) for labels in hooks if not any(known.items() <= labels.items() for known in own)]
        flows = Flows(
            workload.namespace,
            workload.name,
            tuple(own),
            tuple(
                labels
                for name in callers
                if name in self._lab.workloads
                for labels in self._lab.workloads[name].labels()
            ),
            anyone=ANYONE in callers,
            webhooks=rendering.webhooks,
            nodes=node_networks(self._lab),
        )
        return flow_policies(flows)

    def _workload(self, desired: DesiredState) -> ResolvedWorkload:
        return self._lab.workloads[read(WorkloadSpec, desired.document).name]


def _fingerprint(release: releases.Release) -> str:
    return releases.fingerprint_of(release.fingerprint)


def _is_current(found: releases.Release, desired: DesiredState, values: Mapping[str, object]) -> bool:
    if found.status != "deployed":
        return False
    return _fingerprint(found) == desired.fingerprint and dict(found.values) == dict(values)
