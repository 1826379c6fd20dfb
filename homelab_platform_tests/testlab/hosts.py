"""Hosts of the lab: what one is, its own files, and how systemd-nspawn boots it.

Belongs here: one machine as an operating system. Not here: its part in Kubernetes (nodes.py), its life (lab.py).
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from homelab_platform_tests.testlab import cgroups, debian
from homelab_platform_tests.testlab.addresses import Addresses
from homelab_platform_tests.testlab.space import UNSHARE, Space

GIB = 1 << 30
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet wants of the whole machine. It is shown files that say so, and so changes nothing."""


@dataclass(frozen=True)
class HostSpec:
    """A host to make. `disk` in bytes; `kube` says what it is in the cluster."""

    name: str
    kube: Literal["server", "agent"] | None = None
    disk: int = GIB


DEFAULT: tuple[HostSpec, ...] = (HostSpec("pi-1", "server"), HostSpec("pi-2", "agent"), HostSpec("pi-3"))


@dataclass(frozen=True)
class Place:
    """A lab on this machine: its id, its folder, its addresses and its hosts."""

    id: str
    folder: Path
    addresses: Addresses
    hosts: tuple[HostSpec, ...]

    def index(self, name: str) -> int:
        """The number of a host, from 0."""
        return [host.name for host in self.hosts].index(name)

    def machine(self, name: str) -> Space:
        """The inside of a host's machine."""
        return Space(self.folder / "machines" / name)

    @property
    def space(self) -> Space:
        """The inside of the lab: the network between its machines, and their disks."""
        return Space(self.folder)

    @property
    def key(self) -> Path:
        """The private key that every host lets in, as root and as the admin."""
        return self.folder / "keys" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' public keys, as ssh reads them."""
        return self.folder / "keys" / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For people: `ssh -F FILE pi-1`."""
        return self.folder / "keys" / "ssh_config"

    @property
    def outside_link(self) -> str:
        """The network interface on this side."""
        return f"hl-{self.id}"


def prepare(place: Place) -> None:
    """Keys and each host's own files. Only once for a lab."""
    place.key.parent.mkdir(parents=True, mode=0o700)
    _make_key(place.key, "test-lab")
    known = []
    for host in place.hosts:
        seed = place.machine(host.name).folder / "seed"
        _write_seed(place, host, seed)
        public = (seed / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        known.append(f"{host.name},{place.addresses.machine(place.index(host.name))} {public[0]} {public[1]}\n")
    place.known_hosts.write_text("".join(known))
    names = "".join(f"Host {h.name}\n  HostName {place.addresses.machine(i)}\n" for i, h in enumerate(place.hosts))
    common = f"Host *\n  User {debian.ADMIN}\n  IdentityFile {place.key}\n  IdentitiesOnly yes\n"
    place.ssh_config.write_text(f"{names}{common}  UserKnownHostsFile {place.known_hosts}\n")


def _make_key(file: Path, comment: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _write_seed(place: Place, host: HostSpec, seed: Path) -> None:
    """The files in which this host differs from the base."""
    names = "".join(f"{place.addresses.machine(i)} {other.name}\n" for i, other in enumerate(place.hosts))
    files = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{names}",
        "etc/machine-id": f"{secrets.token_hex(16)}\n",
    }
    for name, text in files.items():
        (seed / name).parent.mkdir(parents=True, exist_ok=True)
        (seed / name).write_text(text)
    _make_key(seed / "etc/ssh/ssh_host_ed25519_key", host.name)
    for home, owner in (("root", 0), (f"home/{debian.ADMIN}", 1000)):
        folder = seed / home / ".ssh"
        folder.mkdir(parents=True)
        (folder / "authorized_keys").write_text(place.key.with_suffix(".pub").read_text())
        (folder / "authorized_keys").chmod(0o600)
        for entry in (folder.parent, folder, folder / "authorized_keys"):
            os.chown(entry, owner, owner)
        folder.parent.chmod(0o700)
        folder.chmod(0o700)


def lab_setup(place: Place) -> str:
    """The script that makes the network between the machines, and their disks, inside the lab."""
    lines = [
        "mount -t tmpfs -o mode=755 tmpfs /run",
        "mkdir -p /run/netns",
        "ip link set lo up",
        "ip link add lab0 type bridge",
        "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
        f"ip address add {place.addresses.gateway}/24 dev lab0",
        "ip link set lab0 up",
    ]
    for host in place.hosts:
        disk = shlex.quote(str(disk_of(place, host)))
        seed = shlex.quote(str(place.machine(host.name).folder / "seed"))
        lines += [
            f"mkdir -p {disk}",
            f"mount -t tmpfs -o size={host.disk},mode=755 tmpfs {disk}",
            f"mkdir {disk}/upper {disk}/work",
            f"cp -a {seed}/. {disk}/upper/",
        ]
    return "\n".join(lines)


def disk_of(place: Place, host: HostSpec) -> Path:
    """Where a host's changes to the base lie, inside the lab: its size limit is the host's disk."""
    return place.folder / "disks" / host.name


def entry(place: Place, host: HostSpec) -> dict[str, Any]:
    """The machine as the lab's first process runs it: a network of its own, and the machine's first process in it."""
    index = place.index(host.name)
    name, link = host.name, f"m{index}"
    inside = f"ip -n {name}"
    routes = [
        f"{inside} route add {place.addresses.pods_of(i)} via {place.addresses.machine(i)}"
        for i, other in enumerate(place.hosts)
        if other.kube and i != index
    ]
    before = [
        _remove_network(name, link),
        f"ip netns add {name}",
        f"ip link add {link} type veth peer name eth0 address {place.addresses.mac(index)} netns {name}",
        f"ip link set {link} master lab0 up",
        f"{inside} address add {place.addresses.machine(index)}/24 dev eth0",
        f"{inside} link set lo up",
        f"{inside} link set eth0 up",
        f"{inside} route add default via {place.addresses.gateway}",
        *routes,
    ]
    machine = place.machine(name)
    return {
        "command": ["nsenter", f"--net=/run/netns/{name}", "--", *UNSHARE, *machine.command()],
        "log": str(machine.folder / "machine.log"),
        "cgroup": f"{cgroups.top(place.id)}/{name}/system",
        "before": "\n".join(before),
        "after": _remove_network(name, link),
        "once": True,
    }


def _remove_network(name: str, link: str) -> str:
    return f"ip link delete {link} 2>/dev/null || :; ip netns delete {name} 2>/dev/null || :"


def machine_plan(place: Place, host: HostSpec, base: Path) -> dict[str, Any]:
    """What runs inside a machine: the operating system, whose end is the machine's."""
    return {"setup": _machine_setup(place, host, base), "processes": {"host": _system(place, host)}}


def _machine_setup(place: Place, host: HostSpec, base: Path) -> str:
    folder, disk = place.machine(host.name).folder, disk_of(place, host)
    root = folder / "root"
    pretend = "\n".join(
        f"if [ -e /proc/sys/{name} ]; then mkdir -p /run/sysctl/{Path(name).parent}; echo {value} >/run/sysctl/{name}; "
        f"mount --bind /run/sysctl/{name} /proc/sys/{name}; fi"
        for name, value in SYSCTLS.items()
    )
    return f"""hostname {host.name}
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/nspawn /run/netns /run/lock /run/var/upper /run/var/work {shlex.quote(str(root))}
{pretend}
mount -t overlay overlay -o lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work /var
mount -t overlay overlay -o {_layers(base, disk)} {shlex.quote(str(root))}
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
for group in /sys/fs/cgroup/*/{cgroups.top(place.id)}/{host.name}; do
  [ ! -d $group ] || find $group -depth -mindepth 1 -type d ! -path $group/system -exec rmdir {{}} + 2>/dev/null || :
done
"""


def _layers(base: Path, disk: Path) -> str:
    return shlex.quote(f"lowerdir={base},upperdir={disk}/upper,workdir={disk}/work")


def _system(place: Place, host: HostSpec) -> dict[str, Any]:
    folder = place.machine(host.name).folder
    options: Sequence[str] = (
        "--quiet",
        f"--machine={place.id}-{host.name}",
        "--register=no",
        "--keep-unit",
        f"--directory={folder / 'root'}",
        "--boot",
        "--console=read-only",
        "--network-namespace-path=/proc/1/ns/net",
        "--capability=CAP_NET_ADMIN",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        f"--hostname={host.name}",
    )
    return {
        "command": ["systemd-nspawn", *options],
        "log": str(folder / "console.log"),
        "cgroup": f"{cgroups.top(place.id)}/{host.name}/host",
        "ends": True,
    }
