"""A real Kubernetes on the lab's machines: started on running hosts, used and troubled by these functions.

Belongs here: bringing it up, its images, and what a test does to it. Not here: its processes' settings (nodes.py).
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install.helm import helm_binary, kubectl_binary
from homelab_platform.servers.supervise import launch
from homelab_platform_tests.testlab import manifests, programs, requirements
from homelab_platform_tests.testlab.images import Files, Image, make_image, make_images
from homelab_platform_tests.testlab.lab import TestLab
from homelab_platform_tests.testlab.nodes import PAUSE_IMAGE, SOCKET, Nodes
from homelab_platform_tests.testlab.space import ran

READY = "ready"
K3S_CONFIG = Path("/etc/rancher/k3s/k3s.yaml")
PATIENCE = 180.0
"""Seconds within which the cluster is there; it takes about fifteen."""


@dataclass(frozen=True)
class TestCluster:
    """A running cluster. `kubeconfig` may do everything in it."""

    __test__ = False

    lab: TestLab
    wiring: Nodes

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it holds its certificate, so it may be copied."""
        return self.wiring.admin

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes, the server's first; each is the name of a host of the lab."""
        return tuple(host.name for host in self.wiring.members)

    @property
    def server(self) -> str:
        """The node that carries the control plane."""
        return self.wiring.server.name

    def kubectl(
        self, *words: str, text: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator. Raises HomelabError with what it said when it fails and `check` is set."""
        command = [str(kubectl_binary()), f"--kubeconfig={self.kubeconfig}", *words]
        return _run(command, "kubectl", text=text, check=check, timeout=timeout)

    def helm(self, *words: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run helm as the administrator. Raises HomelabError with what it said when it fails and `check` is set."""
        command = [str(helm_binary()), f"--kubeconfig={self.kubeconfig}", *words]
        return _run(command, "helm", check=check, timeout=timeout)

    def get(self, *words: str) -> dict[str, Any]:
        """What `kubectl get … -o json` says."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json").stdout)
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply manifests, on the server's side. Raises HomelabError with what is refused."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=json.dumps(listed))

    def wait_for(self, what: str, condition: Callable[[], bool], patience: float = 60) -> None:
        """Wait until the condition holds. Raises HomelabError that names `what` after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise HomelabError.of(f"test lab {self.lab.id}", f"{what}: not within {patience:.0f} s")
            time.sleep(0.2)

    def is_ready(self, node: str) -> bool:
        """Whether the cluster counts this node as ready."""
        done = self.kubectl("get", "node", node, "-o", "json", check=False, timeout=10)
        if done.returncode:
            return False
        conditions = json.loads(done.stdout)["status"].get("conditions", ())
        return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)

    def bring(self, *images: Image | Path, nodes: Sequence[str] = ()) -> None:
        """Make images (or take archives of them) and bring them to these nodes, or to all."""
        folder = self.lab.folder / "images" / secrets.token_hex(4)  # two workers may bring the same image at once
        archives = [image for image in images if isinstance(image, Path)]
        made = [image for image in images if isinstance(image, Image)]
        archives += [make_images(made, folder)] if made else []
        pairs = [(node, archive) for node in nodes or self.nodes for archive in archives]
        with ThreadPoolExecutor(max(1, len(pairs))) as pool:
            list(pool.map(lambda pair: self._import(*pair), pairs))
        for archive in archives:
            if archive.is_relative_to(folder):
                archive.unlink()

    def _import(self, node: str, archive: Path) -> None:
        machine = self.lab.place.machine(node)
        # another test may have pulled its plug: it is plugged in again, or that test fails
        self.wait_for(f"{node} runs", lambda: _containerd_answers(self)(node), PATIENCE)
        machine.run("ctr", f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", str(archive), timeout=600)

    def logs(self, node: str) -> Path:
        """The folder with the logs of a node's processes (kubelet.log, kube-apiserver.log on the server, …)."""
        return self.wiring.node_folder(self.wiring.place.hosts[self.wiring.place.index(node)])

    def stop_processes(self, *names: str, node: str | None = None) -> None:
        """Kill processes of a node (the server, unless said) and keep them down (`kube-apiserver`, `kubelet`, …)."""
        self._run_on(node or self.server, frozenset(names))

    def start_processes(self, node: str | None = None) -> None:
        """Have everything run again on a node."""
        self._run_on(node or self.server, frozenset())

    @contextmanager
    def without_api(self) -> Iterator[None]:
        """Within: no API server. Afterwards it answers again."""
        self.stop_processes("kube-apiserver")
        try:
            yield
        finally:
            self.start_processes()
            self.wait_for("the API server answers again", self._api_answers)
            self.until_controllers_work()

    def until_controllers_work(self, patience: float = 120) -> None:
        """Wait until controllers act on what is new; after an outage each first waits for its lease to end.

        A new namespace has its service account once they do. Raises HomelabError after `patience` seconds.
        """
        space = f"probe-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", space)
        try:
            asked = ("get", "serviceaccount", "default", "-n", space)
            self.wait_for("controllers work", lambda: self.kubectl(*asked, check=False).returncode == 0, patience)
        finally:
            self.kubectl("delete", "namespace", space, "--wait=false")

    def _api_answers(self) -> bool:
        return self.kubectl("get", "--raw=/readyz", check=False, timeout=10).returncode == 0

    def _run_on(self, name: str, without: frozenset[str]) -> None:
        host = next(host for host in self.wiring.members if host.name == name)
        machine = self.lab.place.machine(name)
        plan = machine.plan()
        plan["processes"] = {"host": plan["processes"]["host"], **self.wiring.processes(host, without)}
        machine.write_plan(plan)


def _run(
    command: list[str], what: str, *, text: str | None = None, check: bool, timeout: float
) -> subprocess.CompletedProcess[str]:
    done = ran(command, text=text, timeout=timeout)
    if check and done.returncode:
        words = " ".join(word for word in command[1:] if not word.startswith("--kubeconfig"))
        raise HomelabError.of(f"{what} {words}", f"failed ({done.returncode})", done.stderr.strip()[-2000:])
    return done


def start_cluster(lab: TestLab, progress: Say = silent) -> TestCluster:
    """The cluster of a running lab, started first unless it runs: its server and its agents become nodes.

    Raises HomelabError when this machine lacks what it takes, or the cluster does not come up.
    """
    requirements.require(progress, cluster=True)
    helm_binary(progress)
    kube, addons = programs.kube(progress), programs.addons(progress)
    cluster = TestCluster(lab, Nodes(lab.place, kube, addons))
    with launch.exclusive(lab.folder / "cluster.lock"):
        if not (cluster.wiring.folder / READY).exists():
            _bring_up(cluster, addons)
            (cluster.wiring.folder / READY).touch()
    _leave_kubeconfig(cluster)
    return cluster


def _leave_kubeconfig(cluster: TestCluster) -> None:
    """Have the server keep the administrator's kubeconfig where k3s does (docs.k3s.io, Cluster Access)."""
    script = f"umask 077; mkdir -p {K3S_CONFIG.parent}; cat > {K3S_CONFIG}"
    server = f"https://{cluster.lab.host(cluster.server).address}:"
    own = cluster.kubeconfig.read_text().replace(server, "https://127.0.0.1:")
    cluster.lab.host(cluster.server).ssh(script, text=own)


def _bring_up(cluster: TestCluster, addons: Path) -> None:
    if not cluster.wiring.folder.exists():
        cluster.wiring.prepare()
    with ThreadPoolExecutor(2) as pool:
        made = pool.submit(_own_images, cluster, addons)
        for node in cluster.nodes:
            cluster.start_processes(node)
        archives = made.result()
        cluster.wait_for("containerd answers", lambda: all(map(_containerd_answers(cluster), cluster.nodes)), PATIENCE)
        brought = pool.submit(cluster.bring, *archives)
        cluster.wait_for("the API server answers", cluster._api_answers, PATIENCE)
        cluster.apply(*manifests.base(cluster.wiring.place.addresses))
        brought.result()
    cluster.wait_for("every node is ready", lambda: all(map(cluster.is_ready, cluster.nodes)), PATIENCE)
    cluster.kubectl("label", "node", cluster.server, "node-role.kubernetes.io/control-plane=true", "--overwrite")
    cluster.wait_for("the cluster's names are answered", lambda: _dns_ready(cluster), PATIENCE)


def _own_images(cluster: TestCluster, addons: Path) -> list[Path]:
    target = cluster.wiring.folder / "images"
    pause = Image(PAUSE_IMAGE, (Files({"pause": addons / "pause"}),), ("/pause",))
    names = Image(manifests.DNS_IMAGE, (Files({"addons": addons / "addons"}),), ("/addons", "dns"))
    return [make_image(image, target) for image in (pause, names)]


def _containerd_answers(cluster: TestCluster) -> Callable[[str], bool]:
    def answers(node: str) -> bool:
        command = ("ctr", f"--address={SOCKET}", "--timeout=2s", "version")
        machine = cluster.lab.place.machine(node)
        return machine.pid() is not None and machine.run(*command, check=False).returncode == 0

    return answers


def _dns_ready(cluster: TestCluster) -> bool:
    status = cluster.get("deployment", "coredns", "-n", "kube-system").get("status", {})
    return bool(status.get("readyReplicas"))
