"""A look notices each piece of a host's document that is taken away or altered; a deploy is honest about what it cannot
put back, logs in as people do before it is confirmed, and undoes what it wrote and nothing else.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.deploy import RolledBack
from homelab_platform.layers.hosts.state import State, differences
from homelab_platform.names import silent
from homelab_platform.paths import project_path
from homelab_platform_tests.layers.hosts.alterations import EFFECTIVE, Alteration, alterations
from homelab_platform_tests.layers.hosts.support import access_to, by_script, files_of, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

RUN_THEM = """
import json, subprocess, sys
rows = json.load(sys.stdin)
def look():
    done = subprocess.run(["python3", "-I", "-S", "/root/probe.py"], capture_output=True, text=True)
    return json.loads(done.stdout.rpartition("homelab-look:")[2])["state"]
found = [look()]
for harm, mend in rows:
    broke = subprocess.run(["sh", "-c", harm], capture_output=True, text=True)
    found.append([look(), broke.stderr[-200:]])
    healed = subprocess.run(["sh", "-c", mend], capture_output=True, text=True)
print(json.dumps([*found, look()]))
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("look-1"),))
    yield running
    running.leave()


@pytest.fixture
def disk(hosts: TestLab, tmp_path: Path) -> Iterator[str]:
    """A blank disk that is plugged into the host."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    device = subprocess.run(
        ["losetup", "-f", "--show", image], check=True, capture_output=True, text=True
    ).stdout.strip()
    number = device.removeprefix("/dev/loop")
    plug = f"mkdir -p /dev/disk/by-id; mknod {device} b 7 {number}; ln -sf {device} /dev/disk/by-id/usb-x"
    inside = ["nsenter", "--target", str(_first_process(hosts, "look-1")), "--mount"]
    subprocess.run([*inside, "sh", "-c", plug], check=True)
    yield "/dev/disk/by-id/usb-x"
    hosts.host("look-1").ssh("umount /srv/data", check=False)
    subprocess.run(["losetup", "-d", device], check=True)


def _first_process(hosts: TestLab, name: str) -> int:
    """The host's systemd, as this side numbers it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status, group = (process / "status").read_text(), (process / "cgroup").read_text()
        except OSError:
            continue
        numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid")), [])
        if "Name:\tsystemd\n" in status and f"{hosts.id}/{name}/host" in group and numbers[-1:] == ["1"]:
            return int(process.name)
    raise AssertionError(name)


def _lab(hosts: TestLab, folder: Path, disk: str) -> ResolvedLab:
    host: dict[str, Any] = {
        "board": "pi5-8gb",
        "os": "raspios",
        "address": hosts.host("look-1").address,
        "disks": {"sd": "32Gi", "usb": {"size": "1Gi", "device": disk, "mount": "/srv/data"}},
        "services": {"chrony": {}, "unattended-upgrades": {}},
    }
    return lab_file(hosts, folder, hosts={"look-1": host}, workloads={}, streams={})


@pytest.mark.timeout(1800)
def test_a_host_is_what_the_look_says_of_it(hosts: TestLab, tmp_path: Path, disk: str) -> None:
    """One host, from a deploy that must not be confirmed to every alteration of what one confirmed; each step needs the
    one before.
    """
    host, lab = hosts.host("look-1"), _lab(hosts, tmp_path, disk)
    adapter = HostAdapter(lab, access_to(hosts, tmp_path, user=host.user, within=60))
    _a_deploy_that_shuts_a_person_out_is_undone_and_nothing_else(host, adapter)
    desired = state_of(lab, "look-1")
    adapter.change(desired, adapter.probe(desired), silent)
    assert adapter.probe(desired).matches(desired), adapter.probe(desired).differences
    _every_alteration_is_noticed(host)
    _nothing_new_leads_to_root_by_a_deploy(host, adapter)
    assert adapter.probe(desired).matches(desired), adapter.probe(desired).differences


def _a_deploy_that_shuts_a_person_out_is_undone_and_nothing_else(host: TestHost, adapter: HostAdapter) -> None:
    """AllowUsers leaves ada out: only who tries to log in as her finds out. Others write meanwhile."""
    host.ssh("echo 'AllowUsers root pi' >/etc/ssh/sshd_config.d/99-own.conf; systemctl reload ssh")
    before = files_of(host)
    others = (
        "mkdir -p /etc/rancher/k3s; echo kubeconfig >/etc/rancher/k3s/k3s.yaml; echo mine >>/etc/issue;"
        " useradd other; usermod -aG video pi"
    )
    desired = state_of(adapter.lab, "look-1")

    def meanwhile(text: str) -> None:
        if text.startswith("saved"):
            host.ssh(others)

    with pytest.raises(RolledBack, match=r"ada cannot log in: ada@\S+ Permission denied"):
        adapter.change(desired, adapter.probe(desired), meanwhile)
    assert host.ssh("cat /etc/rancher/k3s/k3s.yaml; tail -1 /etc/issue").stdout == "kubeconfig\nmine\n"
    assert "video" in host.ssh("id other >/dev/null && id -nG pi").stdout
    host.ssh("rm -r /etc/rancher /home/ada; sed -i '$d' /etc/issue; userdel other; gpasswd -d pi video")
    assert _without_leftovers(files_of(host)) == _without_leftovers(before)
    host.ssh("rm /etc/ssh/sshd_config.d/99-own.conf; systemctl reload ssh")


def _without_leftovers(text: str) -> list[str]:
    """Without the copies and locks that the tools for accounts keep."""
    return [
        line
        for line in text.splitlines()
        if not any(
            f"./{n}" in line for n in ("passwd-", "shadow-", "group-", "gshadow-", "subuid-", "subgid-", ".pwd.lock")
        )
    ]


def _every_alteration_is_noticed(host: TestHost) -> None:
    applied = orjson.loads(host.ssh("cat /var/lib/homelab/applied.json").stdout)
    state: State = applied["state"]
    assert set(state["effective"]) == set(EFFECTIVE), "each has its alteration"
    rows = list(alterations(state))
    for kind, names in state.items():
        missing = {name for name in names if (kind, name) not in {row.piece for row in rows}}
        assert kind == "root" or not missing, f"nothing alters {kind} {missing}"
    host.ssh("cat >/root/probe.py", text=project_path("homelab_platform", "tools", "host", "probe.py").read_text())
    host.ssh("cat >/root/run.py", text=RUN_THEM)
    done = host.ssh("python3 /root/run.py", text=orjson.dumps([[row.harm, row.mend] for row in rows]).decode())
    first, *found, last = orjson.loads(done.stdout)
    assert list(differences(applied, first, applied["setup"])) == []
    missed = [_missed(row, applied, now, said) for row, (now, said) in zip(rows, found, strict=True)]
    assert [line for line in missed if line] == []
    assert list(differences(applied, last, applied["setup"])) == [], "everything was put back"
    host.ssh("rm -rf /root/probe.py /root/run.py /root/kept* /root/links*")


def _missed(row: Alteration, applied: dict[str, Any], now: State, said: str) -> str:
    kind, name = row.piece
    if applied["state"][kind].get(name) == now[kind].get(name) or not list(differences(applied, now, applied["setup"])):
        return f"{kind} {name}: {row.what} {said}"
    return ""


def _nothing_new_leads_to_root_by_a_deploy(host: TestHost, adapter: HostAdapter) -> None:
    host.ssh("useradd -o -u 0 -s /bin/bash toor")
    desired = state_of(adapter.lab, "look-1")
    try:
        with pytest.raises(HomelabError, match=r"ways to become root[\s\S]*UID 0: toor"):
            adapter.change(desired, adapter.probe(desired), silent)
        assert not host.ssh("ls -d /var/lib/homelab/deploy/lock", check=False).stdout, "nothing was begun"
    finally:
        host.ssh("userdel -f toor")


def test_root_s_greeting_is_no_answer_and_does_not_hide_one(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("look-1"), lab_file(hosts, tmp_path)
    host.ssh("cp -p /root/.bashrc /root/kept; sed -i '1i echo welcome' /root/.bashrc")
    try:
        adapter = by_script(lab, access_to(hosts, tmp_path), ":")
        assert str(adapter.probe(state_of(lab, "look-1")).facts["system"]).startswith("Debian")
    finally:
        host.ssh("mv /root/kept /root/.bashrc", check=False)
