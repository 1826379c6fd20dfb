"""The embedded site with its real servers (without Dagster, which test_site_graph.py starts): up, down, and trouble."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.seaweedfs import GRPC_OFFSET
from homelab_platform.servers.site import checks
from homelab_platform.servers.site.files import Layout
from homelab_platform.servers.site.site import SiteStatus, down, open_site, restart, running, status, up
from homelab_platform.servers.supervise import launch, processes
from homelab_platform.servers.supervise.spec import load_state
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.postgres import connect

pytestmark = pytest.mark.servers

LAB = "test-lab"


def start(**settings: object) -> SiteStatus:
    return up(Path("lab.yaml"), lab_name=LAB, dagster=False, **settings)  # type: ignore[arg-type]


def server_processes(layout: Layout) -> list[psutil.Process]:
    state = load_state(layout.run)
    assert state is not None
    tops = [psutil.Process(state.pid), *(psutil.Process(c.pid) for c in state.children.values())]
    return [process for top in tops for process in (top, *top.children(recursive=True))]


def write_something(number: int) -> None:
    site = open_site(LAB)
    with closing(connect(site.lakehouse.postgres, autocommit=True)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))
    with ObjectStore(site.lakehouse.objects) as store:
        store.put(site.lakehouse.raw_bucket, f"kept/{number}", b"%d" % number)


def what_was_written() -> tuple[list[int], list[bytes]]:
    site = open_site(LAB)
    with closing(connect(site.lakehouse.postgres)) as connection:
        rows = [int(row[0]) for row in connection.execute("SELECT n FROM kept ORDER BY n").fetchall()]
    with ObjectStore(site.lakehouse.objects) as store:
        bucket = site.lakehouse.raw_bucket
        return rows, [store.get(bucket, found.key) for found in store.list(bucket, "kept/")]


@pytest.mark.slow
def test_what_was_stored_is_there_after_down_and_up(layout: Layout) -> None:
    said: list[str] = []
    first = start(progress=said.append)
    assert first.running and first.memory > 0
    assert [server.name for server in first.servers] == ["postgres", "objects"]
    assert "postgres answers" in said
    write_something(1)
    assert layout.secrets_file.stat().st_mode & 0o077 == 0
    pids = [process.pid for process in server_processes(layout)]
    assert down(layout.root) is True
    assert [pid for pid in pids if processes.start_of(pid)] == []
    assert down(layout.root) is False
    assert status(layout.root).running is False
    assert running(LAB) is None
    again = start()
    assert [server.port for server in again.servers] == [server.port for server in first.servers]
    assert what_was_written() == ([1], [b"1"])


@pytest.mark.slow
def test_a_running_site_is_left_alone_and_listens_on_this_machine_only(layout: Layout) -> None:
    first = start()
    again = start()
    assert [server.pid for server in again.servers] == [server.pid for server in first.servers]
    listening = [
        connection.laddr.ip
        for process in server_processes(layout)
        for connection in process.net_connections("inet")
        if connection.status in {psutil.CONN_LISTEN, psutil.CONN_NONE}
    ]
    assert len(listening) >= 9
    assert set(listening) == {"127.0.0.1"}
    site = open_site(LAB)
    password, secret = site.lakehouse.postgres.password, site.lakehouse.objects.secret_key
    commands = " ".join(word for process in server_processes(layout) for word in process.cmdline())
    logs = "".join(file.read_text(errors="replace") for file in layout.logs.iterdir())
    assert password not in commands + logs + repr(site)
    assert secret not in commands + logs + repr(site)


def started_again(layout: Layout) -> bool:
    state = launch.live_state(layout.run)
    return state is not None and all(c.generation == 2 and c.state == "running" for c in state.children.values())


@pytest.mark.slow
def test_killed_servers_come_back_with_everything_that_was_acknowledged(layout: Layout) -> None:
    start()
    site = open_site(LAB)
    acknowledged = []
    with ObjectStore(site.lakehouse.objects) as store:
        for number in range(60):
            store.put(site.lakehouse.raw_bucket, f"o/{number:03}", b"%d" % number * 100)
            acknowledged.append(f"o/{number:03}")
            if number == 40:
                state = load_state(layout.run)
                assert state is not None
                os.kill(state.children["objects"].pid, signal.SIGKILL)
                os.kill(state.children["postgres"].pid, signal.SIGKILL)
                assert processes.wait_until(lambda: started_again(layout), 60)
        found = {
            info.key: store.get(site.lakehouse.raw_bucket, info.key) for info in store.list(site.lakehouse.raw_bucket)
        }
    assert found == {f"o/{number:03}": b"%d" % number * 100 for number in range(60)}
    write_something(1)
    after = status(layout.root)
    assert after.running
    assert [server.restarts for server in after.servers] == [1, 1]


@pytest.mark.slow
def test_after_a_kill_of_the_supervisor_up_converges_on_one_set_of_servers(layout: Layout) -> None:
    start()
    write_something(1)
    before = load_state(layout.run)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.is_running(before.pid, before.start), 10)
    looked = status(layout.root)
    assert looked.running is False
    assert {server.state for server in looked.servers} == {"unsupervised"}
    said: list[str] = []
    start(progress=said.append)
    assert "stopped what an earlier start left running" in said
    assert not any(processes.is_running(child.pid, child.start) for child in before.children.values())
    assert what_was_written() == ([1], [b"1"])
    after = load_state(layout.run)
    assert after is not None
    os.kill(after.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.is_running(after.pid, after.start), 10)
    assert down(layout.root) is True


UP = f"""
from pathlib import Path
from homelab_platform.servers.site.site import up
print(up(Path("lab.yaml"), lab_name="{LAB}", dagster=False).running)
"""


@pytest.mark.slow
def test_of_two_ups_at_the_same_moment_one_starts_and_both_find_it_running(layout: Layout) -> None:
    both = [subprocess.Popen([sys.executable, "-c", UP], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].strip() for process in both]
    assert answers == ["True", "True"]
    log = (layout.logs / "supervisor.log").read_text()
    assert log.count("postgres: starting") == 1


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.25, 0.6, 1.5])
def test_ctrl_c_during_up_leaves_something_that_up_and_down_can_handle(layout: Layout, after: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", UP], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    if after == 1.5:
        assert start().running
        write_something(1)
    down(layout.root)
    assert processes.carrying(layout.mark) == []


@pytest.mark.slow
def test_one_server_is_restarted_by_name(layout: Layout) -> None:
    first = start()
    restart(layout.root, "postgres")
    second = status(layout.root)
    assert second.running
    assert second.servers[0].pid != first.servers[0].pid
    assert second.servers[1].pid == first.servers[1].pid
    with pytest.raises(HomelabError, match="no process nifi"):
        restart(layout.root, "nifi")


@pytest.mark.slow
def test_lost_credentials_are_made_anew_and_a_taken_port_is_replaced_without_losing_data(layout: Layout) -> None:
    start()
    write_something(1)
    old = open_site(LAB).lakehouse
    down(layout.root)
    layout.secrets_file.write_text("{ not json")
    said: list[str] = []
    with socket.socket() as taken, socket.socket() as also:
        for listener in (taken, also):  # connections of before may still linger on the ports
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", old.postgres.port))
        taken.listen()
        also.bind(("127.0.0.1", int(old.objects.url.rpartition(":")[2]) + GRPC_OFFSET))
        also.listen()
        start(progress=said.append)
        new = open_site(LAB).lakehouse
        assert new.postgres.port != old.postgres.port
        assert new.postgres.password != old.postgres.password
        assert new.objects.url != old.objects.url
        assert what_was_written() == ([1], [b"1"])
    assert any(f"port {old.postgres.port} of postgres is taken" in line for line in said)
    assert any("secrets.json was lost or damaged" in line for line in said)


def test_open_site_says_how_to_start_it(layout: Layout) -> None:
    with pytest.raises(HomelabError, match=f"the site of lab {LAB} is not running\n.*homelab up"):
        open_site(LAB)
    assert running(LAB) is None
    assert status(layout.root).servers == ()


def test_a_taken_ui_port_that_was_asked_for_is_refused(layout: Layout) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(HomelabError, match=f"127.0.0.1:{port}: another process listens there"):
            start(dagster_port=port)
    assert not layout.postgres.exists()


def test_a_full_disk_is_refused_before_anything_is_made(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10 << 30, 10 << 30, 100 << 20))
    with pytest.raises(HomelabError, match="only 100 MiB are free"):
        start()
    assert not layout.root.exists()


def test_data_of_another_postgresql_is_refused(layout: Layout) -> None:
    layout.postgres.mkdir(parents=True)
    (layout.postgres / "PG_VERSION").write_text("16\n")
    with pytest.raises(HomelabError, match=r"was made by PostgreSQL 16; this is PostgreSQL 18"):
        start()


@pytest.mark.parametrize("text", ["{", "[]", '{"lab": "x"}', '{"lab": "x", "lab_path": "y", "ports": {"ui": "no"}}'])
def test_a_damaged_site_file_is_named_with_what_to_do(layout: Layout, text: str) -> None:
    layout.make()
    layout.site_file.write_text(text)
    with pytest.raises(HomelabError, match=r"site.json: cannot be read(.|\n)*Move this one file away"):
        start()
    assert status(layout.root).running is False


def test_a_newer_site_file_is_refused(layout: Layout) -> None:
    layout.make()
    layout.site_file.write_text(json.dumps({"lab": LAB, "lab_path": "/x", "format": 99}))
    with pytest.raises(HomelabError, match="newer homelab"):
        start()


def test_a_folder_in_use_on_another_machine_is_refused_until_its_lock_is_stale(layout: Layout) -> None:
    layout.make()
    state = {"pid": 1, "start": "x", "host": "other-machine", "began": 0, "children": {}}
    (layout.run / "state.json").write_text(json.dumps(state))
    lock = layout.run / "supervisor.lock"
    lock.touch()
    with pytest.raises(HomelabError, match="in use on the machine other-machine"):
        start()
    os.utime(lock, (0, 0))
    checks.check_nobody_else(layout)


def test_a_folder_of_another_user_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.make()
    monkeypatch.setattr(os, "geteuid", lambda: layout.root.stat().st_uid + 1)
    with pytest.raises(HomelabError, match="belongs to another user"):
        start()


def test_a_data_folder_that_cannot_be_made_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    file = layout.root.parent / "file"
    file.touch()
    monkeypatch.setenv("HOMELAB_DATA", str(file))
    with pytest.raises(HomelabError, match=r"cannot make the site's data folder(.|\n)*HOMELAB_DATA"):
        start()
