"""Secrets as files on a real host: as the lab says, anew when they change, gone with it, and seen nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedHost, ResolvedSecret
from homelab_platform.layers.hosts.access import HostAccess, Task
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.debian import DebianWay
from homelab_platform.names import silent
from homelab_platform.paths import PROJECT
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform_tests.layers.hosts.support import access_to, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]
CANARY = 'cAnArY-d41f\nsecond "line" {{ not_jinja }} $x'
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.fixture(scope="module")
def running() -> Iterator[TestLab]:
    started = testlab.start(specs=(HostSpec("s-1"),))
    yield started
    started.leave()


@pytest.fixture
def only_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The play of hosts with nothing but this role, so that a run takes seconds."""
    folder = tmp_path / "ansible"
    folder.mkdir()
    for entry in (PROJECT / "ansible").iterdir():
        (folder / entry.name).symlink_to(entry)
    text = (PROJECT / "ansible" / "host.yml").read_text()
    (folder / "host.yml").unlink()
    (folder / "host.yml").write_text(text[: text.index("  roles:")] + "  roles: [secrets]\n")
    monkeypatch.setattr(paths, "project_path", tmp_path.joinpath)


def secret(name: str, reference: str, **how: object) -> ResolvedSecret:
    return ResolvedSecret.model_validate(
        {"name": name, "reference": reference, "path": f"/var/lib/homelab/secrets/{name}", **how}
    )


@pytest.mark.usefixtures("only_secrets")
def test_files_come_change_and_go_with_the_lab(running: TestLab, tmp_path: Path) -> None:
    lab, machine = lab_file(running, tmp_path), running.host("s-1")
    (tmp_path / "app").write_text(CANARY)
    (tmp_path / "other").write_text("one line\n")
    access = replace(access_to(running, tmp_path), lab_folder=tmp_path)
    machine.ssh(f"printf '{UNIT}' >/etc/systemd/system/reads-it.service && systemctl start reads-it.service")
    wanted = {
        "app": secret("app", "file:app", group="video", mode="0440", units=("reads-it.service", "not-there.service")),
        "other": secret("other", "file:other", path="/etc/other/key"),
    }
    host = lab.hosts["s-1"].model_copy(update={"secrets": wanted})
    said: list[str] = []

    def deploy(to: ResolvedHost) -> list[str]:
        said.clear()
        task = Task(lab, to, access, "by-test", said.append)
        assert DebianWay().change(Ssh(access.target(lab, to), access.ssh), task) == ""
        return said

    deploy(host)
    assert machine.ssh("cat /var/lib/homelab/secrets/app").stdout == f"{CANARY}\n"
    assert machine.ssh("cat /etc/other/key").stdout == "one line"
    assert machine.ssh("stat -c '%a %U %G' /var/lib/homelab/secrets/app /etc/other/key").stdout.splitlines() == [
        "440 root video",
        "400 root root",
    ]
    first = machine.ssh("systemctl show -p MainPID reads-it.service").stdout
    assert deploy(host) == ["0 changed"]
    assert machine.ssh("systemctl show -p MainPID reads-it.service").stdout == first

    mark = access.secret_marks(host)
    (tmp_path / "app").write_text("new\n")
    assert access.secret_marks(host) != mark
    deploy(host)
    assert machine.ssh("cat /var/lib/homelab/secrets/app").stdout == "new"
    assert machine.ssh("systemctl show -p MainPID reads-it.service").stdout != first

    deploy(host.model_copy(update={"secrets": {"other": wanted["other"]}}))
    assert machine.ssh("ls /var/lib/homelab/secrets").stdout == ""
    deploy(host.model_copy(update={"secrets": {}}))
    assert machine.ssh("ls /etc/other /var/lib/homelab/secrets.json", check=False).stdout.split() == ["/etc/other:"]
    assert CANARY.splitlines()[0] not in machine.ssh("journalctl --no-pager --all --output=cat").stdout
    assert all(CANARY.splitlines()[0].encode() not in f.read_bytes() for f in (tmp_path / "state").glob("*"))


def test_a_reference_without_a_value_stops_before_anything_is_touched(running: TestLab, tmp_path: Path) -> None:
    lab = lab_file(running, tmp_path)
    host = lab.hosts["s-1"].model_copy(update={"secrets": {"app": secret("app", "file:gone")}})
    lab = lab.model_copy(update={"hosts": {**lab.hosts, "s-1": host}})
    access: HostAccess = replace(access_to(running, tmp_path), lab_folder=tmp_path)
    adapter, desired = HostAdapter(lab, access), state_of(lab, "s-1")
    with pytest.raises(HomelabError, match="file:gone"):
        adapter.change(desired, adapter.probe(desired), silent)
    assert running.host("s-1").ssh("ls /var/lib/homelab/undo* 2>/dev/null; true").stdout == ""
