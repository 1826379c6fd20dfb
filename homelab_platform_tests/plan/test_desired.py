"""The assets of a lab, their lineage and their fingerprints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab, ScrapeTarget
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import LAYERS
from homelab_platform_tests.plan.labs import host, small_lab, with_values, workload


def changed(old: ResolvedLab, new: ResolvedLab) -> set[str]:
    before, after = desired_states(old), desired_states(new)
    return {
        key
        for key in {*before, *after}
        if key not in before or key not in after or before[key].fingerprint != after[key].fingerprint
    }


def above(states: dict[str, DesiredState], key: str) -> set[str]:
    """Everything that lies upstream of an asset."""
    found: set[str] = set()
    ahead = [key]
    while ahead:
        for dep in states[ahead.pop()].deps:
            if dep not in found:
                found.add(dep)
                ahead.append(dep)
    return found


def test_every_layer_of_the_lab_has_its_assets() -> None:
    states = desired_states(small_lab())
    assert {state.layer for state in states.values()} == set(LAYERS)
    assert {"image/pi-1", "host/pi-2", "cluster/k3s", "workload/trino", "flow/environment", "bucket/readings-raw"} <= (
        states.keys()
    )
    assert {"table/sensor_data", "mart/daily", "backup/postgresql", "drill/postgresql"} <= states.keys()
    assert "drill/readings" not in states


def test_the_lineage_goes_from_the_sd_card_to_the_last_mart() -> None:
    states = desired_states(small_lab())
    way = {"image/pi-1", "host/pi-1", "cluster/k3s", "workload/mosquitto", "flow/environment", "bucket/readings-raw"}
    assert way | {"table/sensor_data", "mart/hourly", "workload/minio", "bucket/lake"} <= above(states, "mart/daily")
    assert "workload/trino" not in above(states, "mart/daily")
    assert {"workload/postgresql", "workload/minio"} <= set(states["workload/trino"].deps)
    assert "workload/postgresql" in above(states, "drill/postgresql")
    assert "table/sensor_data" in states["backup/readings"].deps


def test_each_asset_comes_after_what_it_depends_on() -> None:
    order = list(desired_states(small_lab()))
    for key, state in desired_states(small_lab()).items():
        assert all(order.index(dep) < order.index(key) for dep in state.deps)


def test_editing_a_value_of_a_workload_changes_that_workload_alone() -> None:
    lab = small_lab()
    assert changed(lab, with_values(lab, "trino", replicas=2)) == {"workload/trino"}


def test_a_new_host_touches_itself_the_hub_the_cluster_and_whoever_watches_it() -> None:
    lab = small_lab()
    assert lab.cluster is not None
    new = lab.model_copy(
        update={
            "hosts": {**lab.hosts, "pi-3": host("pi-3", 22, vpn_address="10.9.0.3")},
            "cluster": lab.cluster.model_copy(update={"agents": ("pi-2", "pi-3")}),
            "scrape_targets": (
                *lab.scrape_targets,
                ScrapeTarget(job="node", instance="pi-3", address="192.168.0.22:9100"),
            ),
        }
    )
    expected = {"image/pi-3", "host/pi-3", "host/pi-1", "cluster/k3s", "workload/monitoring"}
    assert changed(lab, new) == expected


def test_the_order_of_names_in_a_list_without_order_means_nothing() -> None:
    lab = small_lab()
    trino = lab.workloads["trino"].model_copy(update={"needs": ("minio", "postgresql")})
    assert changed(lab, lab.model_copy(update={"workloads": {**lab.workloads, "trino": trino}})) == set()


def test_whatever_follows_a_changed_asset_has_a_new_fingerprint_too() -> None:
    lab = small_lab()
    table = lab.tables["default.sensor_data"].model_copy(update={"columns": {"battery": "double"}})
    new = lab.model_copy(update={"tables": {"default.sensor_data": table}})
    assert changed(lab, new) == {"table/sensor_data", "mart/hourly", "mart/daily"}


def test_a_lab_without_a_cluster_has_none_and_its_host_services_stand_on_their_host() -> None:
    pihole = workload("pihole", kind="host", placement=("pi-2",))
    states = desired_states(small_lab(cluster=None, workloads={"pihole": pihole}, backups={}))
    assert "cluster/k3s" not in states
    assert states["workload/pihole"].deps == ("host/pi-2",)


def test_workloads_that_need_each_other_in_a_circle_are_named() -> None:
    workloads = {"a": workload("a", needs=("b",)), "b": workload("b", needs=("c",)), "c": workload("c", needs=("a",))}
    with pytest.raises(HomelabError, match="workload/a needs workload/b needs workload/c needs workload/a"):
        desired_states(small_lab(workloads=workloads))


def test_fingerprints_are_the_same_in_another_process() -> None:
    code = (
        "from homelab_platform_tests.plan.labs import small_lab\n"
        "from homelab_platform.plan.gather import desired_states\n"
        "print(*(s.fingerprint for s in desired_states(small_lab()).values()))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    ).stdout.split()
    assert elsewhere == [state.fingerprint for state in desired_states(small_lab()).values()]


def test_planning_does_not_import_dagster_or_a_database_client() -> None:
    code = (
        "import sys\n"
        "import homelab_platform.plan.desired, homelab_platform.plan.documents, homelab_platform.plan.render\n"
        "import homelab_platform.plan.reconcile\n"
        "print({m.partition('.')[0] for m in sys.modules} & {'dagster', 'pyarrow', 'psycopg', 'sqlalchemy', 'rich'})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"
