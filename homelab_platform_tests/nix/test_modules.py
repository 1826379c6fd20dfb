"""nix/ for hosts of the examples and some that they leave out: it parses, it evaluates, and every option exists.

The module system that evaluates it here is a small stand-in (stub.nix), so what is checked beyond it is compared with
NixOS' own list of options where that lies beside the checkout, and with the real one where HOMELAB_NIXPKGS says so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from homelab_platform.lab.host_services.nixos import served_nixos
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform_tests.nix.evaluation import EVAL, NIX, evaluate, evaluated, nix_instantiate
from homelab_platform_tests.nix.labs import HOSTS, changed, resolved
from homelab_platform_tests.nix.options import options, wrong_options

WITHOUT_CARD = [name for name, (host, lab) in HOSTS.items() if lab.hosts[host].settings.get("image") != "sd"]


def test_every_file_is_nix() -> None:
    done = nix_instantiate("--parse", *(str(file) for file in sorted(NIX.rglob("*.nix"))))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", HOSTS)
def test_every_option_that_is_set_exists_and_takes_such_a_value(name: str, tmp_path: Path) -> None:
    host, lab = HOSTS[name]
    wrong = wrong_options(evaluated(lab, host, tmp_path))
    assert not wrong, "\n".join(wrong)


def test_what_check_lets_through_is_what_the_modules_take(tmp_path: Path) -> None:
    """served_nixos.yaml, by which `homelab check` refuses, is held to the options of nix/modules."""
    options = evaluated(resolved("single-pi"), "pi", tmp_path, show="services")
    declared = {name: sorted(set(names) - {"enable", "certificate"}) for name, names in options.items()}
    assert declared == {name: sorted(takes) for name, takes in served_nixos().services.items()}
    for name, service in HOST_SERVICES.items():
        assert name in declared or name in served_nixos().not_served or "nixos" not in service.systems, name


def test_check_knows_the_profiles_and_exporters_that_there_are() -> None:
    files = {file.stem for file in (NIX / "modules" / "profiles").glob("*.nix")} - {"default"}
    assert files == set(served_nixos().profiles)
    exporters = {name.split(".")[3] for name in options() if name.startswith("services.prometheus.exporters.")}
    own = re.search(r"own = \[ ([^]]+)\];", (NIX / "modules" / "exporters.nix").read_text())
    assert own
    answering = {name.strip('"') for name in own[1].split()}
    assert answering == {name for name, by in served_nixos().exporters.items() if by == "own"}
    assert {by for by in served_nixos().exporters.values() if by != "own"} <= exporters


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
    text = json.dumps({name: value for name, value in pi.items() if name != "homelab"})
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


@pytest.mark.parametrize("name", WITHOUT_CARD)
def test_a_host_without_sd_image_says_itself_what_it_starts_from(name: str, tmp_path: Path) -> None:
    host, lab = HOSTS[name]
    found = evaluated(lab, host, tmp_path)
    assert found["fileSystems"]["/"]["fsType"] == "ext4"
    loaders = found["boot"]["loader"]
    assert {"grub", "systemd-boot", "raspberry-pi"} & set(loaders), "no boot loader"


def test_an_iso_knows_none_of_the_disks_that_are_yet_to_be_made(tmp_path: Path) -> None:
    host, lab = HOSTS["a PC with a fixed address and two disks"]
    assert evaluated(lab, host, tmp_path)["image"]["modules"] == {"iso": "<function>"}
    of = f"(import {NIX}/modules/hardware/iso.nix {{ inherit lib config; }}).image.modules.iso"
    lib = 'rec { mkIf = _: it: it; mkImageMediaOverride = it: it; isoFileSystems = { "/".fsType = "tmpfs"; }; }'
    facts = 'config.homelab.host.settings.image = "iso";'
    said = f"let lib = {lib}; {facts} in {of} {{ inherit lib; config = {{ inherit lib; }}; }}"
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
    assert "/nix/store/package-htop" in found["environment"]["systemPackages"]
    assert found["services"]["fwupd"] == found["services"]["fstrim"] == {"enable": True}
    assert found["nixpkgs"]["config"] == {"allowUnfreePredicate": "<function>"}
    assert found["boot"]["kernel"]["sysctl"] == {"net.ipv4.ip_forward": 1}, "one name with dots"
    assert found["systemd"]["services"]["my.unit"] == {"enable": False}
    assert found["services"]["openssh"]["settings"]["MaxAuthTries"] == 2, "ours was 4"


@pytest.mark.parametrize(
    ("name", "lets", "not_that"),
    [
        (["cuda"], ["cuda_cudart", "libcublas", "cudnn"], ["nvidia-x11", "discord"]),
        (["steam", "parsec"], ["steam-unwrapped", "parsec-bin"], ["cuda_cudart"]),
        (["nvidia-x11", "obsidian"], ["nvidia-settings", "obsidian"], ["steam"]),
    ],
)
def test_unfree_packages_are_allowed_by_the_names_that_people_use(
    name: list[str], lets: list[str], not_that: list[str]
) -> None:
    names = " ".join(f'"{one}"' for one in name)
    lib = f"import {NIX.parent}/homelab_platform_tests/nix/lib.nix // {{ mkIf = _: it: it; }}"
    module = f"import {NIX}/modules/unfree.nix {{ inherit lib; config.homelab.unfree = [ {names} ]; }}"
    packages = " ".join(f'"{one}"' for one in (*lets, *not_that))
    allows = f"pname: ({module}).nixpkgs.config.allowUnfreePredicate {{ inherit pname; }}"
    said = f"let lib = {lib}; in map ({allows}) [ {packages} ]"
    done = nix_instantiate(*EVAL, "--expr", said)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True] * len(lets) + [False] * len(not_that)


def test_the_host_makes_the_secrets_that_it_can_and_gives_each_its_owner(tmp_path: Path) -> None:
    host, lab = HOSTS["nixos-fleet/data-storage"]
    found = evaluated(lab, host, tmp_path)
    secrets = found["homelab"]["secrets"]
    assert secrets["nextcloud-admin"]["sources"] == {"value": "sops:secrets/nextcloud.yaml#admin"}
    assert secrets["hedgedoc"] | {"generate": True, "template": "CMD_SESSION_SECRET={value}\n"} == secrets["hedgedoc"]
    script = found["systemd"]["services"]["homelab-secrets"]["script"]
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "rclone").write_text("laid down by a deploy")
    (tmp_path / "chown").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/owners\n')
    (tmp_path / "chown").chmod(0o755)
    here = script.replace("/var/lib/homelab/secrets", str(folder))
    path = f"{tmp_path}:{os.environ['PATH']}"
    for _ in range(2):
        subprocess.run(["bash", "-euc", here], check=True, timeout=30, env={**os.environ, "PATH": path})
        made = (folder / "hedgedoc").read_text()
        assert re.fullmatch(r"CMD_SESSION_SECRET=[0-9a-f]{64}\n", made)
    again = (folder / "hedgedoc").read_text()
    assert made == again, "what is there stays"
    assert (folder / "rclone").read_text() == "laid down by a deploy"
    assert (folder / "rclone").stat().st_mode & 0o777 == 0o400
    owners = (tmp_path / "owners").read_text()
    assert f"nextcloud-exporter:root {folder}/nextcloud-exporter" in owners
    assert not (folder / "nextcloud-admin").exists(), "a password of the lab is not made up"


def test_secrets_of_another_tool_are_neither_delivered_nor_made(tmp_path: Path) -> None:
    theirs = {"homelab.secrets.hedgedoc.path": "/run/secrets/hedgedoc"}
    old = resolved("nixos-fleet").hosts["data-storage"].settings["nix"]
    lab = changed("nixos-fleet", "data-storage", {"nix": {**old, "options": theirs}})
    found = evaluated(lab, "data-storage", tmp_path)
    assert found["services"]["hedgedoc"]["environmentFile"] == "/run/secrets/hedgedoc"
    assert "hedgedoc" not in found["systemd"]["services"]["homelab-secrets"]["script"]
    assert "hedgedoc" not in json.loads(found["environment"]["etc"]["homelab/secrets.json"]["text"])


def test_a_pool_that_was_never_made_fails_nothing(tmp_path: Path) -> None:
    host, lab = HOSTS["nixos-fleet/data-storage"]
    found = evaluated(lab, host, tmp_path)
    units = found["systemd"]["services"]
    mark = "/var/lib/homelab/pools/tank"
    assert units["zfs-import-tank"]["unitConfig"]["ConditionPathExists"] == mark
    assert units["garage"]["unitConfig"]["ConditionPathExists"] == [mark]
    assert "garage.service" not in found["environment"]["etc"]["homelab/units"]["text"]
    assert found["networking"]["hostId"] == "5d20b7e1"
    assert found["services"]["samba"]["settings"]["media"]["path"] == "/tank/media"
    assert set(found["services"]["sanoid"]["datasets"]) == {"tank/cloud", "tank/media", "tank/objects"}
    send = found["services"]["syncoid"]["commands"]["tank/cloud@cold"]
    assert (send["source"], send["target"]) == ("tank/cloud", "backup@cold-store:tank/backup/cloud")


def test_a_pi_has_zfs_only_with_a_pool(tmp_path: Path) -> None:
    assert evaluated(resolved("single-pi"), "pi", tmp_path)["boot"]["supportedFilesystems"] == {"zfs": False}


def test_the_prometheus_of_the_lab_asks_every_exporter(tmp_path: Path) -> None:
    lab = resolved("nixos-fleet")
    jobs = evaluated(lab, "cortex-alpha", tmp_path)["services"]["prometheus"]["scrapeConfigs"]
    asked = {target for job in jobs for part in job["static_configs"] for target in part["targets"]}
    assert asked == {target.address for target in lab.scrape_targets}
    assert len({job["job_name"] for job in jobs}) == len(jobs)


def test_ssh_only_over_the_vpn_is_really_so(tmp_path: Path) -> None:
    rules = evaluated(resolved("nixos-fleet"), "cortex-alpha", tmp_path)["networking"]["firewall"]["extraInputRules"]
    ssh = [line for line in rules.splitlines() if 'comment "ssh"' in line]
    assert ssh == ['iifname "wg0" ip saddr { 10.88.127.0/24, 100.64.0.0/10 } tcp dport { 22 } accept comment "ssh"']
    assert not [line for line in rules.splitlines() if re.search(r"\b22\b", line) and line not in ssh]


@pytest.mark.parametrize(
    ("board", "kind"),
    [("pi-zero-2", "02"), ("pi3-64", "3"), ("pi4-2gb", "4"), ("cm4-4gb", "4"), ("pi400", "4"), ("pi5-8gb", "5"),
     ("pi500", "5"), ("cm5-16gb", "5"), ("x86", None), ("cloud", None)],
)  # fmt: skip
def test_every_board_of_64_bit_has_a_boot_loader(board: str, kind: str | None) -> None:
    lib = f"import {NIX.parent}/homelab_platform_tests/nix/lib.nix"
    done = nix_instantiate(*EVAL, "--expr", f'import {NIX}/lib/pi.nix {{ lib = {lib}; }} {{ board = "{board}"; }}')
    assert json.loads(done.stdout) == kind


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = evaluate(changed("single-pi", "pi", {"nix": {"packages": ["no.such"]}}), "pi", tmp_path)
    assert done.returncode != 0
    assert "pi: nixpkgs has no package no.such (hosts.pi.nix.packages)" in done.stderr


def test_a_minor_of_k3s_that_is_not_there_is_never_another(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    assert lab.cluster is not None
    old = lab.model_copy(update={"cluster": lab.cluster.model_copy(update={"version": "v1.30.14+k3s1"})})
    done = evaluate(old, "pi", tmp_path)
    assert "pi: this nixpkgs has no k3s 1.30 (cluster.version is v1.30.14+k3s1), it has 1.33, 1.34" in done.stderr


def test_what_the_cluster_asks_of_the_api_is_set(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    assert lab.cluster is not None
    settings = {**lab.cluster.settings, "api": {"names": ["k8s.lan"], "port": 7443}}
    lab = lab.model_copy(update={"cluster": lab.cluster.model_copy(update={"settings": settings})})
    flags = evaluated(lab, "pi", tmp_path)["services"]["k3s"]["extraFlags"]
    assert {"--https-listen-port=7443", "--tls-san=k8s.lan"} <= set(flags)


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
