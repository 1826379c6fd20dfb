"""Helm charts, volumes and pods, as far as no cluster has to be asked."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from homelab_platform.servers.install.helm import helm_binary
from homelab_platform.tools.kube import volumes
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.pods import Hope, cannot_come_up, way_out
from homelab_platform.tools.kube.releases import NO_WAY_BACK, Helm, complaint

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: told}\ndata: {version: '{{ .Chart.Version }}'}\n"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The address of a repository of charts, with two versions of one."""
    for version in ("1.0.0", "1.1.0"):
        chart = tmp_path / f"chart-{version}" / "greeter"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: greeter\nversion: {version}\n")
        (chart / "templates" / "told.yaml").write_text(CONFIG)
        _helm("package", str(chart), "--destination", str(tmp_path / "charts"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "charts")))
    address = f"http://127.0.0.1:{server.server_port}"
    _helm("repo", "index", str(tmp_path / "charts"), "--url", address)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def _helm(*words: str) -> None:
    subprocess.run([str(helm_binary()), *words], check=True, capture_output=True)


@pytest.mark.servers
@pytest.mark.slow
def test_a_chart_of_a_repository_is_taken_in_the_version_that_was_asked_for(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    helm = Helm(helm_binary(), Cluster(tmp_path / "no-kubeconfig"))
    [told] = helm.template("hello", "default", f"{repository}/greeter", {}, version="1.0.0")
    assert told["data"] == {"version": "1.0.0"}
    [told] = helm.template("hello", "default", f"{repository}/greeter-1.1.0.tgz", {})
    assert told["data"] == {"version": "1.1.0"}


def test_claims_are_marked_to_be_kept_in_what_helm_remembers_and_nothing_else_is_touched() -> None:
    claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: data\n"
    other = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
    marked = volumes.with_marks(f"{claim}---\n{other}")
    assert marked is not None
    assert marked.count("helm.sh/resource-policy: keep") == 1
    assert marked.index("resource-policy") < marked.index("Service")
    assert volumes.with_marks(marked) is None
    assert volumes.with_marks(other) is None


def test_pods_are_given_up_once_waiting_does_not_help() -> None:
    now = [0.0]
    hope = Hope(clock=lambda: now[0])
    crash = ["Pod web on pi-1: CrashLoopBackOff (exit code 1)"]
    assert not hope.gone(crash)
    now[0] = 60.0
    assert not hope.gone(crash)
    assert not hope.gone([]), "between two crashes it runs"
    now[0] = 95.0
    assert hope.gone(crash)
    assert not hope.gone(["Pod web on pi-1: Unhealthy: Startup probe failed"]), "it may only be slow"


def test_a_job_that_cannot_be_changed_is_named_without_a_page_of_its_template() -> None:
    said = (
        'Error: UPGRADE FAILED: cannot patch "report" with kind Job: Job.batch "report" is invalid: spec.template: '
        "Invalid value: core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{Name:" + "x" * 2000 + "}}: field is immutable"
    )
    told = complaint(said)
    assert told == "Job report: spec.template changed, which Kubernetes never changes (field is immutable)"
    assert "kubectl delete" in (way_out(told) or "")
    assert NO_WAY_BACK in complaint(said + "\nand an error occurred while rolling back the release: nothing answers")
    assert complaint("Error: INSTALLATION FAILED: no such chart\n") == "INSTALLATION FAILED: no such chart"


def test_a_pod_that_runs_and_is_not_ready_yet_is_not_taken_for_a_broken_one() -> None:
    def pod(**state: object) -> dict[str, object]:
        ready = {"type": "Ready", "status": "False"}
        return {"status": {"conditions": [ready], "containerStatuses": [{"name": "app", "state": state}]}}

    assert not cannot_come_up(pod(running={"startedAt": "2026-11-22T01:00:00Z"})), "a database that recovers"
    assert not cannot_come_up(pod(waiting={"reason": "ContainerCreating"}))
    assert cannot_come_up(pod(waiting={"reason": "ImagePullBackOff", "message": "not found"}))


def test_an_image_that_cannot_come_is_given_up_soon_and_one_that_is_pulled_later() -> None:
    now = [0.0]
    hope = Hope(clock=lambda: now[0])
    never, later = ["Pod a: ErrImageNeverPull: x"], ["Pod b: ImagePullBackOff: y"]
    assert not hope.gone(never) and not hope.gone(later)
    now[0] = 20.0
    assert hope.gone(never)
    assert not hope.gone(later)
    assert "another" in (way_out(never[0]) or "")
