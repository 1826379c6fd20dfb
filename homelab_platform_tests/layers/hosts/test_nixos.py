"""NixOS hosts: a system is tried, judged, and kept or left again, over real SSH.

Systems cannot be built here, so the host has recorded ones: store paths with what a deploy touches of a system
(switch-to-configuration and what it prints and links, nix-env's link of the profile). Look, copy, switch, health,
confirmation and rollback are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import Observation
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.deploy import RolledBack
from homelab_platform.layers.hosts.nixos import NixosWay
from homelab_platform.names import silent
from homelab_platform.tools.nix import SecretFile
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform_tests.layers.hosts.support import access_to, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

STORE = "/nix/store"
PROFILE = "/nix/var/nix/profiles/system"

SWITCH = """#!/bin/sh
# What switch-to-configuration leaves behind: `test` makes the system the running one, `boot` the one that starts next.
me=$(readlink -f "$(dirname "$0")/..")
case $1 in
  test) ln -sfn "$me" /run/current-system; echo "activating the configuration..." >&2; {activation} ;;
  boot) {boot}; ln -sfn "$me" /boot/default ;;
esac
"""
NIX_ENV = """#!/bin/sh
# nix-env --profile PROFILE --set SYSTEM | --switch-generation NUMBER
[ "$3" = --switch-generation ] && exec ln -sfn "$2-$4-link" "$2"
number=$(($(ls -d "$2"-*-link 2>/dev/null | wc -l) + 1))
ln -s "$4" "$2-$number-link" && ln -sfn "$2-$number-link" "$2"
"""


def record(host: TestHost, name: str, activation: str = "exit 0", boot: str = ":") -> str:
    """Lay a recorded system into the host's store; `activation` is what switching to it does there, `boot` what
    making it the default does besides."""
    system = f"{STORE}/{name}-nixos-system-{host.name}-25.11"
    host.ssh(f"mkdir -p {system}/bin {system}/sw/bin {PROFILE.rpartition('/')[0]} && echo {name} >{system}/kernel")
    files = {
        "bin/switch-to-configuration": SWITCH.replace("{activation}", activation).replace("{boot}", boot),
        "sw/bin/nix-env": NIX_ENV,
    }
    for file, text in files.items():
        host.ssh(f"cat >{system}/{file} && chmod 755 {system}/{file}", text=text)
    return system


def install(host: TestHost, system: str) -> None:
    """Have the host run a system as if it had been installed with it."""
    host.ssh(f"rm -rf {PROFILE}*; ln -s {system} {PROFILE}-1-link && ln -s {PROFILE}-1-link {PROFILE}")
    host.ssh(
        f"ln -sfn {system} /run/current-system; ln -sfn {system} /run/booted-system; ln -sfn {system} /boot/default"
    )
    host.ssh("mkdir -p /etc/homelab && echo cron.service >/etc/homelab/units")


@dataclass
class Recorded:
    """A builder whose systems lie at the host already."""

    path: str
    copied: bool = False
    files: Mapping[str, SecretFile] = field(default_factory=dict)

    def system(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]) -> str:
        return self.path

    def copy(self, system: str, ssh: Ssh, say: Callable[[str], None]) -> None:
        ssh.run(f"test -e {system}")
        self.copied = True

    def secrets(
        self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]
    ) -> Mapping[str, SecretFile]:
        return self.files


@pytest.fixture(scope="module")
def nixos() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("n-1"),))
    yield running
    running.leave()


def nixos_lab(running: TestLab, folder: Path) -> ResolvedLab:
    host = {"board": "pi5-8gb", "os": "nixos", "address": running.host("n-1").address, "k3s": "server"}
    return lab_file(running, folder, hosts={"n-1": host})


def standing(host: TestHost) -> list[str]:
    return host.ssh(f"readlink -f /run/current-system; readlink -f {PROFILE}; readlink -f /boot/default").stdout.split()


def test_a_system_that_is_well_becomes_the_one_that_runs_and_starts(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    old, new = record(host, "aaa"), record(host, "bbb")
    install(host, old)
    builder = Recorded(new)
    access = replace(access_to(nixos, tmp_path, user=host.user), broker_secret="a site's secret")
    adapter = HostAdapter(lab, access, NixosWay(builder))
    desired = state_of(lab, "n-1")
    before = adapter.probe(desired)
    assert not before.exists
    assert before.facts["generation"] == Path(old).name
    adapter.change(desired, before, silent)
    assert builder.copied
    assert adapter.probe(desired).matches(desired), adapter.probe(desired)
    assert standing(host) == [new, new, new]
    handed = host.ssh("stat -c '%a %U' /var/lib/homelab/collector.password; cat /var/lib/homelab/collector.password")
    assert handed.stdout == "600 root\n" + access.broker_password(lab.hosts["n-1"])

    host.ssh(f"ln -sfn {old} /run/current-system")
    drift = adapter.probe(desired).differences
    assert drift == (f"system running: {new} → {old}",), "somebody switched it by hand"
    said: list[str] = []
    adapter.change(desired, adapter.probe(desired), said.append)
    assert adapter.probe(desired).matches(desired)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("systemctl stop cron; exit 0", r"unit cron\.service is inactive"),
        ("echo 'Failed to start foo.service' >&2; exit 4", "switching ended with code 4: Failed to start foo"),
        (
            "nft add table inet cut;"
            " nft add chain inet cut input '{ type filter hook input priority 0; policy drop; }';"
            " nft add rule inet cut input ct state established accept; exit 0",
            "does not answer after the change",
        ),
    ],
    ids=["a unit that does not run", "an activation that fails", "a firewall that shuts us out"],
)
def test_a_system_that_is_not_well_is_left_again(nixos: TestLab, tmp_path: Path, harm: str, reason: str) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    old = record(host, "ccc", "systemctl start cron; nft delete table inet cut 2>/dev/null; exit 0")
    new = record(host, "ddd", harm)
    host.ssh("systemctl start cron; rm -f /var/lib/homelab/applied.json")
    install(host, old)
    access = access_to(nixos, tmp_path, within=8, connect_timeout=3)
    adapter = HostAdapter(lab, access, NixosWay(Recorded(new)))
    with pytest.raises(RolledBack, match=reason) as failed:
        adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    assert "was rolled back:" in str(failed.value)
    assert standing(host) == [old, old, old], "the boot loader never led elsewhere"
    assert host.ssh("systemctl is-active cron").stdout.strip() == "active"
    assert not adapter.probe(state_of(lab, "n-1")).exists, "no false success"


def test_secrets_are_laid_down_before_the_switch_and_never_half(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    folder = "/var/lib/homelab/secrets"
    old = record(host, "ppp")
    new = record(host, "qqq", f"cp {folder}/backup-keys /run/seen; exit 0")
    host.ssh(f"rm -rf /var/lib/homelab/applied.json {folder}")
    install(host, old)
    (tmp_path / "id").write_text("key-{secret}\n")
    (tmp_path / "word").write_text("s3cret $HOME 'x'\n")
    given = {"owner": "root", "group": "root", "mode": "0440", "units": ("cron.service",)}
    sources = {"id": "file:id", "secret": "file:word"}
    file = SecretFile(path=f"{folder}/backup-keys", sources=sources, template="ID={id}\nSECRET={secret}\n", **given)
    other = SecretFile(path="/run/secrets/other", sources={"value": "file:nothing"}, **given)
    access = replace(access_to(nixos, tmp_path), lab_folder=tmp_path)
    (tmp_path / "pem").write_text("-----BEGIN-----\nabc\n-----END-----\n")
    pem = SecretFile(path=f"{folder}/pem", sources={"value": "file:pem"}, **given)
    builder = Recorded(new, files={"backup-keys": file, "other": other, "pem": pem})
    adapter = HostAdapter(lab, access, NixosWay(builder))
    adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    said: list[str] = []
    adapter.change(state_of(lab, "n-1"), adapter.probe(state_of(lab, "n-1")), said.append)
    assert "0 changed" in said, "each is written once, so a second deploy restarts nothing"
    assert host.ssh("cat /run/seen").stdout == "ID=key-{secret}\nSECRET=s3cret $HOME 'x'\n"
    assert host.ssh(f"stat -c '%a %U:%G' {folder}/backup-keys {folder}").stdout.split() == [
        "440", "root:root", "711", "root:root",
    ]  # fmt: skip

    missing = Recorded(old, files={"a": file.model_copy(update={"path": f"{folder}/a"}), "b": SecretFile(
        path=f"{folder}/b", sources={"value": "file:nowhere"}, **given)})  # fmt: skip
    with pytest.raises(HomelabError, match="nowhere"):
        HostAdapter(lab, access, NixosWay(missing)).change(state_of(lab, "n-1"), Observation(False), silent)
    assert host.ssh(f"ls {folder}").stdout.split() == ["backup-keys", "pem"]
    assert standing(host) == [new, new, new]


def test_a_switch_outlives_the_connection_that_it_cuts(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    cut = (
        "pkill -KILL -u root -x sshd-session; pkill -KILL -f '^sshd(-session)?: '; sleep 2; echo still here >&2; exit 0"
    )
    old, new = record(host, "fff"), record(host, "ggg", cut)
    install(host, old)
    adapter = HostAdapter(lab, access_to(nixos, tmp_path, within=20, connect_timeout=3), NixosWay(Recorded(new)))
    adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    assert standing(host) == [new, new, new]


def test_a_generation_that_the_boot_loader_does_not_take_is_not_kept(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    full = "echo 'cannot copy the kernel: No space left on device' >&2; exit 1"
    old, new = record(host, "hhh"), record(host, "iii", boot=full)
    host.ssh("rm -f /var/lib/homelab/applied.json")
    install(host, old)
    adapter = HostAdapter(lab, access_to(nixos, tmp_path), NixosWay(Recorded(new)))
    with pytest.raises(RolledBack, match="the generation cannot be kept"):
        adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    assert standing(host) == [old, old, old], "profile and boot entry as well"
    assert host.ssh(f"readlink {PROFILE}").stdout.strip() == f"{PROFILE}-1-link"


def test_a_system_that_needs_a_restart_says_so(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    old, new = record(host, "jjj"), record(host, "kkk", "echo 'init is incompatible' >&2; exit 100")
    install(host, old)
    adapter = HostAdapter(lab, access_to(nixos, tmp_path), NixosWay(Recorded(new)))
    with pytest.raises(RolledBack, match="takes effect only by a restart"):
        adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    assert standing(host) == [old, old, old]


def test_another_machine_is_refused_before_anything_is_built(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    old, new = record(host, "lll"), record(host, "mmm")
    install(host, old)
    host.ssh("echo n-2 >/etc/homelab/host")
    builder = Recorded(new)
    adapter = HostAdapter(lab, access_to(nixos, tmp_path), NixosWay(builder))
    with pytest.raises(HomelabError, match="this machine is n-2, not n-1"):
        adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    host.ssh("rm /etc/homelab/host")
    assert not builder.copied
    assert standing(host) == [old, old, old]


def test_a_system_without_room_where_the_machine_starts_from_is_not_tried(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    old, new = record(host, "nnn"), record(host, "ooo")
    install(host, old)
    host.ssh(f"head -c 3000000 /dev/urandom >{new}/initrd; mkdir -p /boot/firmware")
    host.ssh("mount -t tmpfs -o size=2m tmpfs /boot/firmware")
    try:
        adapter = HostAdapter(lab, access_to(nixos, tmp_path), NixosWay(Recorded(new)))
        with pytest.raises(RolledBack, match=r"/boot/firmware: .* KiB free, the system needs"):
            adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    finally:
        host.ssh("umount /boot/firmware")
    assert standing(host) == [old, old, old]


def test_a_build_that_fails_touches_nothing(nixos: TestLab, tmp_path: Path) -> None:
    host, lab = nixos.host("n-1"), nixos_lab(nixos, tmp_path)
    system = record(host, "eee")
    install(host, system)

    class Broken(Recorded):
        def system(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]) -> str:
            raise HomelabError.of(f"host/{host.name}", "nix build failed: error: attribute 'k4s' missing")

    adapter = HostAdapter(lab, access_to(nixos, tmp_path), NixosWay(Broken("")))
    with pytest.raises(HomelabError, match="attribute 'k4s' missing"):
        adapter.change(state_of(lab, "n-1"), Observation(False), silent)
    assert standing(host) == [system, system, system]
    assert host.ssh("ls -d /var/lib/homelab/deploy/lock", check=False).returncode != 0, "no lock is left"
