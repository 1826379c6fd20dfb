"""SeaweedFS as a site runs it, against another account of the same machine: nothing but signed S3 gets in."""

from __future__ import annotations

import os
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.servers import seaweedfs
from homelab_platform.servers.supervise import launch
from homelab_platform.servers.supervise.spec import RunPlan, write_json
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.tools.objects.conformance.served import served

pytestmark = [pytest.mark.servers, pytest.mark.slow]
ACCESS, SECRET = "site-key", "a-secret-of-the-site"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, seaweedfs.SeaweedPorts]]:
    """A running one with an object in it."""
    folder = tmp_path_factory.mktemp("weed")
    run, mark, chosen = folder / "run", f"HOMELAB_SUPERVISED={folder}", seaweedfs.SeaweedPorts.choose()
    seaweedfs.prepare(folder / "objects", ACCESS, SECRET)
    write_json(folder / "secrets.json", {"signing": "k" * 40})
    launch.make_run_folder(run)
    spec = seaweedfs.process(folder / "objects", chosen, signing_key="signing")
    launch.start_supervisor(run, RunPlan(mark, str(folder / "logs"), str(folder / "secrets.json"), (spec,)))
    try:
        launch.wait_for(run, folder / "logs", ("objects",), timeout=90)
        with ObjectStore(ObjectsEndpoint(f"http://127.0.0.1:{chosen.s3}", ACCESS, SECRET)) as store:
            store.ensure_bucket("private")
            store.put("private", "diary", b"dear diary")
            assert store.get("private", "diary") == b"dear diary"
        yield folder / "objects", chosen
    finally:
        launch.stop_supervisor(run, mark, timeout=30)


def test_it_counts_as_up_only_once_what_it_holds_can_be_found(tmp_path: Path) -> None:
    with served("SeaweedFS", tmp_path / "weed") as killed, ObjectStore(killed.endpoint, retries=0) as store:
        store.ensure_bucket("kept")
        store.put("kept", "diary", b"dear diary" * 1000)
        for _ in range(6):  # its volume server misses the master's election at about every second start
            killed.kill()
            killed.start()
            assert store.get("kept", "diary") == b"dear diary" * 1000


def shell(chosen: seaweedfs.SeaweedPorts, commands: str, settings: Path, seconds: float) -> str:
    """What SeaweedFS's own shell gets done within some seconds, with the settings that lie in `settings`."""
    parts = (("master", chosen.master), ("filer", chosen.filer))
    places = [f"-{part}=127.0.0.1:{port}.{port + 10000}" for part, port in parts]
    command = [str(seaweedfs.binary()), "shell", *places]
    try:
        return subprocess.run(
            command,
            input=commands.encode(),
            cwd=settings,
            env={"HOME": "/nonexistent", "PATH": os.defpath},
            capture_output=True,
            timeout=seconds,
            check=False,
        ).stdout.decode()
    except subprocess.TimeoutExpired as late:  # it tries for ever to get in
        return (late.stdout or b"").decode()


def test_the_shell_without_a_certificate_does_nothing(server: tuple[Path, seaweedfs.SeaweedPorts]) -> None:
    folder, chosen = server
    assert "private" in shell(chosen, "fs.ls /buckets\n", folder, 30), "who has the certificate is let in"
    said = shell(chosen, "fs.ls /buckets\ns3.user.list\nvolume.list\nfs.rm -r /buckets/private\n", Path("/"), 6)
    assert "private" not in said
    assert "DataNode" not in said
    with ObjectStore(ObjectsEndpoint(f"http://127.0.0.1:{chosen.s3}", ACCESS, SECRET)) as store:
        assert store.get("private", "diary") == b"dear diary"


@pytest.mark.parametrize("path", ["/dir/status", "/vol/grow?count=1", "/col/delete?collection=private", "/dir/assign"])
def test_the_master_answers_nobody_without_a_certificate(
    server: tuple[Path, seaweedfs.SeaweedPorts], path: str
) -> None:
    _, chosen = server
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{chosen.master}{path}", timeout=5)
    assert refused.value.code == 400, "TLS is spoken here, and by certificate alone"
    refused.value.close()


@pytest.mark.parametrize("place", ["filer/buckets/private/diary", "filer/etc/iam/", "s3/private/diary"])
def test_http_without_a_signature_reads_nothing(server: tuple[Path, seaweedfs.SeaweedPorts], place: str) -> None:
    _, chosen = server
    part, _, path = place.partition("/")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{getattr(chosen, part)}/{path}", timeout=5)
    assert refused.value.code in {401, 403}
    refused.value.close()


def test_keys_are_for_the_owner_alone_and_stay_the_same(server: tuple[Path, seaweedfs.SeaweedPorts]) -> None:
    folder, _ = server
    for file in (folder / "security.toml", folder / "s3.json", folder / "tls" / "parts.pem", folder / "tls" / "ca.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = (folder / "security.toml").read_text(), (folder / "tls" / "parts.pem").read_bytes()
    seaweedfs.prepare(folder, ACCESS, SECRET)
    assert ((folder / "security.toml").read_text(), (folder / "tls" / "parts.pem").read_bytes()) == before
