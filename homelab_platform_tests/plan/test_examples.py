"""The example labs under single edits: exactly what an edit means is asked for, for every asset there is to edit."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.paths import project_path
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.plan.reconcile import decide
from homelab_platform.plan.state import AppliedState

EXAMPLES = sorted(path.parent.name for path in project_path("examples").glob("*/lab.yaml"))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@cache
def example(name: str) -> ResolvedLab:
    return load_resolved(project_path("examples", name, "lab.yaml"), load_catalogue())


def asked(old: ResolvedLab, new: ResolvedLab) -> set[str]:
    states = {
        key: AppliedState(key, s.fingerprint, s.document, NOW, NOW, attempted=s.fingerprint)
        for key, s in desired_states(old).items()
    }
    return set(decide(desired_states(new), states, NOW, set(), EVERYTHING).request)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_edited_value_of_any_workload_asks_for_that_workload_alone(name: str) -> None:
    lab = example(name)
    for key, workload in lab.workloads.items():
        edited = workload.model_copy(update={"values": {**workload.values, "edited": True}})
        new = lab.model_copy(update={"workloads": {**lab.workloads, key: edited}})
        assert asked(lab, new) == {f"workload/{key}"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_edited_service_of_any_host_asks_for_that_host_alone(name: str) -> None:
    lab = example(name)
    for key, host in lab.hosts.items():
        edited = host.model_copy(update={"services": {**host.services, "edited": {"on": True}}})
        assert asked(lab, lab.model_copy(update={"hosts": {**lab.hosts, key: edited}})) == {f"host/{key}"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_another_method_of_any_backup_asks_for_it_and_its_drill(name: str) -> None:
    lab = example(name)
    for key, backup in lab.backups.items():
        edited = backup.model_copy(update={"schedule": "1 2 3 4 *"})
        expected = {f"backup/{key}", f"drill/{key}"} if backup.drill else {f"backup/{key}"}
        assert asked(lab, lab.model_copy(update={"backups": {**lab.backups, key: edited}})) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_asked_for_when_nothing_was_edited(name: str) -> None:
    assert asked(example(name), example(name)) == set()
