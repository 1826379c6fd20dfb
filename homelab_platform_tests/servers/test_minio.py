"""MinIO as a site runs it: built from the locked source, on loopback alone, encrypting with a key that is kept."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers import minio
from homelab_platform.servers.install import shared
from homelab_platform.servers.supervise import launch, ports, processes
from homelab_platform.servers.supervise.spec import RunPlan
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.client import ObjectStore

ACCESS, SECRET = "the-root", "a-root-secret-of-a-test"


@dataclass(frozen=True)
class Running:
    """A MinIO of a test's own."""

    folder: Path
    run: Path
    port: int

    @property
    def pid(self) -> int:
        state = launch.live_state(self.run)
        assert state is not None
        return state.children["objects"].pid

    @property
    def endpoint(self) -> ObjectsEndpoint:
        return ObjectsEndpoint(f"http://127.0.0.1:{self.port}", ACCESS, SECRET)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    minio.installed()
    folder, run, mark = tmp_path / "minio", tmp_path / "run", f"HOMELAB_SUPERVISED={tmp_path}"
    minio.prepare(folder, ACCESS, SECRET)
    port = ports.choose(1)[0]
    launch.make_run_folder(run)
    plan = RunPlan(mark, str(tmp_path / "logs"), None, (minio.process(folder, port),))
    launch.start_supervisor(run, plan)
    try:
        launch.wait_for(run, tmp_path / "logs", ("objects",), timeout=60)
        yield Running(folder, run, port)
    finally:
        launch.stop_supervisor(run, mark, timeout=30)


@pytest.mark.servers
def test_it_listens_on_loopback_alone_and_shows_no_secret_among_its_arguments(running: Running) -> None:
    listening = subprocess.run(("ss", "-ltnpH"), capture_output=True, text=True, check=True).stdout
    own = [line.split()[3] for line in listening.splitlines() if f"pid={running.pid}," in line]
    assert f"127.0.0.1:{running.port}" in own
    assert set(own) <= {f"{address}:{running.port}" for address in ("127.0.0.1", "[::1]")}
    assert SECRET not in Path(f"/proc/{running.pid}/cmdline").read_text()


@pytest.mark.servers
@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_a_kill_and_encrypted_on_disk(running: Running) -> None:
    with ObjectStore(running.endpoint) as store:
        store.ensure_bucket("kept")
        store.set_encryption("kept", True)
        store.put("kept", "a", b"nobody reads this on the disk" * 10_000)
        processes.send(running.pid, 9)
        launch.wait_for(running.run, running.folder, ("objects",), timeout=60)
        assert store.get("kept", "a") == b"nobody reads this on the disk" * 10_000
    found = [file for file in (running.folder / "data" / "kept").rglob("*") if file.is_file()]
    assert found
    assert not any(b"nobody reads" in file.read_bytes() for file in found)


def test_preparing_again_keeps_the_encryption_key_and_losing_it_is_said(tmp_path: Path) -> None:
    minio.prepare(tmp_path, ACCESS, SECRET)
    key = tmp_path / minio.KEY_FILE
    before = key.read_text()
    minio.prepare(tmp_path, ACCESS, "another-secret")
    assert key.read_text() == before
    assert all(file.stat().st_mode & 0o077 == 0 for file in (key, tmp_path / minio.ENVIRONMENT_FILE))
    (tmp_path / "data" / ".minio.sys").mkdir()
    key.unlink()
    with pytest.raises(HomelabError, match="Put the file back"):
        minio.prepare(tmp_path, ACCESS, SECRET)
    assert not key.exists()


def test_without_go_it_says_so_and_points_at_seaweedfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(HomelabError, match=r"there is no Go[\s\S]*SeaweedFS"):
        minio.installed()
    assert shared.find(minio.RECIPE) is None


@pytest.mark.servers
def test_a_module_that_is_not_the_locked_one_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minio.installed()
    lock = tmp_path / "lock"
    shutil.copytree(minio.LOCK, lock)
    line = f"{minio.MODULE} v0.0.0-20260212201848-{minio.COMMIT} h1:"
    sums = (lock / "go.sum").read_text()
    assert line in sums
    at = sums.index(line) + len(line)
    (lock / "go.sum").write_text(sums[:at] + ("B" if sums[at] == "A" else "A") + sums[at + 1 :])
    monkeypatch.setenv("HOMELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(minio, "LOCK", lock)
    with pytest.raises(HomelabError, match="could not be built"):
        minio.installed()
    assert shared.find(minio.RECIPE) is None
