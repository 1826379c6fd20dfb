"""What our generic chart writes for values that YAML and Helm like to read as something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homelab_platform.paths import project_path
from homelab_platform.servers.install.helm import helm_binary
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.releases import Helm

pytestmark = pytest.mark.servers
IMAGE = {"image": "localhost/busybox:1"}


def rendered(tmp_path: Path, name: str = "web", **values: Any) -> dict[str, dict[str, Any]]:
    """What the chart would write, by kind."""
    helm = Helm(helm_binary(), Cluster(tmp_path / "no-cluster"))
    chart = str(project_path("helm", "app"))
    return {item["kind"]: item for item in helm.template(name, "apps", chart, {**IMAGE, **values})}


def container_of(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The one container of the pods."""
    found: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_numbers_reach_the_pod_as_they_were_written(tmp_path: Path) -> None:
    found = rendered(tmp_path, env={"MAX": 1048576, "PART": 0.5, "LESS": -3, "TEXT": "1.50"}, user=1000680000)
    told = {entry["name"]: entry["value"] for entry in container_of(found)["env"]}
    assert told == {"MAX": "1048576", "PART": "0.5", "LESS": "-3", "TEXT": "1.50"}
    assert found["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 1000680000


def test_names_that_yaml_takes_for_truth_or_numbers_stay_names(tmp_path: Path) -> None:
    found = rendered(
        tmp_path,
        "off",
        ports={"on": {"port": 8080}},
        env={"YES": True},
        secretEnv={"N": {"secret": "1e3", "key": "1"}},
        volumes={"no": {"size": "1Gi", "mount": "/data"}},
        probe={"tcp": "on"},
        network={"from": ["yes"], "to": [{"workload": "null"}]},
        serviceAccount={"create": True},
    )
    assert all(isinstance(item["metadata"]["name"], str) for item in found.values())
    assert found["Service"]["spec"]["selector"]["app.kubernetes.io/name"] == "off"
    container = container_of(found)
    assert [entry["name"] for entry in container["env"]] == ["YES", "N"]
    assert container["env"][1]["valueFrom"]["secretKeyRef"] == {"name": "1e3", "key": "1"}
    assert container["ports"][0]["name"] == container["readinessProbe"]["tcpSocket"]["port"] == "on"
    assert container["volumeMounts"][0]["name"] == "no"


@pytest.mark.parametrize(
    ("request_", "limit"), [("64Mi", "128Mi"), ("0.5Gi", "1.000Gi"), (268435456, 536870912), ("2000000Ki", "4000000Ki")]
)
def test_memory_is_limited_to_twice_its_request(tmp_path: Path, request_: str | int, limit: str | int) -> None:
    assert container_of(rendered(tmp_path, requests={"memory": request_}))["resources"]["limits"]["memory"] == limit


def test_a_port_that_it_may_reach_is_open_for_both_protocols(tmp_path: Path) -> None:
    found = rendered(tmp_path, network={"to": [{"cidr": "192.0.2.53/32", "ports": [53]}]})
    opened = found["NetworkPolicy"]["spec"]["egress"][-1]["ports"]
    assert opened == [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
