"""What a host needs to become a node of the k3s cluster, and whether it became one: asked of the first server.

Belongs here: versions as they are observed, the token, joining. Not here: installing k3s (ansible/roles/k3s).
"""

from __future__ import annotations

import re
import shlex
import time

from homelab_platform.lab.k3s_versions import skew_complaint, upgrade_complaint
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.tools.ssh.client import Ssh

TOKEN_VARIABLE = "HOMELAB_K3S_TOKEN"  # noqa: S105 (a name)
"""In the environment of a play: the token by which the host joins (ansible/roles/k3s)."""
JOINS_WITHIN_SECONDS = 180.0
_VERSION = "[ ! -x /usr/local/bin/k3s ] || /usr/local/bin/k3s --version"
_FOLDER = "/var/lib/rancher/k3s/server"


class Joining:
    """One host on its way into the cluster, and the first server that it joins (None for the first server itself)."""

    def __init__(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess) -> None:
        self._host = host
        self._server: Ssh | None = None
        if host.node.get("join") and lab.cluster is not None:
            first = lab.hosts[lab.cluster.servers[0]]
            self._server = Ssh(access.target(lab, first), access.ssh)

    def complaint(self, ssh: Ssh) -> str:
        """Why the version that the lab names cannot follow what is observed; empty if it can, or nothing is asked."""
        if not self._host.node:
            return ""
        wanted = str(self._host.node["version"])
        running = observed_version(ssh)
        found = upgrade_complaint(running, wanted) if running else None
        if found is None and self._server is not None:
            server = observed_version(self._server)
            if not server:
                return f"{self._server.target.where} runs no k3s yet: it is the server to join"
            found = skew_complaint(server, wanted)
        return f"{found[0]}. {found[1]}" if found else ""

    def token(self) -> str:
        """The token by which the host joins; empty where none is needed.

        Raises HomelabError if the first server has none yet.
        """
        if self._server is None:
            return ""
        file = "token" if self._host.k3s == "server" else "node-token"
        return self._server.run(f"cat {_FOLDER}/{file}", doing="reading the token to join with").text.strip()

    def absence(self, seconds: float = JOINS_WITHIN_SECONDS) -> str:
        """Wait until the first server knows the node; why it does not, empty if it does."""
        if self._server is None:
            return ""
        asked = f"/usr/local/bin/k3s kubectl get node {shlex.quote(self._host.name)} -o name"
        until = time.monotonic() + seconds
        while True:
            done = self._server.run(asked, may_fail=(1,), doing="asking for the node")
            if done.code == 0 and done.text.strip() == f"node/{self._host.name}":
                return ""
            if time.monotonic() > until:
                return f"it did not join within {seconds:.0f} s: {self._host.node['unit']} there says why (journalctl)"
            time.sleep(2)


def observed_version(ssh: Ssh) -> str:
    """The version of the k3s that is installed there; empty if there is none."""
    match = re.search(r"k3s version (v\S+)", ssh.run(_VERSION, doing="asking for the version of k3s").text)
    return match[1] if match else ""
