"""The collector: what it measures, and that no reading is lost or changed by a crash, a dead bucket or a clock jump."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.agents.collector.main import Collector, WallClock, sample
from homelab_platform.agents.collector.stream import MachineStream, StreamOfLab, machine_stream
from homelab_platform.agents.collector.telemetry import Telemetry
from homelab_platform.agents.spool import Spool, whole_lines
from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DEAD = Lakehouse(
    PostgresEndpoint("127.0.0.1", 9, "nobody", "none", "none"), ObjectsEndpoint("http://127.0.0.1:9", "key", "secret")
)


def _lines(lakehouse: Lakehouse) -> dict[str, list[dict[str, Any]]]:
    """Every object of the raw bucket with its records."""
    with ObjectStore(lakehouse.objects) as store:
        return {
            found.key: [
                json.loads(line)
                for line in gzip.decompress(store.get(lakehouse.raw_bucket, found.key)).decode().splitlines()
            ]
            for found in store.list(lakehouse.raw_bucket)
        }


def _collector(
    lakehouse: Lakehouse | Callable[[], Lakehouse], spool: Spool, *, every: float = 10, **settings: Any
) -> Collector:
    get = lakehouse if callable(lakehouse) else lambda: lakehouse
    stream = MachineStream("machine", every, "home")
    return Collector(get, spool, Telemetry(device="pi-1"), stream=lambda: stream, **settings)


# What is measured


def test_a_sample_tells_processor_memory_disk_and_uptime_of_this_machine() -> None:
    found = {reading.sensor: reading for reading in sample(NOW, device="pi-1", site="home")}
    assert {"load_1m", "processes", "memory", "memory_available", "disk", "uptime"} <= set(found)
    assert all(reading.ts == NOW and reading.device == "pi-1" and reading.site == "home" for reading in found.values())
    assert 0 <= found["memory"].value <= 100
    assert found["memory_available"].unit == "B"


def test_rates_come_with_the_second_sample() -> None:
    telemetry = Telemetry(device="pi-1")
    first = {reading.sensor for reading in telemetry.sample(NOW)}
    time.sleep(0.05)
    second = {reading.sensor for reading in telemetry.sample(NOW)} - first
    assert all(name == "cpu" or name.startswith(("disk_read.", "disk_written.", "network_")) for name in second)
    assert not any(name.startswith(("disk_read.", "network_")) for name in first)


def test_a_pi_tells_throttling_and_voltage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncase "$1" in get_throttled) echo throttled=0x50005;; measure_volts) echo volt=0.8500V;; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    found = {r.sensor: r.value for r in Telemetry(device="pi", root=tmp_path).sample(NOW)}
    assert found["throttled_flags"] == 0x50005
    assert (found["under_voltage"], found["frequency_capped"], found["throttled"]) == (1, 0, 1)
    assert found["core_voltage"] == 0.85


def test_a_pi_whose_tool_fails_still_gives_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho 'VCHI initialization failed'; exit 255\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "proc").symlink_to("/proc")
    found = {r.sensor for r in Telemetry(device="pi", root=tmp_path).sample(NOW)}
    assert "memory" in found
    assert not {"throttled", "core_voltage"} & found


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_the_processors_thermometer_is_the_temperature_and_each_other_has_its_chips_name(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": "31850",
            "sys/class/hwmon/hwmon0/temp1_label": "Composite",
            "sys/class/hwmon/hwmon1/name": "cpu_thermal",
            "sys/class/hwmon/hwmon1/temp1_input": "48500",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": "48500",
        },
    )
    found = {r.sensor: r.value for r in Telemetry(device="pi", root=root).sample(NOW)}
    heat = {name: value for name, value in found.items() if name.startswith("temperature")}
    assert heat == {"temperature": 48.5, "temperature.cpu_thermal": 48.5, "temperature.nvme-Composite": 31.85}


def test_each_disk_is_told_once_where_it_is_mounted_first(tmp_path: Path) -> None:
    mounts = "/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /again ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/sdb1 /srv/media x 0 0"
    root = written(tmp_path, {"proc/mounts": mounts, "srv/media/file": "", "again/file": ""})
    found = {r.sensor for r in Telemetry(device="pi", root=root).sample(NOW)}
    assert {name for name in found if name.startswith("disk")} == {"disk", "disk.srv-media"}


def test_a_host_name_becomes_a_name_that_keys_may_hold() -> None:
    assert Telemetry(device="Büro Pi/1").device == "B-ro-Pi-1"


# Which stream

LAB = {
    "name": "pi-cluster",
    "streams": {
        "air": {"source": "mqtt", "sensors": {}},
        "machines": {
            "source": "machine",
            "source_settings": {"site": "cellar"},
            "sensors": {"cpu": {"every": 15.0}, "temperature": {"every": 30.0}},
        },
    },
}


def test_the_labs_machine_stream_gives_name_pace_and_place(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text(json.dumps(LAB))
    of_lab = StreamOfLab(tmp_path)
    assert of_lab() == MachineStream("machines", 15.0, "cellar")
    (tmp_path / "lab.json").write_text(json.dumps({"name": "pi-cluster", "streams": {}}))
    assert of_lab() == MachineStream("machine", 10.0, "pi-cluster")
    (tmp_path / "lab.json").write_text("{")
    assert of_lab().name == "machine"


def test_without_a_lab_the_readings_have_a_stream_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOMELAB_LAB", raising=False)
    assert StreamOfLab(tmp_path)() == MachineStream("machine", 10.0, tmp_path.name)
    assert machine_stream({}) == MachineStream()


# Clocks


def test_times_increase_though_the_clock_goes_back_a_little() -> None:
    moments = iter([NOW, NOW, NOW - timedelta(seconds=5), NOW + timedelta(seconds=1)])
    clock = WallClock(lambda: next(moments))
    made = [clock.now() for _ in range(4)]
    assert made == sorted(set(made))
    assert made[-1] == NOW + timedelta(seconds=1)


def test_a_clock_set_back_by_a_day_is_believed_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([NOW, NOW - timedelta(days=1)])
    clock = WallClock(lambda: next(moments))
    clock.now()
    assert clock.now() == NOW - timedelta(days=1)
    assert "set back by 1 day" in capsys.readouterr().err


# The spool


def test_a_line_torn_by_a_power_cut_is_not_sent(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(b'{"a":1}\n')
        spool.rotate()
        (file,) = spool.closed_files()
    with file.open("ab") as out:
        out.write(b'{"a":')
    assert whole_lines(file) == b'{"a":1}\n'


def test_a_full_spool_drops_the_oldest_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Spool(tmp_path, most_bytes=1000, file_bytes=100) as spool:
        for number in range(30):
            spool.append(b"%098d\n" % number)
        kept = b"".join(whole_lines(path) for path in spool.closed_files())
        assert len(kept) <= 1000
        assert kept.endswith(b"29\n")
        assert spool.dropped > 0
    assert "spool is full" in capsys.readouterr().err


def test_two_collectors_never_share_a_spool(tmp_path: Path) -> None:
    with Spool(tmp_path), pytest.raises(HomelabError, match="another collector"), Spool(tmp_path):
        pass


def test_a_full_disk_costs_the_sample_and_not_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Spool(tmp_path) as spool:
        collector = _collector(DEAD, spool)
        before = collector.take_sample()

        def full(_handle: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert collector.take_sample() == 0
        after = collector.take_sample()
        spool.rotate()
        kept = b"".join(whole_lines(path) for path in spool.closed_files())
    assert kept.count(b"\n") == before + after
    assert all(json.loads(line) for line in kept.splitlines())
    assert "No space left" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dead_bucket_makes_few_files_and_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Spool(tmp_path) as spool:
        collector = _collector(DEAD, spool, every=0.05, flush_every=0.05)
        runner = threading.Thread(target=collector.run)
        runner.start()
        time.sleep(2.5)
        collector.stop()
        runner.join(30)
        assert not runner.is_alive()
        spool.rotate()
        assert len(spool.closed_files()) == 2  # the one that was offered, and the one that grew since
    said = capsys.readouterr().err
    assert said.count("cannot upload") == 1
    assert "cannot reach the S3 server" in said


# With a bucket


@pytest.mark.servers
def test_a_flush_makes_one_object_under_the_contracts_key(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        collector = _collector(lakehouse, spool)
        count = collector.take_sample() + collector.take_sample()
        assert collector.flush() == 1
        assert spool.closed_files() == []
        assert collector.flush() == 0
        collector.close()
    ((key, records),) = _lines(lakehouse).items()
    stream, day, producer, name = key.split("/")
    assert (stream, producer) == ("machine", "pi-1")
    assert datetime.strptime(day, "%Y-%m-%d").year >= 2026
    assert name.endswith(".ndjson.gz")
    assert len(records) == count
    assert set(records[0]) <= {"ts", "device", "sensor", "value", "unit", "site", "quality"}


@pytest.mark.servers
def test_an_upload_whose_answer_was_lost_makes_the_same_object_again(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        collector = _collector(lakehouse, spool)
        collector.take_sample()
        spool.rotate()
        (file,) = spool.closed_files()
        data = file.read_bytes()
        collector.flush()
        file.write_bytes(data)  # the crash came between the acknowledgement and the deletion
        assert collector.flush() == 1
        assert spool.closed_files() == []
        collector.close()
    assert len(_lines(lakehouse)) == 1


@pytest.mark.servers
def test_what_was_spooled_while_the_bucket_was_away_arrives_whole(lakehouse: Lakehouse, tmp_path: Path) -> None:
    places = [DEAD, DEAD, lakehouse]
    with Spool(tmp_path) as spool:
        collector = _collector(lambda: places.pop(0) if len(places) > 1 else places[0], spool)
        count = 0
        for _ in range(2):
            count += collector.take_sample()
            with pytest.raises(HomelabError):
                collector.flush()
        count += collector.take_sample()
        assert collector.flush() == 2
        collector.close()
    records = [record for found in _lines(lakehouse).values() for record in found]
    assert len(records) == count
    assert len({(r["device"], r["sensor"], r["ts"]) for r in records}) == count


@pytest.mark.servers
def test_after_a_kill_the_next_start_sends_what_was_left(lakehouse: Lakehouse, tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib\n"
        "from homelab_platform.agents.collector.main import Collector\n"
        "from homelab_platform.agents.spool import Spool\n"
        "from homelab_platform.agents.collector.telemetry import Telemetry\n"
        "with Spool(pathlib.Path(sys.argv[1])) as spool:\n"
        "    print(Collector(lambda: None, spool, Telemetry(device='pi-1')).take_sample())\n"
        "    sys.stdout.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    with Spool(tmp_path) as spool:
        collector = _collector(lakehouse, spool)
        assert collector.flush() == 1
        collector.close()
    ((_, records),) = _lines(lakehouse).items()
    assert len(records) == int(done.stdout)


@pytest.mark.servers
@pytest.mark.slow
def test_the_first_readings_arrive_within_three_seconds_and_stopping_sends_the_rest(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    with Spool(tmp_path) as spool:
        collector = _collector(lakehouse, spool, every=0.2)
        runner = threading.Thread(target=collector.run)
        begin = time.monotonic()
        runner.start()
        while not _lines(lakehouse):
            assert time.monotonic() - begin < 10
            time.sleep(0.05)
        first = time.monotonic() - begin
        time.sleep(1)
        collector.stop()
        runner.join(30)
        assert spool.closed_files() == []
        assert spool.size == 0
    assert first < 3
    assert len(_lines(lakehouse)) == 2
    assert len({r["ts"] for records in _lines(lakehouse).values() for r in records}) >= 5


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_the_collector_stays_small() -> None:
    script = (
        "import sys\n"
        "import homelab_platform.agents.collector.main as m\n"
        "import homelab_platform.tools.objects.client as o\n"
        "from homelab_platform.tools.endpoints import ObjectsEndpoint\n"
        "o.ObjectStore(ObjectsEndpoint('http://127.0.0.1:9', 'a', 'b'))\n"
        "m.sample(__import__('datetime').datetime.now(__import__('datetime').UTC))\n"
        "heavy = {'pandas', 'pyarrow', 'numpy', 'dagster', 'duckdb', 'sqlalchemy'} & set(sys.modules)\n"
        "peak = next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "print(peak, *heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    size, *heavy = done.stdout.split()
    assert heavy == []
    assert int(size) < 60 * 1024


def test_a_wrong_folder_is_refused_by_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "homelab_platform.agents.collector.main", "--site", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "homelab up" in done.stderr
    assert "Traceback" not in done.stderr
