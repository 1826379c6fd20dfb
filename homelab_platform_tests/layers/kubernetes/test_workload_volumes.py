"""What becomes of a workload's data when the workload goes: it stays, until a person names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import Observation
from homelab_platform.errors import HomelabError
from homelab_platform.layers.kubernetes.workloads import WorkloadAdapter
from homelab_platform.names import silent
from homelab_platform_tests.layers.kubernetes.web_scene import ENTRY, Scene, in_a_namespace, leave_record, revisions
from homelab_platform_tests.testlab.cluster import TestCluster

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow, pytest.mark.usefixtures("lab_alone")]

CHART = "apiVersion: v2\nname: theirs\nversion: 1.0.0\n"
CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: theirs}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
"""
POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app.kubernetes.io/instance: web}}
spec:
  selector: {matchLabels: {app.kubernetes.io/instance: web}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app.kubernetes.io/instance: web}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: theirs, persistentVolumeClaim: {claimName: theirs}}]
      containers:
      - name: app
        image: "localhost/busybox:{{ .Values.tag | default 1 }}"
        imagePullPolicy: Never
        command: [sh, -c, "date >> /data/starts; exec sleep 600"]
        volumeMounts: [{name: theirs, mountPath: /data}]
"""


@pytest.fixture
def scene(with_busybox: TestCluster, tmp_path: Path) -> Iterator[Scene]:
    """A lab with a namespace of its own."""
    yield from in_a_namespace(with_busybox, tmp_path)


def claims(scene: Scene) -> list[str]:
    """The names of the volumes that the namespace has, in order."""
    items = scene.cluster.get("pvc", "-n", scene.space)["items"]
    return sorted(item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"])


def remove(scene: Scene, adapter: WorkloadAdapter, *, with_data: bool = False) -> list[str]:
    """Take the workload away as `apply` does once it left the lab file; what was said."""
    _, desired = scene.read()
    said: list[str] = []
    (adapter.remove_with_data if with_data else adapter.remove)(desired.key, desired.document, said.append)
    assert not adapter.probe(desired).exists
    return said


def test_taking_a_workload_away_leaves_its_data_and_who_brings_it_back_finds_it(scene: Scene) -> None:
    scene.apply()
    adapter, _ = scene.write()
    said = remove(scene, adapter)
    assert any(f"volume {scene.space}/web-data was kept" in line and "kubectl delete pvc" in line for line in said)
    assert claims(scene) == ["web-data"]
    scene.apply("back again")
    assert scene.page() == "back again"


def test_on_a_persons_word_volumes_and_made_up_secrets_go_too(scene: Scene) -> None:
    scene.apply()
    adapter, _ = scene.write()
    said = remove(scene, adapter, with_data=True)
    assert f"volume {scene.space}/web-data was deleted, with its data" in said
    assert claims(scene) == []
    assert scene.cluster.kubectl("get", "secret", "web-credentials", "-n", scene.space, check=False).returncode


def test_a_removal_that_was_cut_off_is_finished_first(scene: Scene) -> None:
    scene.apply()
    leave_record(scene, "uninstalling")
    said = scene.apply("here to stay")
    assert any("removal was cut off" in line for line in said)
    assert scene.page() == "here to stay"
    assert revisions(scene) == ["deployed"]


def theirs(scene: Scene, **values: object) -> WorkloadAdapter:
    """The same workload from a chart that says nothing of keeping its volume."""
    scene.write()
    folder = scene.folder / "charts" / "theirs"
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "templates" / "claim.yaml").write_text(CLAIM)
    (folder / "templates" / "pod.yaml").write_text(POD)
    said = "".join(line for line in ENTRY.splitlines(keepends=True) if not line.startswith(("ports:", "health:")))
    (scene.folder / "helm" / "web" / "workload.yaml").write_text(said)
    (scene.folder / "helm" / "web" / "values.yaml").write_text("".join(f"{k}: {v}\n" for k, v in values.items()))
    file = scene.folder / "lab.yaml"
    file.write_text(file.read_text().replace("expose: cluster", "chart: ./charts/theirs"))
    return scene.read()[0]


def test_a_chart_that_would_delete_its_volume_does_not(scene: Scene) -> None:
    adapter, desired = theirs(scene), scene.read()[1]
    adapter.change(desired, Observation(exists=False), silent)
    said = remove(scene, adapter)
    assert any("theirs was kept" in line for line in said)
    broken = theirs(scene, tag="none")
    with pytest.raises(HomelabError, match="ErrImageNeverPull"):
        broken.change(scene.read()[1], Observation(exists=False), silent)
    assert claims(scene) == ["theirs"], "a first installation that fails must not take what an earlier one left"
    remove(scene, theirs(scene), with_data=True)
    assert claims(scene) == []
