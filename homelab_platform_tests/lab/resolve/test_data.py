"""From sensors to marts, and what protects them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from homelab_platform.lab.calendar import cron
from homelab_platform.lab.resolve.backups import uncovered
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform_tests.lab.helpers import resolved

DAY = 86_400
LAB = """\
lab: x
domain: example.org
timezone: Europe/London
network: {lan: 192.168.0.0/24, load_balancers: 192.168.0.200-250}
hosts:
  n1: {board: x86, cpu: 8, memory: 32Gi, os: nixos, address: 192.168.0.1, k3s: server, disks: {ssd: 1Ti}}
  n2: {board: pi5-8gb, os: raspios, address: 192.168.0.2, k3s: agent, services: [samba, grafana]}
  n3: {board: pi5-8gb, os: raspios, address: 192.168.0.3, k3s: agent}
  pi-hole: {board: pi3, os: raspios, address: 192.168.0.4, patching: {skip: true}}
  nas: {board: nas, os: external, address: 192.168.0.10}
workloads:
  nifi:
  mosquitto: {expose: 192.168.0.222}
  postgresql:
  cloudnative-pg:
  minio: {encrypted: at-rest, buckets: [photos]}
  kavita: {backup: none}
streams:
  rooms:
    from: {mqtt: sensors/+/rooms}
    devices: [kitchen, attic]
    sensors: {temperature: {unit: °C, range: [-40, 85], every: 10s}, door: }
    keep: {raw: 30d, table: 2y}
  meters: {from: {files: drop}, bucket: meters, table: energy.readings, columns: {tariff: string}, sensors: {power: W}}
  machine: {from: machine, keep: 90d}
backups:
  to: {nas: 'ssh://backup@192.168.0.10/v', far: {url: 's3://b@b2', key: env:ID, secret: env:KEY}}
  password: env:RESTIC
  nightly: {at: '02:30', keep: 7d, drill: weekly, but: [bucket/photos]}
patching: {window: first Sunday 03:00-06:00, canary: n3, blackout: 2026-12-20..2027-01-05}
"""


@pytest.fixture
def lab(tmp_path: Path) -> ResolvedLab:
    """A lab with three streams and nightly backups."""
    return resolved(tmp_path, LAB)


def test_streams_know_their_broker_their_way_and_their_place(lab: ResolvedLab) -> None:
    rooms = lab.streams["rooms"]
    assert (rooms.source, rooms.bucket, rooms.prefix) == ("mqtt", "readings-raw", "rooms/")
    assert rooms.source_settings["broker"] == "192.168.0.222"
    assert rooms.source_settings["via"] == "nifi"
    assert lab.streams["machine"].source_settings["via"] == "direct"
    assert (rooms.sensors["temperature"].low, rooms.sensors["temperature"].every) == (-40.0, 10.0)
    assert rooms.sensors["door"].unit == ""
    assert lab.streams["meters"].sensors["power"].unit == "W"
    assert rooms.devices == ("attic", "kitchen")


def test_buckets_belong_to_the_platform_to_streams_and_to_workloads(lab: ResolvedLab) -> None:
    assert lab.buckets["readings-raw"].keep == {"machine/": 90 * DAY, "rooms/": 30 * DAY}, "each stream its own"
    assert lab.buckets["lake"].owner == "platform"
    assert lab.buckets["meters"].owner == "meters"
    assert lab.buckets["meters"].keep == {"meters/": None}
    assert lab.buckets["photos"].owner == "minio"
    assert all(bucket.encrypted for bucket in lab.buckets.values())


def test_each_producer_writes_under_its_own_streams_and_readers_only_read(lab: ResolvedLab) -> None:
    may = {user: (grant.right, grant.under) for user, grant in lab.buckets["readings-raw"].access.items()}
    assert may == {"nifi": ("put", ("rooms/",)), "collector": ("put", ("machine/",)), "ingest": ("read", ("",))}
    lake = lab.buckets["lake"].access
    assert {user: grant.right for user, grant in lake.items()} == {
        "guest": "read",
        "ingest": "change",
        "trino": "change",
    }
    assert lake["guest"].under == ("marts/",)
    assert set(lab.buckets["photos"].access) == {"minio"}


def test_each_table_has_one_beside_it_for_what_is_no_reading(lab: ResolvedLab) -> None:
    assert set(lab.tables) == {
        "default.sensor_data", "default.sensor_data_rejected", "energy.readings", "energy.readings_rejected",
    }  # fmt: skip
    assert lab.tables["default.sensor_data"].streams == ("machine", "rooms")
    assert lab.tables["default.sensor_data"].keep == 730 * DAY
    assert lab.tables["energy.readings"].keep is None
    assert lab.tables["energy.readings"].columns == {"tariff": "string"}


def test_marts_read_the_tables_or_each_other(lab: ResolvedLab) -> None:
    assert set(lab.marts) == {"readings_hourly", "readings_daily", "device_health", "gaps", "anomalies"}
    assert lab.marts["readings_daily"].reads == lab.marts["readings_hourly"].reads
    assert lab.marts["readings_hourly"].reads == ("default.sensor_data", "energy.readings")
    assert lab.marts["gaps"].settings["every"] == {"temperature": 10.0}


def test_a_lab_without_streams_has_no_data(tmp_path: Path) -> None:
    empty = resolved(tmp_path, "lab: x\n")
    assert not (empty.buckets or empty.tables or empty.marts)
    assert {backup.item for backup in empty.backups.values()} == {"platform/dagster", "platform/secrets"}


def test_everything_that_holds_state_is_saved_by_its_own_method(lab: ResolvedLab) -> None:
    methods = {backup.item: backup.method for backup in lab.backups.values()}
    assert methods["workload/postgresql"] == "postgres"
    assert methods["cluster"] == "k3s-sqlite"
    assert methods["lake"] == "lake"
    assert methods["platform/secrets"] == "files"
    assert not {"table/sensor_data", "bucket/readings-raw", "bucket/lake"} & methods.keys()
    assert methods["host/n2"] == "files"
    assert "workload/kavita" not in methods
    assert "bucket/photos" not in methods
    assert "host/pi-hole" not in methods
    assert {b.targets for b in lab.backups.values()} == {("far", "nas")}
    assert lab.backups["postgresql"].keep == {"daily": 7}


def test_drills_are_spread_over_the_week_after_the_backups(lab: ResolvedLab) -> None:
    drills = [backup.drill for backup in lab.backups.values()]
    assert all(drill is not None and cron(drill) == drill for drill in drills)
    assert len({str(drill).split()[4] for drill in drills}) > 3
    assert all(int(str(drill).split()[1]) >= 4 for drill in drills)


def test_several_plans_make_several_backups(tmp_path: Path) -> None:
    text = LAB.replace(
        "  nightly:", "  weekly: {every: weekly, day: Sat, at: '01:00', to: nas, what: [postgresql]}\n  nightly:"
    )
    found = resolved(tmp_path, text).backups
    assert found["postgresql-weekly"].schedule == "0 1 * * 6"
    assert found["postgresql-weekly"].targets == ("nas",)
    assert found["postgresql-nightly"].schedule == "30 2 * * *"
    assert "cluster-weekly" not in found


def test_what_the_platform_holds_is_saved_without_a_plan_unless_one_leaves_it_out(tmp_path: Path) -> None:
    plan = "  weekly: {every: weekly, to: nas, what: [table/sensor_data], but: platform/dagster}"
    text = re.sub(r"  nightly: .*", plan, LAB)
    found = {backup.item: backup for backup in resolved(tmp_path, text).backups.values()}
    assert found["lake"].targets == ("nas",)
    assert (found["platform/secrets"].targets, found["platform/secrets"].keep) == ((), {"daily": 7})
    assert "platform/dagster" not in found


def test_what_has_state_and_no_backup_is_known(tmp_path: Path) -> None:
    assert uncovered(resolved(tmp_path, LAB)) == ["bucket/photos"]
    bare = re.sub(r"  nightly: .*", "  nightly: {what: [host/n2]}", LAB)
    found = uncovered(resolved(tmp_path, bare))
    assert {"cluster", "workload/postgresql"} <= set(found)
    assert not {"host/n2", "lake", "platform/secrets"} & set(found)


def test_targets_carry_references_only(lab: ResolvedLab) -> None:
    assert lab.targets["far"].credentials == {"key": "env:ID", "secret": "env:KEY", "password": "env:RESTIC"}
    assert lab.secrets["backups.to.far.key"] == "env:ID"


def test_hosts_are_patched_canary_first_servers_last_and_skipped_never(lab: ResolvedLab) -> None:
    assert lab.patching["order"] == ["n3", "n2", "n1"]
    assert lab.patching["steps"][0]["group"] == "canary"
    assert lab.patching["steps"][0]["window"]["text"] == "first Sunday 03:00-06:00"
    assert lab.patching["blackout"] == ["2026-12-20..2027-01-05"]
    assert lab.patching["timezone"] == "Europe/London"


def test_tasks_come_by_phase(tmp_path: Path) -> None:
    tasks = resolved(
        tmp_path, "lab: x\ntasks: {b: {title: two, phase: 2}, z: {title: one, phase: 1}, a: later}\n"
    ).tasks
    assert [task["name"] for task in tasks] == ["z", "b", "a"]
