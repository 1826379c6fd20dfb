"""How a site that steers a lab gets at its hosts and its cluster.

Belongs here: from what the site remembers (which key, which kubeconfig) to connections. Not here: SSH and Kubernetes
themselves (tools/), or what is done with them (layers/hosts/adapter.py, cluster.py, workloads.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.files import write_whole
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform.tools.ssh.target import SshAccess

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab

SSH_KEY, SSH_USER, NEW_HOSTS, KUBECONFIG = "ssh_key", "ssh_user", "new_hosts", "kubeconfig"
KNOWN_HOSTS = "known_hosts"
"""Beside the lab file: a lab's host keys are the same for everyone who looks after it."""
K3S_CONFIG = "/etc/rancher/k3s/k3s.yaml"
_LOOPBACK = re.compile(r"(server: https://)(127\.0\.0\.1|localhost|\[::1\])(:\d+)")


@dataclass(frozen=True)
class Reach:
    """The ways to one lab. `root` is the site's folder, `said` what the site remembers of them; the passwords of the
    lab's broker follow from `broker_secret`.
    """

    lab: ResolvedLab
    lab_folder: Path
    root: Path
    said: Mapping[str, str]
    broker_secret: str | None = field(default=None, repr=False)

    def hosts(self) -> HostAccess:
        """How hosts are reached: the key that was named, else this user's own; host keys as the lab knows them."""
        key = self.said.get(SSH_KEY)
        ssh = SshAccess(
            known_hosts=self.lab_folder / KNOWN_HOSTS,
            key=Path(key) if key else None,
            first_contact=self.said.get(NEW_HOSTS) or "refuse",
            sockets=self.root / "run" / "ssh",
        )
        packages = os.environ.get("HOMELAB_HOST_PACKAGES")
        return HostAccess(
            ssh,
            self.root / "hosts",
            user=self.said.get(SSH_USER) or None,
            packages=Path(packages) if packages else None,
            broker_secret=self.broker_secret,
            lab_folder=self.lab_folder,
        )

    def kubeconfig(self) -> Path:
        """The kubeconfig of the lab's cluster: the one that was named, else the first server's own, fetched over SSH.

        Raises HomelabError if there is no server to fetch it from, or what reaching it raises.
        """
        named = self.said.get(KUBECONFIG)
        if named:
            return Path(named)
        file = self.root / "kubeconfig"
        if not file.exists():
            self.fetch_kubeconfig(file)
        return file

    def fetch_kubeconfig(self, file: Path) -> None:
        """Write the first server's kubeconfig, with its address in the network, to `file` for the owner's eyes only.

        Raises Unreachable while there is none to fetch: hosts are looked at and set up all the same.
        """
        server = self._server()
        access = self.hosts()
        target = access.target(self.lab, server)
        doing = "fetching the cluster's kubeconfig"
        try:
            found = Ssh(target, access.ssh).run(f"cat {K3S_CONFIG}", doing=doing, fresh=True)
        except Unreachable:
            raise
        except HomelabError as error:
            problem = error.problems[0]
            remedy = problem.remedy or (
                f"Apply host/{server.name} first: it installs k3s unless the cluster says managed: false. "
                "Or name a kubeconfig: homelab up --kubeconfig FILE."
            )
            raise Unreachable.of(target.where, problem.what, remedy) from None
        write_whole(file, _LOOPBACK.sub(rf"\g<1>{target.address}\g<3>", found.text))

    def _server(self) -> ResolvedHost:
        servers = [host for _, host in sorted(self.lab.hosts.items()) if host.k3s == "server"]
        if not servers:
            raise HomelabError.of(
                "cluster", "the lab has no k3s server", "Say `k3s: server` at one of its hosts, or name a kubeconfig."
            )
        return servers[0]
