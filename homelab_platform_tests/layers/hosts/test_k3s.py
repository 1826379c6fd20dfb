"""k3s by its role on real hosts: the first server, an agent, an upgrade, what is refused, a node that leaves.

k3s' own binary cannot be had where the tests run: a program of the same command line stands in (k3s_stand_in.py), which
keeps tokens, joins and versions as k3s does, and no Kubernetes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.deploy import RolledBack
from homelab_platform.names import silent
from homelab_platform_tests.layers.hosts.support import access_to, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

OLD, NEW, FAR = "v1.33.13+k3s1", "v1.34.9+k3s1", "v1.36.4+k3s1"


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("n-1"), HostSpec("n-2")))
    yield running
    running.leave()


def put_into_store(folder: Path, version: str, *, spoiled: bool = False) -> None:
    """A release as k3s publishes it: the program for amd64 and the list of checksums."""
    release = folder / "k3s" / version
    release.mkdir(parents=True, exist_ok=True)
    text = Path(__file__).with_name("k3s_stand_in.py").read_text().replace("v0.0.0", version)
    program = release / "k3s"
    program.write_text(text)
    (release / "sha256sum-amd64.txt").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  k3s\n")
    if spoiled:
        program.write_text(text + "\n# something else\n")


def deployed(hosts: TestLab, folder: Path, name: str, version: str, agent: str | None = "agent") -> None:
    """Deploy `name` of a lab with this version of k3s; raises RolledBack when that fails."""
    parts = {"n-1": "server", "n-2": agent}
    # a VM, not a Pi: a test host is amd64
    section = {
        host.name: {
            "board": "vm",
            "cpu": 2,
            "memory": "2Gi",
            "os": "debian",
            "address": host.address,
            **({"k3s": parts[host.name]} if parts[host.name] else {}),
        }
        for host in hosts.hosts
    }
    changes = {"workloads": {}, "streams": {}, "cluster": {"k3s": version, "disable": ["traefik"]}}
    lab = lab_file(hosts, folder / "lab", hosts=section, **changes)
    access = replace(access_to(hosts, folder, within=60), packages=folder / "store")
    adapter, desired = HostAdapter(lab, access), state_of(lab, name)
    adapter.change(desired, adapter.probe(desired), silent)
    assert adapter.probe(desired).matches(desired), adapter.probe(desired).differences


@pytest.mark.timeout(1800)
def test_nodes_come_up_join_are_upgraded_in_steps_and_leave(hosts: TestLab, tmp_path: Path) -> None:
    """One cluster from its first server on; each step needs the one before."""
    server, agent = hosts.host("n-1"), hosts.host("n-2")
    for version in (OLD, FAR):
        put_into_store(tmp_path / "store", version)
    put_into_store(tmp_path / "store", NEW, spoiled=True)
    with pytest.raises(RolledBack, match="runs no k3s yet: it is the server to join"):
        deployed(hosts, tmp_path, "n-2", OLD)

    deployed(hosts, tmp_path, "n-1", OLD)
    config = server.ssh("cat /etc/rancher/k3s/config.yaml").stdout
    assert "cluster-cidr: 10.42.0.0/16" in config and "disable:\n- traefik" in config
    assert server.ssh("stat -c %a /etc/rancher/k3s/config.yaml; systemctl is-active k3s").stdout == "600\nactive\n"

    deployed(hosts, tmp_path, "n-2", OLD)
    assert "n-2" in server.ssh("cat /var/lib/rancher/k3s/server/nodes.json").stdout
    token = server.ssh("cat /var/lib/rancher/k3s/server/node-token").stdout.strip()
    assert agent.ssh("cat /etc/rancher/k3s/token; stat -c ' %a' /etc/rancher/k3s/token").stdout == f"{token} 600\n"
    assert token not in agent.ssh("journalctl --no-pager --all --output=cat; cat /var/lib/homelab/*.json").stdout

    with pytest.raises(RolledBack, match=r"skips 2 minor versions\. Go to v1\.34"):
        deployed(hosts, tmp_path, "n-1", FAR)
    with pytest.raises(RolledBack, match="is newer than the server's"):
        deployed(hosts, tmp_path, "n-2", NEW)
    with pytest.raises(RolledBack, match=r"k3s v1\.34\.9\+k3s1 is not what sha256sum-amd64\.txt says"):
        deployed(hosts, tmp_path, "n-1", NEW)
    assert OLD in server.ssh("k3s --version; systemctl is-active k3s").stdout

    put_into_store(tmp_path / "store", NEW)
    deployed(hosts, tmp_path, "n-1", NEW)
    assert f"k3s version {NEW}" in server.ssh("k3s --version").stdout

    deployed(hosts, tmp_path, "n-2", NEW, agent=None)
    assert agent.ssh("systemctl is-active k3s-agent; ls /usr/local/bin/k3s", check=False).stdout == "inactive\n"
    assert agent.ssh("ls /etc/rancher/k3s").stdout == "config.yaml.d\n"
