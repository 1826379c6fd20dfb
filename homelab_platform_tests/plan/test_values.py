"""Values of a workload: files with references into the lab, in an order that a person can predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError, Position
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.paths import project_path
from homelab_platform.plan.values import value_files, values_of

LAB = """\
version: 1
lab: values
domain: lab.example.org
network: {lan: 192.168.7.0/24, gateway: 192.168.7.1, load_balancers: 192.168.7.200-210}
hosts:
  pi: {board: pi5-8gb, os: raspios, address: 192.168.7.10, k3s: server, disks: {ssd: 250Gi}}
workloads:
  traefik:
  metallb:
  kiwix: {memory: 256Mi, size: 12Gi, values: {env: {LANG: de}}}
  mosquitto: {on: pi}
"""


def _lab(folder: Path, text: str = LAB) -> ResolvedLab:
    (folder / "lab.yaml").write_text(text)
    return load_resolved(folder / "lab.yaml", load_catalogue(folder / "helm"))


def _values(folder: Path, name: str, lab: ResolvedLab | None = None) -> dict[str, Any]:
    lab = lab or _lab(folder)
    workload = lab.workloads[name]
    return values_of(lab, workload, load_catalogue(folder / "helm").entries.get(workload.catalogue), folder)


def _write(folder: Path, path: str, text: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_an_app_without_a_values_file_is_told_what_the_catalogue_knows(tmp_path: Path) -> None:
    values = _values(tmp_path, "mosquitto")
    assert values["image"].startswith("docker.io/library/eclipse-mosquitto:")
    assert values["ports"]["mqtt"] == {"port": 1883, "protocol": "tcp"}
    assert values["probe"] == {"tcp": "mqtt"}
    assert values["service"]["type"] == "LoadBalancer"
    assert values["service"]["address"].startswith("192.168.7.2")
    assert values["nodes"] == ["pi"]


def test_what_is_said_of_memory_and_size_reaches_the_chart(tmp_path: Path) -> None:
    values = _values(tmp_path, "kiwix")
    assert values["requests"]["memory"] == "256Mi"
    assert [volume["size"] for volume in values["volumes"].values()] == ["12288Mi"]
    assert values["env"]["LANG"] == "de"


def test_a_file_beside_the_lab_refers_to_the_lab(tmp_path: Path) -> None:
    text = """\
env:
  HOST: ${workload.hostname}
  ZONE: ${lab.timezone}
  BROKER: ${service:mosquitto,mqtt}
  HEAP: ${heap:${workload.memory},0.5}
  LITERAL: \\${NOT_OURS}
"""
    _write(tmp_path, "workloads/kiwix/values.yaml", text)
    env = _values(tmp_path, "kiwix")["env"]
    assert env["HOST"] == "kiwix.lab.example.org"
    assert env["BROKER"] == "mosquitto.data-platform.svc:1883"
    assert env["HEAP"] == "128M"
    assert env["LITERAL"] == "${NOT_OURS}"


def test_the_lab_file_has_the_last_word(tmp_path: Path) -> None:
    _write(tmp_path, "workloads/kiwix/values.yaml", "env: {LANG: fr, MORE: '1'}\n")
    assert _values(tmp_path, "kiwix")["env"] == {"ARCHIVES": "", "LANG": "de", "MORE": "1"}


def test_an_overlay_counts_only_where_its_condition_holds(tmp_path: Path) -> None:
    _write(tmp_path, "helm/kiwix/values.ingress.yaml", "env: {BEHIND: traefik}\n")
    _write(tmp_path, "helm/kiwix/values.nfs.yaml", "env: {ON: nfs}\n")
    lab = _lab(tmp_path)
    used = [file.name for file in value_files(lab.workloads["kiwix"], lab, tmp_path)]
    assert used == ["values.yaml", "values.ingress.yaml"]
    assert _values(tmp_path, "kiwix", lab)["env"]["BEHIND"] == "traefik"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("env:\n  A: ${workload.memry}\n", 2, "memry"),
        ("env:\n  A: x\n  B: 'tcp://${service:mosquito}'\n", 3, "mosquito"),
        ("env: {A: '${service:mosquitto,mqt}'}\n", 1, "mqt"),
    ],
)
def test_a_reference_to_nothing_is_refused_where_it_stands(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = _write(tmp_path, "workloads/kiwix/values.yaml", text)
    with pytest.raises(HomelabError) as caught:
        _values(tmp_path, "kiwix")
    problem = caught.value.problems[0]
    assert isinstance(problem.where, Position)
    assert (problem.where.file, problem.where.line) == (str(file), line)
    assert says in problem.what


def test_yaml_that_is_none_names_its_place(tmp_path: Path) -> None:
    _write(tmp_path, "workloads/kiwix/values.yaml", "env: {A: [1, 2}\n")
    with pytest.raises(HomelabError, match=r"values\.yaml:1:"):
        _values(tmp_path, "kiwix")


def test_text_of_the_lab_is_never_taken_for_a_reference(tmp_path: Path) -> None:
    lab = _lab(tmp_path, LAB.replace("lab: values", "lab: values\ndescription: costs ${5}"))
    assert values_of(lab, lab.workloads["kiwix"], None, tmp_path)["env"]["LANG"] == "de"


@pytest.fixture(scope="module")
def example() -> tuple[ResolvedLab, Any]:
    """The test lab, whose cluster has no load balancer and whose own folder says what its workloads run from."""
    folder = project_path("examples", "test-lab")
    catalogue = load_catalogue(folder / "helm")
    lab = load_resolved(folder / "lab.yaml", catalogue)

    def values(name: str) -> dict[str, Any]:
        workload = lab.workloads[name]
        return values_of(lab, workload, catalogue.entries.get(workload.catalogue), folder)

    return lab, values


def test_where_nothing_hands_out_addresses_a_port_of_the_lan_is_its_nodes(example: tuple[ResolvedLab, Any]) -> None:
    lab, values = example
    found = values("mosquitto")
    assert found["ports"]["mqtt"] == {"port": 1883, "protocol": "tcp", "hostPort": 1883}
    assert "service" not in found, "a Service that waits for an address would never be ready"
    assert found["network"]["from"] == ["any"]
    assert lab.workloads["mosquitto"].address == lab.hosts["pi-1"].address
    assert lab.network.dns_records["mosquitto.test-lab.example.org"] == lab.hosts["pi-1"].address


def test_each_node_is_told_what_its_host_would_be_and_the_host_nothing(
    example: tuple[ResolvedLab, Any],
) -> None:
    lab, values = example
    found = values("collector")
    assert (found["controller"], found["nodes"], found["everyNode"]) == ("DaemonSet", ["pi-1", "pi-2"], True)
    told = json.loads(found["config"]["/etc/homelab/nodes/pi-2.json"])
    assert told["device"] == "pi-2"
    assert (told["topic"], told["every"], told["stream"]) == ("homelab/machines/pi-2", 5.0, "machines")
    assert told["to"] == "mqtt://mosquitto.data-platform.svc.cluster.local:1883"
    assert {name: bool(host.telemetry) for name, host in lab.hosts.items()} == {
        "pi-1": False,
        "pi-2": False,
        "pi-3": True,
    }


def test_without_the_collector_in_the_cluster_every_host_has_its_own(tmp_path: Path) -> None:
    text = project_path("examples", "test-lab", "lab.yaml").read_text().replace("  collector:\n", "")
    text = text.replace("keys/ada.pub", f"{project_path('examples', 'test-lab', 'keys', 'ada.pub')}")
    (tmp_path / "lab.yaml").write_text(text)
    lab = load_resolved(tmp_path / "lab.yaml", load_catalogue(project_path("examples", "test-lab", "helm")))
    assert all(host.telemetry for host in lab.hosts.values())


def test_prometheus_reaches_its_targets_and_nothing_else(example: tuple[ResolvedLab, Any]) -> None:
    lab, values = example
    found = values("prometheus")
    hosts = [{"cidr": f"{host.address}/32", "ports": [9100]} for host in lab.hosts.values()]
    assert found["network"]["to"] == [{"workload": "prometheus"}, {"workload": "seaweedfs"}, *hosts]
    config = yaml.safe_load(found["config"]["/etc/prometheus/prometheus.yml"])
    targets = {t for job in config["scrape_configs"] for entry in job["static_configs"] for t in entry["targets"]}
    assert targets == {target.address for target in lab.scrape_targets}
    assert values("seaweedfs")["network"]["from"] == ["prometheus"]


def test_an_app_of_ones_own_is_up_when_its_first_port_takes_connections(example: tuple[ResolvedLab, Any]) -> None:
    assert example[1]("nginx")["probe"] == {"tcp": "http"}


def test_a_collector_with_nothing_to_publish_is_refused(tmp_path: Path) -> None:
    lab = _lab(tmp_path, LAB + "  collector:\n")
    with pytest.raises(HomelabError, match="workload collector: has nothing to publish"):
        _values(tmp_path, "collector", lab)


def test_an_overlay_of_an_interface_counts_whoever_provides_it(tmp_path: Path) -> None:
    _write(tmp_path, "helm/kiwix/values.with-ingress.yaml", "env: {AT: '${uses.ingress.name}'}\n")
    assert _values(tmp_path, "kiwix")["env"]["AT"] == "traefik"


def test_an_entry_of_ones_own_takes_the_place_of_ours_with_its_values(tmp_path: Path) -> None:
    entry = project_path("helm", "kiwix", "workload.yaml").read_text()
    _write(tmp_path, "helm/kiwix/workload.yaml", entry)
    _write(tmp_path, "helm/kiwix/values.yaml", "env: {OWN: '1'}\n")
    assert _values(tmp_path, "kiwix")["env"] == {"OWN": "1", "LANG": "de"}


@pytest.mark.parametrize(
    "text", ["A: '${oc.env:HOME}'", "A: '${text:../../../../etc/hostname}'", "A: '${text:setup.cfg}'"]
)
def test_a_reference_reads_neither_the_environment_nor_other_files(tmp_path: Path, text: str) -> None:
    _write(tmp_path, "workloads/kiwix/values.yaml", f"env: {{{text}}}\n")
    with pytest.raises(HomelabError):
        _values(tmp_path, "kiwix")
