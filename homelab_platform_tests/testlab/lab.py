"""A lab to test on: started, used and taken apart by these functions.

Belongs here: what a test does with the lab as a whole. Not here: one host (host.py), Kubernetes on it (cluster.py),
how it is made (hosts.py, guardian.py).
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.paths import project_path
from homelab_platform.servers.supervise import launch, processes
from homelab_platform_tests.testlab import addresses, debian, guardian, hosts, requirements, store, watches
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.hosts import HostSpec, Place


@dataclass(frozen=True)
class TestLab:
    """A running lab."""

    __test__ = False

    place: Place

    @property
    def id(self) -> str:
        """Its name on this machine; part of the names of all that it made."""
        return self.place.id

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.place.folder

    @property
    def hosts(self) -> tuple[TestHost, ...]:
        """Its hosts, in the order of the specification."""
        return tuple(TestHost(self.place, spec) for spec in self.place.hosts)

    def host(self, name: str) -> TestHost:
        """One host. Raises KeyError when there is none of this name."""
        return {host.name: host for host in self.hosts}[name]

    def write_lab(self, target: Path) -> Path:
        """`examples/test-lab` in the folder `target`, with its addresses, its hosts' keys, and its own for people.

        Returns the lab file.
        """
        shutil.copytree(project_path("examples", "test-lab"), target, dirs_exist_ok=True)
        file = target / "lab.yaml"
        fixed, own = f"10.{addresses.PEOPLE}.", f"10.{self.place.addresses.number}."
        file.write_text(file.read_text().replace(fixed, own))
        for key in (target / "keys").glob("*.pub"):
            key.write_text(self.place.key.with_suffix(".pub").read_text())
        shutil.copyfile(self.place.known_hosts, target / "known_hosts")
        return file

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within: nobody else who asks for the same troubles the lab. Waits for its turn."""
        with launch.exclusive(self.folder / "alone.lock", timeout=600):
            yield

    def leave(self) -> None:
        """Use it no more: unless others do, or it is kept, it goes within a second or two."""
        store.leave(self.folder)

    def stop(self, patience: float = 60) -> None:
        """End it for everyone, and wait until nothing is left of it. Raises HomelabError after `patience` seconds."""
        stop(self.place, patience)


def start(
    key: str | None = None,
    *,
    specs: Sequence[HostSpec] = hosts.DEFAULT,
    number: int | None = None,
    keep: bool = False,
    progress: Say = silent,
) -> TestLab:
    """A running lab with these hosts, which let root in by SSH.

    `key` names it: processes that give the same one share it, and it goes with the last of them, however they end.
    Without one it is this call's own. `number` chooses its addresses (10.NUMBER.0.0/16); `keep` has it stay after
    this process, until it is stopped. Raises HomelabError when this machine cannot run one (requirements.py).
    """
    requirements.require(progress)
    base = debian.installed(progress)
    key = key or secrets.token_hex(8)
    place = _join(hashlib.sha256(key.encode()).hexdigest()[:6], tuple(specs), number, base, keep)
    lab = TestLab(place)
    with launch.exclusive(place.folder.parent / f".{place.id}.boot"):
        for host in lab.hosts:
            host.wait()
    return lab


def _join(lab_id: str, specs: tuple[HostSpec, ...], number: int | None, base: Path, keep: bool) -> Place:
    home = store.home()
    with launch.exclusive(home / ".lock"):
        guardian.sweep()
        folder = home / lab_id
        if store.guardian_of(folder) is not None:
            store.use(folder, keep=keep)
            return store.load(folder)
        taken = [place.addresses.number for place in store.all_labs()]
        chosen = addresses.free_number(taken) if number is None else number
        if chosen in taken or addresses.in_use(chosen):
            raise HomelabError.of(
                f"10.{chosen}.0.0/16", "is in use on this machine", "Stop the lab that has it: make test-lab-down."
            )
        return _begin(Place(lab_id, folder, addresses.Addresses(chosen), specs), base, keep)


def _begin(place: Place, base: Path, keep: bool) -> Place:
    """Make a lab and have its machines boot."""
    shutil.rmtree(place.folder, ignore_errors=True)
    watches.raise_limit()
    store.save(place)
    store.use(place.folder, keep=keep)
    try:
        hosts.prepare(place)
        for host in place.hosts:
            place.machine(host.name).write_plan(hosts.machine_plan(place, host, base))
        machines = {host.name: hosts.entry(place, host) for host in place.hosts}
        place.space.write_plan({"setup": hosts.lab_setup(place), "processes": machines})
        guardian.launch_guardian(place)
        _link_outside(place)
    except BaseException:
        stop(place)
        raise
    return place


def _link_outside(place: Place) -> None:
    """Let this side reach the lab: one link, which the kernel removes with the lab."""
    pid = place.space.pid()
    link, reach = place.outside_link, place.addresses
    script = [
        f"link add {link} type veth peer name outside netns {pid}",
        f"address add {reach.outside}/24 dev {link}",
        f"link set {link} up",
    ]
    nodes = [(i, host) for i, host in enumerate(place.hosts) if host.kube]
    script += [f"route add {reach.pods_of(i)} via {reach.machine(i)}" for i, _ in nodes]
    script += [f"route add {reach.services} via {reach.machine(i)}" for i, host in nodes if host.kube == "server"]
    with tempfile.TemporaryFile("w+") as batch:
        batch.write("\n".join(script) + "\n")
        batch.seek(0)
        subprocess.run(["ip", "-batch", "-"], stdin=batch, check=True, capture_output=True)
    if not processes.wait_until(lambda: _bridge_there(place), 5):
        raise HomelabError.of(
            f"test lab {place.id}", "made no network within 5 s", f"Look into {place.folder}/lab.log."
        )
    place.space.run("ip", "link", "set", "outside", "master", "lab0", "up", net_only=True)


def _bridge_there(place: Place) -> bool:
    return place.space.run("ip", "link", "show", "lab0", net_only=True, check=False).returncode == 0


def stop(place: Place, patience: float = 60) -> None:
    """End a lab for everyone, and wait until nothing is left of it. Raises HomelabError after `patience` seconds."""
    pid = store.guardian_of(place.folder)
    if pid is None:
        guardian.clear(place)
        return

    started = processes.start_of(pid)

    def gone() -> bool:
        guardian.reap()
        return processes.start_of(pid) != started or started is None

    processes.send(pid, signal.SIGTERM)
    if not processes.wait_until(gone, patience):
        raise HomelabError.of(
            f"test lab {place.id}", f"did not go within {patience:.0f} s", f"Process {pid} guards it."
        )
