"""Plans and their screens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.plan.plan import Plan, judge, make_plan, only, with_elsewhere
from homelab_platform.plan.render import render
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.plan.state import AppliedState, Status
from homelab_platform.wire.json_types import Document
from homelab_platform_tests.plan.labs import small_lab, with_values

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def applied(lab: ResolvedLab, *, status: Status = "ok") -> dict[str, AppliedState]:
    """Everything of the lab applied a minute ago."""
    before = NOW - timedelta(minutes=1)
    return {
        key: AppliedState(key, s.fingerprint, s.document, before, before, status, attempted=s.fingerprint)
        for key, s in desired_states(lab).items()
    }


def plan_of(lab: ResolvedLab, states: dict[str, AppliedState]) -> Plan:
    return make_plan(desired_states(lab), states, site=EVERYTHING, lab=lab.name, now=NOW)


def test_on_an_empty_site_everything_within_reach_is_created_and_the_rest_is_listed_apart() -> None:
    plan = make_plan(desired_states(small_lab()), {}, site=CAPABILITIES[SiteKind.SMALL], now=NOW)
    assert {step.key for step in plan.pending} == {
        "flow/machine", "bucket/lake", "bucket/readings-raw", "table/sensor_data", "mart/hourly", "mart/daily",
    }  # fmt: skip
    assert all(step.action == "create" for step in plan.steps)
    assert set(plan.external or {}) == set(desired_states(small_lab())) - {step.key for step in plan.steps}
    assert plan.observed_at is None


def test_a_lab_that_is_as_it_should_be_has_nothing_pending() -> None:
    lab = small_lab()
    plan = plan_of(lab, applied(lab))
    assert plan.pending == ()
    assert render(plan).splitlines()[-1] == "Plan: nothing to do; the lab is as it should be."


def test_what_does_not_answer_is_named_and_never_called_as_it_should_be() -> None:
    lab = small_lab()
    states = applied(lab)
    key = next(key for key in states if key.startswith("host/"))
    states[key] = replace(states[key], status="unreachable", reason="does not answer")
    plan = plan_of(lab, states)
    assert plan.pending == ()
    assert f"  {key}  skip                does not answer" in render(plan).splitlines()
    assert render(plan).splitlines()[-1] == "Plan: nothing to do for what answers; 1 skipped, looked at again later."
    states[key] = replace(states[key], fingerprint="other", document={**states[key].document, "role": "other"})
    pending = plan_of(lab, states).step(key)
    assert pending is not None and (pending.action, pending.because) == ("update", "does not answer")


def test_an_edit_shows_its_values_its_danger_and_the_check_that_runs_again() -> None:
    lab = with_values(small_lab(), "trino", heap="1500M", limits={"query.maxMemoryPerNode": "450MB"})
    new = with_values(lab, "trino", heap="2G", limits={"query.maxMemoryPerNode": "600MB"})
    plan = plan_of(new, applied(lab))
    assert render(plan) == "\n".join(
        [
            "  workload/trino  update   restart    2 values",
            "      values.heap                               1500M → 2G",
            '      values.limits["query.maxMemoryPerNode"]   450MB → 600MB',
            "  check/trino     re-run              depends on workload/trino",
            f"  {len(plan.steps) - 1} others unchanged",
            "  As observed 60 s ago.",
            "Plan: 1 to change, 0 to delete. Nothing has been done; `homelab apply` does it.",
        ]
    )


def test_what_follows_a_changed_asset_is_run_again_and_says_why() -> None:
    lab = small_lab()
    backups = {name: b.model_copy(update={"method": "dump"}) for name, b in lab.backups.items()}
    plan = plan_of(lab.model_copy(update={"backups": backups}), applied(lab))
    drill = plan.step("drill/postgresql")
    assert drill is not None and drill.action == "update"
    table = lab.tables["default.sensor_data"].model_copy(update={"columns": {"battery": "double"}})
    plan = plan_of(lab.model_copy(update={"tables": {"default.sensor_data": table}}), applied(lab))
    assert [step.key for step in plan.pending] == ["table/sensor_data", "mart/hourly", "mart/daily"]
    assert "  mart/hourly        re-run              follows table/sensor_data" in render(plan).splitlines()


def test_what_left_the_lab_is_deleted_last_dependents_first_and_says_what_is_lost() -> None:
    lab = small_lab()
    new = lab.model_copy(update={"tables": {}, "marts": {}, "backups": {}, "streams": {}})
    plan = plan_of(new, applied(lab))
    deletes = [step for step in plan.steps if step.action == "delete"]
    assert plan.steps[-len(deletes) :] == tuple(deletes)
    keys = [step.key for step in deletes]
    assert keys.index("mart/daily") < keys.index("table/sensor_data") < keys.index("flow/machine")
    assert plan.danger == "data-loss"


@pytest.mark.parametrize(
    ("status", "action", "because"),
    [
        ("drifted", "update", "it drifted from the lab"),
        ("missing", "create", "it is gone from where it was"),
        ("failed", "update", "its last attempt failed"),
    ],
)
def test_what_was_observed_otherwise_is_put_back(status: Status, action: str, because: str) -> None:
    lab = small_lab()
    states = applied(lab)
    states["bucket/lake"] = replace(states["bucket/lake"], status=status)
    step = plan_of(lab, states).step("bucket/lake")
    assert step is not None
    assert (step.action, step.because) == (action, because)


@pytest.mark.parametrize(
    ("volumes", "danger", "because"),
    [({"data": {"size": 1}}, "data-loss", "it moves and begins empty; volume data stays in apps"), ({}, "restart", "")],
)
def test_a_workload_that_moves_is_not_taken_for_one_that_is_gone(
    volumes: dict[str, Any], danger: str, because: str
) -> None:
    before: Document = {"name": "web", "namespace": "apps", "volumes": volumes}
    state = AppliedState("workload/web", "a" * 64, before, status="missing")
    wanted = DesiredState("workload/web", "workload", {**before, "namespace": "new"}, fingerprint="b" * 64)
    step = judge(wanted, state)
    assert (step.action, step.danger, step.because) == ("replace", danger, because)


def test_a_plan_is_as_old_as_its_oldest_observation() -> None:
    lab = small_lab()
    states = applied(lab)
    states["bucket/lake"] = replace(states["bucket/lake"], observed_at=NOW - timedelta(hours=3))
    assert plan_of(lab, states).observed_at == NOW - timedelta(hours=3)
    assert "  As observed 3 h ago." in render(plan_of(lab, states)).splitlines()


def test_the_plan_as_json_has_each_step_with_its_differences() -> None:
    lab = small_lab()
    plan = plan_of(with_values(lab, "trino", replicas=3), applied(lab))
    document = orjson.loads(orjson.dumps(plan.to_dict()))
    step = next(step for step in document["steps"] if step["key"] == "workload/trino")
    assert step["changes"] == [{"path": "values.replicas", "old": 1, "new": 3}]
    assert document["counts"]["update"] == 1


def test_a_plan_can_be_cut_down_to_some_assets() -> None:
    lab = small_lab()
    new = with_values(with_values(lab, "trino", replicas=3), "minio", replicas=2)
    plan = only(plan_of(new, applied(lab)), {"workload/minio"})
    assert [step.key for step in plan.steps] == ["workload/minio"]
    assert [check.key for check in plan.rechecks] == ["check/minio"]


def test_an_edit_beyond_the_sites_reach_is_shown_but_never_pending() -> None:
    old = with_values(small_lab(), "trino", heap="1G")
    new = with_values(old, "trino", heap="2G")
    made = make_plan(desired_states(new), applied(new), site=CAPABILITIES[SiteKind.SMALL])
    shown = with_elsewhere(made, desired_states(new), desired_states(old))
    assert [step.key for step in shown.elsewhere] == ["workload/trino"]
    assert shown.pending == made.pending
    text = render(shown)
    assert "Of these, edited since the lab was last applied; not done from here:" in text
    assert "values.heap" in text
    assert "1G → 2G" in text
