"""What a change does to a running lab."""

from __future__ import annotations

from typing import Any

import pytest

from homelab_platform.plan.danger import judge_delete, judge_update, kept_by_delete
from homelab_platform.plan.diff import diff

UPDATES: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("workload/trino", {"values": {"a": 1}}, {"values": {"a": 2}}, "update", "restart"),
    ("workload/trino", {"needs": ["a"]}, {"needs": ["b"]}, "update", "safe"),
    ("workload/monitoring", {"derived": {"scrape_targets": {}}}, {"derived": {"scrape_targets": {"a": "b"}}}, "update",
     "safe"),
    ("workload/db", {"volumes": {"data": {"size": 2}}}, {"volumes": {"data": {"size": 1}}}, "update", "data-loss"),
    ("workload/db", {"volumes": {"data": {"size": 1}}}, {"volumes": {"data": {"size": 2}}}, "update", "restart"),
    ("workload/db", {"volumes": {"data": {"size": 1}}}, {}, "update", "data-loss"),
    ("workload/db", {"volumes": {"d": {"storage_class": "nfs"}}}, {"volumes": {"d": {"storage_class": "local"}}},
     "update", "data-loss"),
    ("workload/db", {"namespace": "a"}, {"namespace": "b"}, "replace", "restart"),
    ("host/pi", {"users": ["a"]}, {"users": ["a", "b"]}, "update", "restart"),
    ("host/pi", {"os": "raspios"}, {"os": "nixos"}, "replace", "data-loss"),
    ("host/pi", {"disks": {"ssd": {"size": 5}}}, {}, "update", "data-loss"),
    ("cluster/k3s", {"version": "1"}, {"version": "2"}, "update", "restart"),
    ("cluster/k3s", {"nodes": {"a": {"labels": {}}}}, {"nodes": {"a": {"labels": {"x": "y"}}}}, "update", "safe"),
    ("cluster/k3s", {"datastore": "sqlite"}, {"datastore": "etcd"}, "replace", "data-loss"),
    ("bucket/raw", {"versioning": False}, {"versioning": True}, "update", "safe"),
    ("bucket/raw", {"expire_after": 30}, {"expire_after": 10}, "update", "data-loss"),
    ("bucket/raw", {"expire_after": 30}, {"expire_after": 60}, "update", "safe"),
    ("bucket/raw", {"expire_after": 30}, {}, "update", "safe"),
    ("bucket/raw", {}, {"expire_after": 30}, "update", "data-loss"),
    ("bucket/raw", {"keep": {"a/": 30}}, {"keep": {"a/": 10}}, "update", "data-loss"),
    ("bucket/raw", {"keep": {"a/": None}}, {"keep": {"a/": 10}}, "update", "data-loss"),
    ("bucket/raw", {"keep": {"a/": 30}}, {"keep": {"a/": None}}, "update", "safe"),
    ("bucket/raw", {"keep": {"a/": 30}}, {"keep": {"a/": 30, "new/": 10}}, "update", "safe"),
    ("bucket/raw", {"keep": {"a/": 30}}, {"keep": {}}, "update", "safe"),
    ("bucket/raw", {"size": 20}, {"size": 10}, "update", "data-loss"),
    ("table/t", {"columns": {}}, {"columns": {"battery": "double"}}, "update", "safe"),
    ("table/t", {"columns": {"battery": "double"}}, {"columns": {}}, "update", "data-loss"),
    ("table/t", {"columns": {"n": "int"}}, {"columns": {"n": "long"}}, "update", "safe"),
    ("table/t", {"columns": {"n": "long"}}, {"columns": {"n": "int"}}, "update", "data-loss"),
    ("table/t", {"keep": 100}, {"keep": 50}, "update", "data-loss"),
    ("mart/m", {"settings": {"a": 1}}, {"settings": {"a": 2}}, "update", "safe"),
    ("flow/f", {"prefix": "a"}, {"prefix": "b"}, "update", "safe"),
    ("backup/b", {"keep": {"daily": 7}}, {"keep": {"daily": 3}}, "update", "data-loss"),
    ("backup/b", {"schedule": "a"}, {"schedule": "b"}, "update", "safe"),
    ("image/pi", {"os": "raspios"}, {"os": "nixos"}, "replace", "safe"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "old", "new", "action", "danger"), UPDATES)
def test_an_update_is_judged_by_what_it_touches(
    key: str, old: dict[str, Any], new: dict[str, Any], action: str, danger: str
) -> None:
    assert judge_update(key, diff(old, new)) == (action, danger)


@pytest.mark.parametrize(
    ("key", "document", "danger"),
    [
        ("bucket/raw", {}, "data-loss"),
        ("table/sensor_data", {}, "data-loss"),
        ("workload/postgresql", {"stateful": True}, "data-loss"),
        ("workload/app", {"volumes": {"data": {}}}, "data-loss"),
        ("workload/app", {}, "restart"),
        ("host/pi", {"disks": {"ssd": {}}}, "data-loss"),
        ("mart/hourly", {}, "safe"),
        ("drill/db", {}, "safe"),
    ],
)
def test_taking_away_what_holds_data_is_a_loss_of_data(key: str, document: dict[str, Any], danger: str) -> None:
    assert judge_delete(key, document) == danger


def test_taking_a_workload_away_keeps_its_volumes() -> None:
    assert kept_by_delete("workload/app", {"volumes": {"data": {}, "media": {}}}) == ("volume data", "volume media")
    assert kept_by_delete("workload/app", {"stateful": True}) == ("its volumes",)
    assert kept_by_delete("workload/app", {}) == ()
    assert kept_by_delete("bucket/raw", {"volumes": {"data": {}}}) == ()
