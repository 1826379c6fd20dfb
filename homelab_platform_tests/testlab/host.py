"""A running host of the lab, as a test uses it: by SSH, and by its plug, its cable and its disk.

Belongs here: what happens to one host from outside. Not here: how it is made (hosts.py), the lab (lab.py).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise import launch, processes
from homelab_platform_tests.testlab import debian, hosts
from homelab_platform_tests.testlab.hosts import HostSpec, Place
from homelab_platform_tests.testlab.space import ran

BOOT = 120.0
"""Seconds within which a host answers by SSH; it takes three to five."""


@dataclass(frozen=True)
class TestHost:
    """A running host. `key` lets root and `user` in; `known_hosts` knows its key."""

    __test__ = False

    place: Place
    spec: HostSpec

    @property
    def name(self) -> str:
        """Its name: host name, Kubernetes node and, in a lab file, the host's key."""
        return self.spec.name

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return self.place.addresses.machine(self.place.index(self.name))

    @property
    def user(self) -> str:
        """The person on it who may use sudo."""
        return debian.ADMIN

    @property
    def key(self) -> Path:
        """The private key that it lets in."""
        return self.place.key

    @property
    def known_hosts(self) -> Path:
        """The file in which ssh finds its public key."""
        return self.place.known_hosts

    @property
    def root(self) -> Path:
        """Its file system as this side sees it. Raises HomelabError when it is off."""
        machine = self.place.machine(self.name)
        pid = machine.pid()
        if pid is None:
            raise HomelabError.of(self.name, "is off", "Plug it in first.")
        return Path(f"/proc/{pid}/root{machine.folder}/root")

    def ssh_command(self, user: str = "root", *, batch: bool = True) -> list[str]:
        """The words of ssh(1) up to the host's address: nobody's own settings are read."""
        options = {
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": "5",
            "BatchMode": "yes" if batch else "no",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *words, f"{user}@{self.address}"]

    def ssh(
        self, command: str, *, user: str = "root", check: bool = True, timeout: float = 60, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the host. Raises HomelabError with what it said when it fails and `check` is set."""
        done = ran([*self.ssh_command(user), command], text=text, timeout=timeout)
        if check and done.returncode:
            raise HomelabError.of(self.name, f"`{command}` failed ({done.returncode}): {done.stderr.strip()[-1000:]}")
        return done

    def answers(self) -> bool:
        """Whether its SSH server says who it is."""
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait(self, patience: float = BOOT) -> None:
        """Wait until it answers and lets us in.

        Raises HomelabError with the end of its console after `patience` seconds.
        """
        if not processes.wait_until(self._lets_in, patience, 0.1):
            folder = self.place.machine(self.name).folder
            end = "\n      ".join(launch.tail(folder / "machine.log", 5) + launch.tail(folder / "console.log", 10))
            raise HomelabError.of(self.name, f"no SSH within {patience:.0f} s", f"Its console ends:\n      {end}")

    def _lets_in(self) -> bool:
        return self.answers() and self.ssh("true", check=False).returncode == 0

    def unplug(self) -> None:
        """Pull the plug: every process of the machine is gone at once, and its network link with them."""
        lab, machine = self.place.space, self.place.machine(self.name)
        plan = lab.plan()
        plan["processes"].pop(self.name, None)
        lab.write_plan(plan)
        if not processes.wait_until(lambda: machine.pid() is None, 10):
            raise HomelabError.of(self.name, "could not be switched off within 10 s")

    def plug(self, *, wait: bool = True) -> None:
        """Plug it in again: it boots with the disk that it had. Safe to repeat."""
        lab = self.place.space
        plan = lab.plan()
        plan["processes"][self.name] = hosts.entry(self.place, self.spec)
        lab.write_plan(plan)
        if wait:
            self.wait()

    def reboot(self, *, wait: bool = True) -> None:
        """Have its systemd reboot it: the whole machine starts anew, its part in Kubernetes too."""
        machine = self.place.machine(self.name)
        before = machine.pid()
        self.ssh("systemctl reboot", check=False)
        if not processes.wait_until(lambda: machine.pid() not in {before, None}, BOOT):
            raise HomelabError.of(self.name, f"did not go down within {BOOT:.0f} s")
        if wait:
            self.wait()

    def link(self, *, up: bool) -> None:
        """Pull the network cable (`up=False`), or put it back; the host itself runs on."""
        name = f"m{self.place.index(self.name)}"
        self.place.space.run("ip", "link", "set", name, "up" if up else "down", net_only=True)

    def fill_disk(self, *, leave: int = 0) -> None:
        """Fill its disk with one file but for `leave` bytes; `empty_disk` takes the file away."""
        place = self.root / "var/tmp/filling"
        free = shutil.disk_usage(self.root).free
        with place.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(free - leave, 1))

    def empty_disk(self) -> None:
        """Undo `fill_disk`."""
        (self.root / "var/tmp/filling").unlink(missing_ok=True)

    def ask_sudo_password(self, password: str | None) -> None:
        """Have sudo ask `user` for this password; None: have it ask for none, as a fresh Raspberry Pi OS does."""
        file = f"/etc/sudoers.d/010_{self.user}-nopasswd"
        if password is None:
            self.ssh(f"cat >{file}", text=f"{self.user} ALL=(ALL) NOPASSWD: ALL\n")
            self.ssh(f"chmod 440 {file}")
        else:
            self.ssh(f"chpasswd && rm -f {file}", text=f"{self.user}:{password}\n")
