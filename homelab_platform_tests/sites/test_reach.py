"""How a site gets at its cluster before there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.errors import Unreachable
from homelab_platform.sites.reach import Reach
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform.tools.ssh.errors import CommandFailed
from homelab_platform_tests.plan.labs import small_lab


def test_a_server_without_k3s_keeps_the_cluster_waiting_and_not_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept every plan and apply from happening, so that no host could ever be set up to have one."""

    def refuse(ssh: Ssh, *_: object, **__: object) -> None:
        raise CommandFailed.of(ssh.target.where, "fetching the cluster's kubeconfig failed: No such file or directory")

    monkeypatch.setattr(Ssh, "run", refuse)
    reach = Reach(small_lab(), tmp_path, tmp_path, {"ssh_user": "root"})
    with pytest.raises(
        Unreachable, match=r"host/\S+[\s\S]*No such file[\s\S]*Apply host/\S+ first[\s\S]*--kubeconfig FILE"
    ):
        reach.kubeconfig()
    assert not (tmp_path / "kubeconfig").exists()
