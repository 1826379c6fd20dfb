"""An image of Raspberry Pi OS comes up as the lab means it: what is in it, who may read it, what is refused."""

from __future__ import annotations

import hashlib
import lzma
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.images.build import Built, build_raspios, host_key
from homelab_platform.layers.images.first_contact import learn_host_key
from homelab_platform.layers.images.raspios import CGROUP_WORDS, command_line, network_config, wifi_key
from homelab_platform.secrets.generated import make, public_half
from homelab_platform.tools.disks.source import survey
from homelab_platform_tests.layers.images.cards import BOOKWORM, COMMAND_LINE, TRIXIE, boot_of, make_image

LAB = """lab: home
timezone: Europe/Vienna
network:
  lan: 192.168.7.0/24
  gateway: 192.168.7.1
  wifi:
    shed: {ssid: "Garden: shed", password: sops:secrets/wifi.yaml#shed, country: AT, hidden: true}
    open: {ssid: guests}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.7.11, k3s: server}
  pi-2: {board: pi4-4gb, os: raspios, address: 192.168.7.12, wifi: [shed, open]}
  pi-3: {board: pi4-4gb, os: raspios, address: 192.168.7.13, mac: "d8:3a:dd:00:01:20", reserved: true}
people:
  ada: {role: admin, ssh: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3 ada}
  bob: {role: dev, ssh: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKc2gkY6s0nLjjvyOzOMTsBFb2KvUNQTxyy9q6ky6Tq9 bob}
"""
PRIVATE, PUBLIC = make("ssh-host-key")
PASSWORD = "cAnArY-of-the-shed"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ResolvedLab:
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(LAB)
    return load_resolved(file, load_catalogue())


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("base") / "raspios.img")


def reveal(reference: str) -> str:
    known = {"sops:secrets/wifi.yaml#shed": PASSWORD}
    return PRIVATE.rstrip() if reference.endswith("#ssh_host_ed25519_key") else known[reference]


def build(lab: ResolvedLab, host: str, base: Path, file: Path) -> Built:
    known = lab.hosts[host]
    return build_raspios(
        lab,
        known,
        base=survey(base),
        file=file,
        key=host_key(known, reveal),
        reveal=reveal,
        say=lambda _text: None,
    )


@pytest.mark.parametrize("table", ["dos", "gpt"])
def test_an_image_has_name_account_network_key_and_nothing_else_changes(
    lab: ResolvedLab, table: str, tmp_path: Path
) -> None:
    base = make_image(tmp_path / "raspios.img", table=table)
    packed = tmp_path / "raspios.img.xz"
    packed.write_bytes(lzma.compress(base.read_bytes(), preset=0))
    made = build(lab, "pi-1", packed, tmp_path / "images" / "pi-1.img")

    assert made.file.stat().st_mode & 0o777 == 0o600 and made.file.parent.stat().st_mode & 0o077 == 0
    assert made.sha256 == hashlib.sha256(made.file.read_bytes()).hexdigest() == survey(made.file).sha256
    boot = boot_of(made.file)
    user = yaml.safe_load(boot.read("user-data"))
    assert boot.read("user-data").startswith(b"#cloud-config\n")
    assert (user["hostname"], user["timezone"], user["ssh_pwauth"]) == ("pi-1", "Europe/Vienna", False)
    (ada,) = user["users"]
    assert (ada["name"], ada["lock_passwd"]) == ("ada", True) and "AAAAIDy6" in ada["ssh_authorized_keys"][0]
    assert boot.read("homelab.key").decode() == PRIVATE and boot.read("ssh") == b""
    assert boot.read("cmdline.txt").decode() == f"{COMMAND_LINE} cgroup_enable=memory cgroup_memory=1\n"
    assert yaml.safe_load(boot.read("network-config"))["network"]["ethernets"]["eth0"] == {
        "optional": True,
        "dhcp4": False,
        "addresses": ["192.168.7.11/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.168.7.1"}],
        "nameservers": {"addresses": [*lab.network.dns_servers] or ["192.168.7.1"]},
    }
    for untouched in ("config.txt", "meta-data"):
        assert boot.read(untouched).decode() == TRIXIE[untouched]
    begin, end = 8192 * 512, 40960 * 512
    ours, theirs = made.file.read_bytes(), base.read_bytes()
    assert (ours[:begin], ours[end:]) == (theirs[:begin], theirs[end:])


def test_wireless_networks_are_joined_by_key_and_the_password_is_nowhere(
    lab: ResolvedLab, trixie: Path, tmp_path: Path
) -> None:
    made = build(lab, "pi-2", trixie, tmp_path / "pi-2.img")
    boot = boot_of(made.file)
    network = yaml.safe_load(boot.read("network-config"))["network"]
    assert network["ethernets"]["eth0"] == {"optional": True, "dhcp4": True}
    wlan = network["wifis"]["wlan0"]
    assert (wlan["regulatory-domain"], wlan["addresses"]) == ("AT", ["192.168.7.12/24"])
    assert wlan["access-points"]["guests"] == {}
    shed = wlan["access-points"]["Garden: shed"]
    assert shed == {"hidden": True, "password": wifi_key("Garden: shed", PASSWORD, "")}
    assert PASSWORD.encode() not in made.file.read_bytes()
    secret = PRIVATE.splitlines()[2]
    assert secret in boot.read("homelab.key").decode() and secret not in boot.read("user-data").decode()
    assert boot.read("cmdline.txt").decode() == f"{COMMAND_LINE}\n", "no node of the cluster"


def test_an_address_that_the_router_reserves_is_asked_for(lab: ResolvedLab) -> None:
    network = yaml.safe_load(network_config(lab, lab.hosts["pi-3"], reveal))["network"]
    assert network["ethernets"]["eth0"] == {"optional": True, "dhcp4": True}


def test_the_wifi_key_is_that_of_the_standard() -> None:
    """Test vector of IEEE 802.11i-2004, annex H.4.3."""
    known = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert wifi_key("IEEE", "password", "sops:x") == known == wifi_key("other", known.upper(), "sops:x")
    for bad in ("short", "x" * 65):
        with pytest.raises(HomelabError, match="8 to 63"):
            wifi_key("IEEE", bad, "sops:x")


@given(
    words=st.lists(st.sampled_from(["quiet", "cgroup_disable=memory", *CGROUP_WORDS, "root=/dev/sda2", "rootwait"])),
    end=st.sampled_from(["\n", "\r\n", "", " \n\n"]),
)
def test_the_kernels_line_is_one_and_ends_in_what_a_node_needs(lab: ResolvedLab, words: list[str], end: str) -> None:
    line = command_line(" ".join(words) + end, lab.hosts["pi-1"])
    assert line.endswith("\n") and line.count("\n") == 1 and "\r" not in line
    assert tuple(line.split()[-2:]) == CGROUP_WORDS and "cgroup_disable=memory" not in line
    assert command_line(line, lab.hosts["pi-1"]) == line
    others = [word for word in words if "cgroup" not in word]
    assert line.split()[:-2] == others
    assert command_line(" ".join(words) + end, lab.hosts["pi-3"]).split() == words


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (BOOKWORM, "before October 2025"),
        ({"start.elf": ""}, "no image of Raspberry Pi OS"),
    ],
)
def test_another_systems_image_is_refused_and_leaves_nothing(
    lab: ResolvedLab, files: dict[str, str], what: str, tmp_path: Path
) -> None:
    base = make_image(tmp_path / "other.img", files)
    with pytest.raises(HomelabError, match=what):
        build(lab, "pi-1", base, tmp_path / "images" / "pi-1.img")
    assert [*(tmp_path / "images").iterdir()] == []


def test_an_image_without_a_table_or_cut_short_is_refused(lab: ResolvedLab, trixie: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.img"
    blank.write_bytes(bytes(1 << 20))
    cut = tmp_path / "cut.img"
    shutil.copyfile(trixie, cut)
    with cut.open("r+b") as stream:
        stream.truncate(10 << 20)
    for file, what in ((blank, "has no partition table"), (cut, "ends before its boot partition does")):
        with pytest.raises(HomelabError, match=what):
            build(lab, "pi-1", file, tmp_path / "pi-1.img")
    assert not (tmp_path / "pi-1.img").exists()


def test_an_image_is_not_made_without_the_key_that_the_host_is_known_by(lab: ResolvedLab) -> None:
    def missing(reference: str) -> str:
        raise HomelabError.of(reference, "is not there", "")

    host = lab.hosts["pi-1"]
    with pytest.raises(HomelabError, match="homelab secrets init makes it"):
        host_key(host, missing)
    with pytest.raises(HomelabError, match="only the public half"):
        host_key(host.model_copy(update={"ssh_host_key": PUBLIC}), missing)
    with pytest.raises(HomelabError, match=r"does not match keys/hosts/pi-1\.pub"):
        host_key(host.model_copy(update={"ssh_host_key": make("ssh-host-key")[1]}), reveal)
    with pytest.raises(HomelabError, match="is no SSH key"):
        host_key(host, lambda _reference: "nonsense")
    assert "PRIVATE" not in repr(host_key(host, reveal))
    assert public_half("ssh-host-key", PRIVATE) == PUBLIC


def test_the_first_contact_is_known_and_another_key_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("nas ssh-rsa AAAA\n# note")
    assert learn_host_key(file, "pi-1", PUBLIC) and not learn_host_key(file, "pi-1", PUBLIC)
    assert file.read_text() == f"nas ssh-rsa AAAA\n# note\npi-1 {PUBLIC}\n"
    with pytest.raises(HomelabError, match="ssh-keygen -R pi-1"):
        learn_host_key(file, "pi-1", make("ssh-host-key")[1])
    assert file.read_text().endswith(f"pi-1 {PUBLIC}\n")
