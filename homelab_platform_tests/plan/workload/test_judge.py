"""What a rendering is refused for, and what it is not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from homelab_platform.catalog.model import CatalogueEntry
from homelab_platform.lab.resolved import ResolvedPort, ResolvedVolume, ResolvedWorkload
from homelab_platform.plan.workload.judge import Judged, faults_of
from homelab_platform.plan.workload.rendering import Rendering
from homelab_platform_tests.plan.workload.pods_by_level import PODS, SAFE
from homelab_platform_tests.plan.workload.pods_by_level import WHOLE as SECURE

LABELS = {"app.kubernetes.io/instance": "notes"}


def _deployment(**pod: Any) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": 8080}]
    container = {"name": "app", "image": "example.org/notes:1.0", "ports": ports, "securityContext": SAFE}
    spec = {"containers": [container], "volumes": [], "securityContext": SECURE, **pod}
    template = {"metadata": {"labels": dict(LABELS)}, "spec": spec}
    return {"kind": "Deployment", "metadata": {"name": "notes"}, "spec": {"template": template}}


def _claim(name: str = "notes-data", storage_class: str = "local-path") -> dict[str, Any]:
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": "1Gi"}}}
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def _service(name: str = "notes", kind: str = "ClusterIP", port: int = 8080) -> dict[str, Any]:
    ports = [{"name": "http", "port": port, "targetPort": "http"}]
    return {"kind": "Service", "metadata": {"name": name}, "spec": {"type": kind, "ports": ports, "selector": LABELS}}


def _secret(**said: Any) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": "x"}, **said}


MOUNTED = _deployment(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "notes-data"}}])
WHOLE = (MOUNTED, _claim(), _service())


def _workload(**said: Any) -> ResolvedWorkload:
    facts: dict[str, Any] = {
        "name": "notes", "catalogue": "notes", "namespace": "apps", "tier": "extras", "kind": "helm",
        "chart": "https://charts.example.org/notes",
        "ports": {"http": ResolvedPort(name="http", port=8080)},
        "volumes": {"data": ResolvedVolume(name="data", size=2**30, storage_class="local-path")},
    }  # fmt: skip
    return ResolvedWorkload(**{**facts, **said})


def _entry() -> CatalogueEntry:
    said = {
        "name": "notes", "title": "Notes", "description": "Keeps notes.", "tier": "extras", "kind": "helm",
        "home": "https://example.org", "licence": "MIT", "namespace": "apps",
        "chart": {"repo": "https://charts.example.org", "name": "notes", "version": "1.0.0"},
        "arm64": {"runs": "yes", "evidence": "a test"}, "requests": {"basis": "measured"}, "ports": {"http": 8080},
        "backup": {"method": "none", "note": "a test"},
    }  # fmt: skip
    return CatalogueEntry.model_validate_json(json.dumps(said))


def _rules(objects: Any, **said: Any) -> list[str]:
    return [
        fault.rule for fault in faults_of(Judged(_workload(**said), _entry(), Rendering.of(objects), Rendering(())))
    ]


def test_a_rendering_that_keeps_what_it_should_has_no_fault() -> None:
    assert _rules(WHOLE) == []


@pytest.mark.parametrize(
    ("objects", "rule"),
    [
        ((_deployment(), _service()), "lost-data"),
        ((_deployment(), _claim(), _service()), "unmounted"),
        ((MOUNTED, _claim(storage_class="standard"), _service()), "default-class"),
        ((MOUNTED, _claim(), _service("notes-web")), "missing-service"),
        ((MOUNTED, _claim(), _service(port=80)), "missing-service"),
        ((MOUNTED, _claim(), _service(kind="NodePort")), "open-service"),
        ((*WHOLE, _secret(data={"admin-password": base64.b64encode(b"admin").decode()})), "plain-secret"),
        ((*WHOLE, _secret(stringData={"cookie": "XXXXXXXXXXXXXXXX"})), "plain-secret"),
    ],
)  # fmt: skip
def test_each_fault_is_named(objects: Any, rule: str) -> None:
    assert _rules(objects) == [rule]


def test_pods_without_a_known_label_and_moving_images_are_refused() -> None:
    stray = _deployment(volumes=MOUNTED["spec"]["template"]["spec"]["volumes"])
    stray["spec"]["template"]["metadata"]["labels"] = {"app": "notes"}
    stray["spec"]["template"]["spec"]["containers"][0]["image"] = "docker.io/bitnami/notes:latest"
    assert _rules((stray, _claim(), _service())) == ["bad-image", "bad-image", "unlabelled"]
    assert _rules((stray, _claim(), _service()), pods=({"app": "notes"},)) == ["bad-image", "bad-image"]


def test_an_entrance_must_lead_there_and_ask_for_the_sign_in() -> None:
    def ingress(host: str, **annotations: str) -> dict[str, Any]:
        meta = {"name": "notes", "annotations": annotations}
        return {"kind": "Ingress", "metadata": meta, "spec": {"rules": [{"host": host}]}}

    way = {"exposure": "ingress", "hostname": "notes.lab.example.org", "sso": "forward-auth"}
    assert _rules((*WHOLE, ingress("chart-example.local")), **way) == ["open-page", "unreachable"]
    asked = {"traefik.ingress.kubernetes.io/router.middlewares": "auth-forward-auth@kubernetescrd"}
    assert _rules((*WHOLE, ingress("notes.lab.example.org", **asked)), **way) == []


def test_what_an_operator_is_asked_for_counts_as_kept() -> None:
    cluster = {
        "kind": "Cluster", "metadata": {"name": "notes"},
        "spec": {"instances": 1, "storage": {"size": "1Gi"}, "walStorage": {"size": "1Gi"}},
    }  # fmt: skip
    rendering = Rendering.of([cluster])
    assert rendering.claims == {"Cluster/notes.storage": "1Gi", "Cluster/notes.walStorage": "1Gi"}
    assert _rules([cluster], ports={}) == []


def test_ports_of_webhooks_are_those_of_the_pods() -> None:
    hook = {"clientConfig": {"service": {"name": "notes", "port": 443}}}
    config = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "notes"}, "webhooks": [hook]}
    assert Rendering.of([_deployment(), _service(port=443), config]).webhooks == (8080,)


def test_a_chart_of_ones_own_may_call_its_services_as_it_likes_and_loses_no_data() -> None:
    own = {"chart": "./charts/notes"}
    assert _rules((MOUNTED, _claim(storage_class="fast")), **own) == []
    assert _rules((_deployment(),), **own) == ["lost-data"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_beyond_the_level_of_its_workload_is_refused_and_a_named_waiver_lets_it_run(name: str) -> None:
    level, pod = PODS[name]
    mounted = {"name": "data", "persistentVolumeClaim": {"claimName": "notes-data"}}
    pod = {**pod, "volumes": [*pod.get("volumes", ()), mounted]}
    container = {**pod["containers"][0], "image": "example.org/notes:1.0"}
    container["ports"] = [{"name": "http", "containerPort": 8080}, *container.get("ports", ())]
    made = (_deployment(**{**pod, "containers": [container]}), _claim(), _service())
    if "securityContext" not in pod:
        del made[0]["spec"]["template"]["spec"]["securityContext"]
    rules = {rule for rule in _rules(made) if rule.startswith("not-")}
    assert bool(rules) is (level != "restricted")
    assert ("not-baseline" in rules) is (level == "privileged")
    assert {rule for rule in _rules(made, pod_security=level) if rule.startswith("not-")} == set()
