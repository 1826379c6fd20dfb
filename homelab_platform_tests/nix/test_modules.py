"""nix/ for hosts of the examples and some that they leave out: it parses, it evaluates, and every option exists.

The module system that evaluates it here is a small stand-in (stub.nix), so what is checked beyond it is compared with
NixOS' own list of options where that lies beside the checkout, and with the real one where HOMELAB_NIXPKGS says so.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from homelab_platform import paths
from homelab_platform.lab.resolved import ResolvedExporter, ResolvedLab
from homelab_platform_tests.nix import option_types
from homelab_platform_tests.nix.evaluation import EVAL, NIX, evaluate, evaluated, nix_instantiate
from homelab_platform_tests.nix.labs import HOSTS, changed, resolved

OPTIONS = paths.PROJECT.parent / "shared" / "facts" / "nixos-options.json.gz"
FOREIGN = ("boot.loader.raspberry-pi",)
"""Options of nixos-raspberrypi, which the list of NixOS' own does not have."""
FREE = re.compile(
    r"attribute set of (\(systemd option\)|.*INI|anything|raw|string|module)"
    r"|open submodule of|JSON value|nixpkgs config"
)


def test_every_file_is_nix() -> None:
    done = nix_instantiate("--parse", *(str(file) for file in sorted(NIX.rglob("*.nix"))))
    assert done.returncode == 0, done.stderr


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is set, as paths of option names; the members of a list of sets are at `*`, as in NixOS' list."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for item in value:
            yield from leaves(item, (*path, "*"))
    else:
        yield path, value


@cache
def options() -> dict[str, str]:
    if not OPTIONS.exists():
        pytest.skip(f"NOT CHECKED: the options that nix/ sets, because {OPTIONS} is not here")
    with gzip.open(OPTIONS, "rt") as file:
        return {row["name"]: row["type"] for row in json.load(file)}


def wrong_with(path: tuple[str, ...], value: Any) -> str | None:
    """What is wrong with a value: no such option, or not of its type. It may lie within an option: then that one's
    type must leave open what is in it, unless the list says nothing of the option's own members."""
    known = options()
    for end in range(len(path), 0, -1):
        found = next((name for name in _spellings(path[:end]) if name in known), None)
        if found is None:
            continue
        kind = known[found]
        inside = path[end:]
        if not inside:
            return None if option_types.check(kind)(value) else f"{'.'.join(path)} = {value!r}: is to be {kind}"
        if inside == ("*",) or FREE.search(kind) or (value == {} and len(inside) == 1 and "attribute set of" in kind):
            return None
        members = any(name.startswith(f"{found}.") for name in known)
        return f"{'.'.join(path)}: NixOS has no such option" if members or "submodule" not in kind else None
    return f"{'.'.join(path)}: NixOS has no such option"


def _spellings(path: tuple[str, ...]) -> Iterator[str]:
    for mask in range(2 ** min(len(path), 8)):
        yield ".".join("<name>" if mask >> place & 1 else part for place, part in enumerate(path))


@pytest.mark.parametrize("name", HOSTS)
def test_every_option_that_is_set_exists_and_takes_such_a_value(name: str, tmp_path: Path) -> None:
    host, lab = HOSTS[name]
    wrong = [
        said
        for path, value in leaves(evaluated(lab, host, tmp_path))
        if not ".".join(path).startswith(FOREIGN) and (said := wrong_with(path, value))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_pi_is_what_its_lab_says(tmp_path: Path) -> None:
    pi = evaluated(resolved("single-pi"), "pi", tmp_path)
    assert pi["boot"]["kernelParams"] == ["cgroup_enable=memory", "cgroup_memory=1"]
    assert pi["services"]["k3s"] | {"enable": True, "role": "server", "disable": ["traefik"]} == pi["services"]["k3s"]
    assert pi["services"]["k3s"]["package"] == "/nix/store/package-k3s_1_33", "the minor version that the lab names"
    assert pi["users"]["users"]["owner"]["openssh"]["authorizedKeys"]["keys"][0].startswith("ssh-ed25519 ")
    assert pi["services"]["openssh"]["settings"]["PasswordAuthentication"] is False
    rules = pi["networking"]["firewall"]["extraInputRules"]
    assert 'ip saddr { 192.168.1.0/24 } tcp dport { 22, 53, 80, 443, 6443, 1883 } accept comment "services"' in rules
    assert "Home" in pi["networking"]["wireless"]["networks"]
    text = json.dumps(pi)
    assert "sops:" not in text, "no reference and no value of a secret gets into the store"


def test_old_generations_go_but_never_the_newest(tmp_path: Path) -> None:
    script = evaluated(resolved("single-pi"), "pi", tmp_path)["systemd"]["services"]["nix-gc"]["preStart"]
    assert "-mtime +14" in script, "as the lab says"
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "system").symlink_to("system-12-link")
    for number, days in ((1, 90), (2, 90), (3, 3), (9, 90), (10, 90), (11, 80), (12, 70)):
        link = profiles / f"system-{number}-link"
        link.symlink_to(f"/nix/store/{number}")
        then = time.time() - days * 86_400
        os.utime(link, (then, then), follow_symlinks=False)
    program = tmp_path / "nix-env"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    program.chmod(0o755)
    here = script.replace("/nix/var/nix/profiles", str(profiles)).replace(
        "/run/current-system/sw/bin/nix-env", str(program)
    )
    subprocess.run(["bash", "-e", "-c", here], check=True, timeout=30)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"--profile {profiles}/system --delete-generations {number}" for number in (1, 2)]


def test_a_rule_that_denies_comes_before_those_that_allow(tmp_path: Path) -> None:
    pi = resolved("single-pi").hosts["pi"]
    rule = {"name": "public", "deny": ["tcp/22"], "from": ["internet"], "to": ["any"]}
    sources = {**pi.sources, "internet": ("10.0.0.0/8", "fe80::/10")}
    lab = changed("single-pi", "pi", firewall=(*pi.firewall, rule), sources=sources)
    lines = evaluated(lab, "pi", tmp_path)["networking"]["firewall"]["extraInputRules"].splitlines()
    assert lines[:2] == [
        'ip saddr != { 10.0.0.0/8 } tcp dport { 22 } drop comment "public"',
        'ip6 saddr != { fe80::/10 } tcp dport { 22 } drop comment "public"',
    ]


@pytest.mark.parametrize("name", HOSTS)
def test_nft_reads_the_rules_of_the_firewall(name: str, tmp_path: Path) -> None:
    nft = shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if nft is None or shutil.which("unshare") is None:
        pytest.skip("NOT CHECKED: the firewall's rules, because nft and unshare are not here")
    host, lab = HOSTS[name]
    rules = evaluated(lab, host, tmp_path)["networking"]["firewall"]["extraInputRules"]
    assert "tcp dport { 22" in rules, "nobody could come in to deploy again"
    chains = f"table inet t {{\nchain input-allow {{\n{rules}\n}}\n}}\n"
    command = ["unshare", "--map-root-user", "--net", nft, "--check", "--file", "-"]
    done = subprocess.run(command, input=chains, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_wireless_network_without_a_password_is_open(tmp_path: Path) -> None:
    host, lab = HOSTS["a laptop with an open wireless network"]
    found = evaluated(lab, host, tmp_path)
    networks = found["networking"]["wireless"]["networks"]
    assert networks["Fleet"]["pskRaw"] == "ext:psk_home"
    assert "pskRaw" not in networks["Grand Hotel"]
    assert found["systemd"]["network"]["wait-online"]["anyInterface"] is True


def test_a_pi_has_the_loader_that_keeps_generations_also_without_sd_image(tmp_path: Path) -> None:
    host, lab = HOSTS["a k3s agent on a Pi without SD image"]
    found = evaluated(lab, host, tmp_path)
    assert found["boot"]["loader"]["raspberry-pi"] == {"bootloader": "kernel", "configurationLimit": 5}
    assert set(found["fileSystems"]) == {"/", "/boot/firmware", "/mnt/ssd"}
    assert "sdImage" not in found
    k3s = found["services"]["k3s"]
    assert (k3s["role"], k3s["serverAddr"]) == ("agent", "https://192.168.40.10:6443")
    assert k3s["tokenFile"] == "/var/lib/homelab/secrets/k3s-token"
    assert "disable" not in k3s


@pytest.mark.parametrize("name", [name for name in HOSTS if name != "single-pi" and "SD card" not in name])
def test_a_host_without_sd_image_says_itself_what_it_starts_from(name: str, tmp_path: Path) -> None:
    host, lab = HOSTS[name]
    found = evaluated(lab, host, tmp_path)
    assert found["fileSystems"]["/"]["fsType"] == "ext4"
    loaders = found["boot"]["loader"]
    assert {"grub", "systemd-boot", "raspberry-pi"} & set(loaders), "no boot loader"


def test_an_iso_knows_none_of_the_disks_that_are_yet_to_be_made(tmp_path: Path) -> None:
    host, lab = HOSTS["a PC with a fixed address and two disks"]
    assert evaluated(lab, host, tmp_path)["image"]["modules"] == {"iso": "<function>"}
    of = f'(import {NIX}/modules/hardware/iso.nix {{ inherit lib; host.settings.image = "iso"; }}).image.modules.iso'
    lib = 'rec { mkIf = _: it: it; mkImageMediaOverride = it: it; isoFileSystems = { "/".fsType = "tmpfs"; }; }'
    said = f"let lib = {lib}; in {of} {{ inherit lib; config = {{ inherit lib; }}; }}"
    done = nix_instantiate("--eval", "--strict", "--json", "--expr", said)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "isoImage": {"makeEfiBootable": True, "makeUsbBootable": True},
        "fileSystems": {"/": {"fsType": "tmpfs"}},
        "swapDevices": [],
    }


def test_disks_of_the_lab_are_mounted(tmp_path: Path) -> None:
    host, lab = HOSTS["a PC with a fixed address and two disks"]
    systems = evaluated(lab, host, tmp_path)["fileSystems"]
    assert systems["/"] == {"device": "/dev/disk/by-id/nvme-1", "fsType": "ext4"}
    assert (systems["/mnt/hdd"]["device"], systems["/mnt/hdd"]["fsType"]) == ("/dev/disk/by-label/hdd", "xfs")


def test_what_a_lab_sets_itself_is_set(tmp_path: Path) -> None:
    host, lab = HOSTS["a laptop with an open wireless network"]
    found = evaluated(lab, host, tmp_path)
    assert found["environment"]["systemPackages"] == ["/nix/store/package-htop"]
    assert found["services"]["fwupd"] == found["services"]["fstrim"] == {"enable": True}
    assert found["nixpkgs"]["config"] == {"allowUnfreePredicate": "<function>"}


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"services": {"samba": {}}}, "pi: nix/ has no module yet for samba"),
        ({"settings": {"profiles": ["kiosk"]}}, "pi: nix/ has no profile yet for kiosk"),
        ({"exporters": {"smart": ResolvedExporter(name="smart", port=9633)}}, "pi: nix/ has no exporter yet for smart"),
        ({"interfaces": {"lan1": {}}}, "pi: nix/ has no settings of further interfaces yet for lan1"),
        (
            {"settings": {"nix": {"modules": ["mine.nix"]}}},
            "pi: Nix modules of your own are not built in yet (mine.nix)",
        ),
        ({"settings": {"nix": {"packages": ["no.such"]}}}, "pi: nixpkgs has no package no.such"),
    ],
    ids=["service", "profile", "exporter", "interface", "module", "package"],
)
def test_what_is_asked_for_and_not_there_stops_the_build(update: dict[str, Any], said: str, tmp_path: Path) -> None:
    done = evaluate(changed("single-pi", "pi", **update), "pi", tmp_path)
    assert done.returncode != 0
    assert said in done.stderr


def test_what_the_cluster_asks_for_and_is_not_there_stops_the_build(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    assert lab.cluster is not None
    settings = {**lab.cluster.settings, "audit": True, "api": {"names": ["k8s.lan"], "port": 7443}}
    flags = evaluated(in_cluster(lab, {**settings, "audit": False}), "pi", tmp_path)["services"]["k3s"]["extraFlags"]
    assert {"--https-listen-port=7443", "--tls-san=k8s.lan"} <= set(flags)
    done = evaluate(in_cluster(lab, settings), "pi", tmp_path)
    assert "pi: nix/ has no way yet for k3s with audit logs" in done.stderr


def in_cluster(lab: ResolvedLab, settings: dict[str, Any]) -> ResolvedLab:
    assert lab.cluster is not None
    return lab.model_copy(update={"cluster": lab.cluster.model_copy(update={"settings": settings})})


@pytest.mark.slow
@pytest.mark.skipif("HOMELAB_NIXPKGS" not in os.environ, reason="HOMELAB_NIXPKGS names no nixpkgs")
@pytest.mark.parametrize("name", HOSTS)
def test_the_real_module_system_takes_it(name: str, tmp_path: Path) -> None:
    host, lab = HOSTS[name]
    (tmp_path / "lab.json").write_bytes(lab.to_json())
    real = Path(__file__).with_name("real.nix")
    words = (*EVAL, str(real), "--argstr", "root", str(NIX))
    nixpkgs = ("--argstr", "nixpkgs", os.environ["HOMELAB_NIXPKGS"])
    done = nix_instantiate(*words, *nixpkgs, "--argstr", "lab", str(tmp_path / "lab.json"), "--argstr", "host", host)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["failed"] == []
    assert found["warnings"] == []
    assert found["hostName"] == host
