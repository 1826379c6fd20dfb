"""Images made on the spot: the same content gives the same bytes, and what is in them runs in pods."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from homelab_platform_tests.testlab.cluster import TestCluster
from homelab_platform_tests.testlab.debian_images import debian_image
from homelab_platform_tests.testlab.images import Files, Image, make_image


def manifest(archive: Path) -> Any:
    """The manifest of the one image in an archive."""
    with tarfile.open(archive) as content:
        index = json.load(content.extractfile("index.json"))  # type: ignore[arg-type]
        digest = index["manifests"][0]["digest"].replace(":", "/")
        return json.load(content.extractfile(f"blobs/{digest}"))  # type: ignore[arg-type]


def test_the_same_content_makes_the_same_layers(tmp_path: Path) -> None:
    (tmp_path / "tree" / "etc").mkdir(parents=True)
    (tmp_path / "tree" / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    image = Image("localhost/thing:1", (tmp_path / "tree", Files({"etc/own": "text"})), ("/bin/thing",))
    first = manifest(make_image(image, tmp_path / "first"))
    (tmp_path / "tree" / "etc" / "hosts").touch()
    assert manifest(make_image(image, tmp_path / "second")) == first
    assert len(first["layers"]) == 2


def test_a_file_that_a_layer_takes_away_stays_away(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("test lab: only root makes the device that stands for a file taken away")
    (tmp_path / "upper").mkdir()
    os.mknod(tmp_path / "upper" / "gone", 0o020000, 0)
    archive = make_image(Image("localhost/thing:1", (tmp_path / "upper",)), tmp_path)
    digest = manifest(archive)["layers"][0]["digest"].replace(":", "/")
    with tarfile.open(archive) as content, tarfile.open(fileobj=content.extractfile(f"blobs/{digest}")) as layer:
        assert layer.getnames() == [".wh.gone"]


BROKER = "localhost/mosquitto:2"


@pytest.fixture(scope="module")
def with_broker(test_cluster: TestCluster) -> TestCluster:
    """The cluster, whose nodes have an image of Debian's broker; made here, so that this is not the test's own time."""
    settings = Files({"etc/mosquitto/lab.conf": "listener 1883\nallow_anonymous true\n"})
    start = ("/usr/sbin/mosquitto", "-c", "/etc/mosquitto/lab.conf")
    test_cluster.bring(debian_image(BROKER, ("mosquitto",), entrypoint=start, user="1883", files=settings))
    return test_cluster


@pytest.mark.testlab
@pytest.mark.servers
@pytest.mark.slow
def test_a_broker_out_of_debians_packages_runs_in_a_pod(with_broker: TestCluster, lab_alone: object) -> None:
    container = {
        "name": "broker",
        "image": BROKER,
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 1883}],
        "readinessProbe": {"tcpSocket": {"port": 1883}, "periodSeconds": 1},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "broker", "namespace": "default"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    with_broker.apply(pod)
    try:
        with_broker.kubectl("wait", "--for=condition=Ready", "pod/broker", "--timeout=60s")
    finally:
        with_broker.kubectl("delete", "pod", "broker")
