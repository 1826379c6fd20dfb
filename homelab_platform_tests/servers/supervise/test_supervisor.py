"""The supervisor, with small processes in place of servers: what it starts, restarts, stops and cleans up."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise import child, launch, processes
from homelab_platform.servers.supervise.memory import tree_rss
from homelab_platform.servers.supervise.spec import (
    RESTART_FOLDER,
    USERS_FOLDER,
    Answer,
    ChildState,
    Health,
    ProcessSpec,
    RunPlan,
    RunState,
)

SLEEP = ("sleep", "600")


class Folder:
    """A run folder of a test, and what its supervisor says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "run"
        self.logs = root / "logs"
        self.mark = f"HOMELAB_SUPERVISED={root}"
        launch.make_run_folder(self.run)

    def start(self, *specs: ProcessSpec, **settings: object) -> RunState:
        plan = RunPlan(self.mark, str(self.logs), str(self.root / "secrets.json"), specs, **settings)  # type: ignore[arg-type]
        launch.start_supervisor(self.run, plan)
        eventually(lambda: launch.live_state(self.run) is not None)
        return self.state()

    def spec(self, name: str, *command: str, **settings: object) -> ProcessSpec:
        return ProcessSpec(name, command or SLEEP, str(self.root), **settings)  # type: ignore[arg-type]

    def state(self) -> RunState:
        state = launch.live_state(self.run)
        assert state is not None
        return state

    def child(self, name: str) -> ChildState:
        return self.state().children[name]

    def wait(self, name: str, state: str = "running") -> ChildState:
        eventually(lambda: self.child(name).state == state)
        return self.child(name)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "a site")
    yield made
    launch.stop_supervisor(made.run, made.mark)
    assert processes.carrying(made.mark) == []


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    assert processes.wait_until(condition, seconds)


def gone(pid: int) -> bool:
    return processes.start_of(pid) is None


def test_processes_start_after_those_they_need_and_after_their_gate(folder: Folder) -> None:
    gate = folder.root / "gate"
    folder.start(
        folder.spec("last", after=("first",), gate=str(gate)),
        folder.spec("first"),
    )
    folder.wait("first")
    assert folder.child("last").state == "waiting"
    gate.touch()
    assert folder.wait("last").pid > folder.child("first").pid


def test_a_killed_process_is_started_again_and_the_fact_is_told(folder: Folder) -> None:
    folder.start(folder.spec("one"))
    before = folder.wait("one")
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: folder.child("one").generation == 2)
    after = folder.wait("one")
    assert after.pid != before.pid
    assert (after.ended, after.detail) == (1, "ended by signal 9")
    assert "one: ended by signal 9" in (folder.logs / "supervisor.log").read_text()


@pytest.mark.slow
def test_what_keeps_ending_is_tried_less_and_less_often_and_up_gives_up_with_its_last_words(folder: Folder) -> None:
    folder.start(folder.spec("bad", "sh", "-c", "echo no port for me; exit 3"))
    with pytest.raises(HomelabError) as caught:
        launch.wait_for(folder.run, folder.logs, ("bad",), timeout=30)
    assert "exited with 3" in str(caught.value)
    assert "no port for me" in str(caught.value)
    pauses = [line.split()[-2] for line in (folder.logs / "supervisor.log").read_text().splitlines() if "next" in line]
    assert pauses[:3] == ["0.5", "1.0", "2.0"]


def test_a_program_that_is_not_there_is_told_as_such(folder: Folder) -> None:
    folder.start(folder.spec("absent", "/no/such/program"))
    assert "No such file" in folder.wait("absent", "broken").detail


def test_an_answer_of_another_program_on_its_port_does_not_count(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        health = Health((Answer(port, ""),))
        folder.start(folder.spec("absent", port=port, health=health, start_timeout=1.0))
        eventually(lambda: folder.child("absent").detail == f"another program answers on its port {port}")
    assert "absent: running" not in (folder.logs / "supervisor.log").read_text()


def test_a_server_answers_also_by_a_process_of_its_own_in_another_group(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    serve = f"{sys.executable} -m http.server {port} --bind 127.0.0.1"
    spec = folder.spec("web", "sh", "-c", f"setsid {serve} & wait", port=port, health=Health((Answer(port, "/"),)))
    folder.start(spec)
    folder.wait("web")


def test_stopping_ends_whole_groups_in_reverse_order(folder: Folder) -> None:
    note = "trap 'echo {0} >> order; exit 0' TERM; sleep 600 & echo $! > {0}; wait"
    first = folder.spec("first", "sh", "-c", note.format("first"))
    second = folder.spec("second", "sh", "-c", note.format("second"), after=("first",))
    folder.start(first, second)
    folder.wait("second")
    eventually((folder.root / "second").exists)
    helpers = [int((folder.root / name).read_text()) for name in ("first", "second")]
    assert launch.stop_supervisor(folder.run, folder.mark) is True
    assert (folder.root / "order").read_text().split() == ["second", "first"]
    assert all(gone(pid) for pid in helpers)
    assert launch.stop_supervisor(folder.run, folder.mark) is False


def test_what_ignores_the_signal_is_killed_in_the_end(folder: Folder) -> None:
    folder.start(folder.spec("deaf", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", stop_timeout=0.5))
    pid = folder.wait("deaf").pid
    began = time.monotonic()
    launch.stop_supervisor(folder.run, folder.mark)
    assert gone(pid)
    assert time.monotonic() - began < 10


def test_orphans_of_a_killed_supervisor_are_ended_before_new_ones_start(folder: Folder) -> None:
    escape = "import os, time; os.fork() or os.setsid(); time.sleep(600)"
    folder.start(folder.spec("one", sys.executable, "-c", escape))
    state = folder.state()
    orphan = folder.wait("one").pid
    eventually(lambda: len(processes.carrying(folder.mark)) == 2)
    os.kill(state.pid, signal.SIGKILL)
    eventually(lambda: not processes.is_running(state.pid, state.start))
    assert not gone(orphan)
    folder.start(folder.spec("one"))
    assert folder.wait("one").pid != orphan
    assert gone(orphan)
    assert len(processes.carrying(folder.mark)) == 1


@pytest.mark.slow
def test_one_that_has_only_just_been_started_is_stopped_and_not_taken_for_a_dead_one(folder: Folder) -> None:
    """Ctrl-C during `homelab up` leaves such a one, and the next `up` comes at once."""
    for pause in (0.0, 0.05, 0.1, 0.2, 0.3):
        one = RunPlan(folder.mark, str(folder.logs), "", (folder.spec("one", "sleep", "601"),))
        first = launch.start_supervisor(folder.run, one)
        time.sleep(pause)
        assert launch.is_held(folder.run)
        assert launch.stop_supervisor(folder.run, folder.mark) is True
        assert gone(first)
        second = folder.start(folder.spec("one", "sleep", "602"))
        assert second.pid != first
        assert "602" in Path(f"/proc/{folder.wait('one').pid}/cmdline").read_text()
        launch.stop_supervisor(folder.run, folder.mark)


def test_a_supervisor_that_is_killed_before_its_first_word_is_noticed_at_once(folder: Folder) -> None:
    began = time.monotonic()
    plan = RunPlan(folder.mark, str(folder.logs), "", (folder.spec("one"),))
    os.kill(launch.start_supervisor(folder.run, plan), signal.SIGKILL)
    with pytest.raises(HomelabError, match="server supervisor: cannot start"):
        launch.wait_for(folder.run, folder.logs, ("one",), timeout=60)
    assert time.monotonic() - began < 5
    assert not launch.is_held(folder.run)


def test_a_recycled_pid_is_left_alone(folder: Folder) -> None:
    bystander = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        left = ChildState("one", "running", bystander.pid, "another-boot:1")
        RunState(2**22 + 1, "another-boot:1", "here", 0, {"one": left}).save(folder.run)
        assert launch.stop_supervisor(folder.run, folder.mark) is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_there_is_never_a_second_supervisor_on_a_folder(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    state = folder.start(folder.spec("one"))
    command = (
        "import homelab_platform.servers.supervise.supervisor as s; s.LOCK_PATIENCE = 0.2; raise SystemExit(s.main())"
    )
    second = subprocess.run(
        [sys.executable, "-c", command, str(folder.run)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 3
    assert "another supervisor holds this folder" in second.stderr
    assert folder.state().pid == state.pid


def test_one_process_can_be_restarted_on_request(folder: Folder) -> None:
    folder.start(folder.spec("one"), folder.spec("two"))
    one, two = folder.wait("one"), folder.wait("two")
    (folder.run / RESTART_FOLDER / "one").touch()
    launch.wake(folder.state())
    eventually(lambda: folder.child("one").generation == 2)
    assert folder.wait("one").pid != one.pid
    assert folder.child("two").pid == two.pid
    assert folder.child("one").ended == 0


def test_secrets_reach_the_process_but_neither_its_command_line_nor_the_plan_nor_a_log(folder: Folder) -> None:
    (folder.root / "secrets.json").write_text(json.dumps({"password": "pass-me-not"}))
    spec = folder.spec(
        "one", "sh", "-c", "echo ${#PGPASSWORD} > length; exec sleep 600", secrets={"PGPASSWORD": "password"}
    )
    folder.start(spec)
    pid = folder.wait("one").pid
    eventually((folder.root / "length").exists)
    eventually(lambda: (folder.root / "length").read_text() == "11\n")
    shown = Path(f"/proc/{pid}/cmdline").read_text() + "".join(p.read_text() for p in folder.run.glob("*.json"))
    assert "pass-me-not" not in shown + "".join(p.read_text() for p in folder.logs.iterdir())


@pytest.mark.slow
def test_it_ends_when_the_last_user_is_gone_and_removes_what_it_was_told_to(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = subprocess.Popen(SLEEP)
    (folder.run / USERS_FOLDER / str(user.pid)).write_text(processes.start_of(user.pid) or "")
    state = folder.start(folder.spec("one"), while_users=True, remove=str(folder.root))
    pid = folder.wait("one").pid
    user.kill()
    user.wait()
    eventually(lambda: not processes.is_running(state.pid, state.start), 40)
    assert gone(pid)
    assert not folder.root.exists()
    launch.make_run_folder(folder.run)


def test_it_stays_small(folder: Folder) -> None:
    state = folder.start(folder.spec("one"))
    folder.wait("one")
    assert tree_rss(state.pid, alone=True) < 25 << 20


def test_a_log_is_rolled_by_size_and_keeps_what_was_written(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    with log.open("ab") as writer:
        for number in range(6):
            writer.write(b"%d" % number * 100)
            writer.flush()
            child.roll(log, 50)
    kept = [(tmp_path / f"one.log.{n}").read_bytes()[:1] for n in (1, 2, 3)]
    assert kept == [b"5", b"4", b"3"]
    assert log.read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.log", "one.log.1", "one.log.2", "one.log.3"]


def test_a_process_has_no_variable_of_the_callers_shell_that_it_does_not_need(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "cAnArY-aws")
    monkeypatch.setenv("MQTT_PASSWORD_OF_LAB", "cAnArY-lab")
    monkeypatch.setenv("TZ", "UTC")
    folder.start(folder.spec("server"), folder.spec("reader", inherit=("MQTT_PASSWORD_OF_LAB",)))
    server, reader = (environment_of(folder.wait(name).pid) for name in ("server", "reader"))
    supervisor = environment_of(folder.state().pid)
    assert "AWS_SECRET_ACCESS_KEY" not in server | reader | supervisor
    assert "MQTT_PASSWORD_OF_LAB" not in server
    assert reader["MQTT_PASSWORD_OF_LAB"] == "cAnArY-lab"
    assert server["TZ"] == "UTC"


def test_what_a_process_writes_is_for_its_owner_alone(folder: Folder) -> None:
    made = folder.root / "made"
    folder.start(folder.spec("writer", "sh", "-c", "mkdir made && touch made/file && exec sleep 600"))
    eventually((made / "file").exists)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made, made / "file")] == [0o700, 0o600]


def environment_of(pid: int) -> dict[str, str]:
    """The variables of a running process."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)
