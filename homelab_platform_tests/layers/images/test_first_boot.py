"""The real cloud-init takes what an image says, and the host is then reached by the key that the lab knows it by."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.layers.images.build import HostKey, build_raspios
from homelab_platform.layers.images.first_contact import learn_host_key
from homelab_platform.secrets.generated import make
from homelab_platform.tools.disks.source import survey
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform.tools.ssh.target import SshAccess, Target
from homelab_platform_tests.layers.images.cards import TRIXIE, boot_of, make_image
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.slow]

HOST = "card-1"
DEBS = (
    *("cloud-init", "libyaml-0-2", "python3-attr", "python3-certifi", "python3-chardet", "python3-configobj"),
    *("python3-charset-normalizer", "python3-idna", "python3-jinja2", "python3-json-pointer", "python3-jsonpatch"),
    *("python3-jsonschema", "python3-markupsafe", "python3-netifaces", "python3-oauthlib", "python3-pkg-resources"),
    *("python3-pyrsistent", "python3-requests", "python3-serial", "python3-six", "python3-urllib3", "python3-yaml"),
)
"""cloud-init of the hosts' Debian and what it imports; unpacked, so that none of its units starts."""
CONFIGURATION = {
    "datasource_list": ["NoCloud", "None"],
    "datasource": {"NoCloud": {"seedfrom": "file:///boot/firmware/"}},
    "ssh_deletekeys": False,
    "ssh_genkeytypes": [],
    "network": {"config": "disabled"},  # the test's own network stays
}
"""How Raspberry Pi OS configures cloud-init (RPi-Distro/pi-gen, stage2/04-cloud-init), but for the network."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec(HOST),))
    yield running
    running.leave()


def packed(files: dict[str, bytes]) -> bytes:
    """A tar archive of the files, by their paths from the root."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def test_cloud_init_makes_the_host_that_the_image_means(hosts: TestLab, tmp_path: Path) -> None:
    host = hosts.host(HOST)
    public = Path(f"{host.key}.pub").read_text().strip()
    gateway = hosts.place.addresses.gateway
    said = {
        "lab": "cards",
        "timezone": "Europe/Vienna",
        "network": {"lan": f"{gateway.rsplit('.', 1)[0]}.0/24", "gateway": gateway},
        "hosts": {HOST: {"board": "pi5-8gb", "os": "raspios", "address": host.address}},
        "people": {"ada": {"role": "admin", "ssh": public}},
    }
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump(said))
    lab = load_resolved(tmp_path / "lab.yaml", load_catalogue())
    private, key = make("ssh-host-key")
    image = build_raspios(
        lab,
        lab.hosts[HOST],
        base=survey(make_image(tmp_path / "raspios.img")),
        file=tmp_path / "card.img",
        key=HostKey(key, private),
        reveal=str,
        say=lambda _text: None,
    ).file
    boot = boot_of(image)
    seed = {f"boot/firmware/{name}": boot.read(name) for name in (*TRIXIE, "homelab.key", "ssh")}

    debs = tmp_path / "debs"
    debs.mkdir()
    fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *DEBS]
    if subprocess.run(fetch, cwd=debs, check=False, capture_output=True).returncode:
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(fetch, cwd=debs, check=True)
    settings = yaml.safe_dump(CONFIGURATION).encode()
    files = {f"debs/{deb.name}": deb.read_bytes() for deb in debs.iterdir()}
    files |= {**seed, "debs/99_raspberry-pi.cfg": settings}
    run = Ssh(Target(HOST, host.address), SshAccess(host.known_hosts, host.key, sockets=tmp_path / "sockets")).run
    run("tar -x -C /", data=packed(files), timeout=60)
    unpack = "dpkg-deb --fsys-tarfile $deb | tar -x -C / --keep-directory-symlink"  # /lib and /bin are links
    run(f"for deb in /debs/*.deb; do {unpack}; done; mv /debs/*.cfg /etc/cloud/cloud.cfg.d/", timeout=60)
    stages = ("init --local", "init", "modules --mode=config", "modules --mode=final")
    assert "Valid cloud-config" in run("cloud-init schema --config-file /boot/firmware/user-data").text
    convert = "cloud-init devel net-convert -p /boot/firmware/network-config -k yaml -d /net -D debian -O networkd"
    network = run(f"mkdir /net; {convert}; cat /net/etc/systemd/network/*.network").text
    assert f"Address={host.address}/24" in network and f"Gateway={gateway}" in network
    run("; ".join(f"cloud-init {stage}" for stage in stages), may_fail=(1,), timeout=120)
    failed = set(re.findall(r"Running module (\S+) .* failed", run("cat /var/log/cloud-init.log").text))
    assert failed <= {"locale"}, failed  # the test host has no locales to choose from; the image says none

    known = tmp_path / "known_hosts"
    ada = Ssh(Target(HOST, host.address, "ada"), SshAccess(known, host.key, sockets=tmp_path / "sockets"))
    with pytest.raises(HomelabError, match="host key is not known"):
        ada.run("true", fresh=True)
    learn_host_key(known, HOST, key)
    said_there = ada.run(
        "hostname; sudo -n id -u; cat /etc/timezone; ls /boot/firmware /etc/ssh/*_key; ls /etc/cloud/*.disabled",
        fresh=True,
    ).text.split()
    assert said_there[:3] == [HOST, "0", "Europe/Vienna"]
    assert {"homelab.key", "network-config"}.isdisjoint(said_there) and "meta-data" in said_there
    assert "/etc/ssh/ssh_host_ed25519_key" in said_there and "/etc/ssh/ssh_host_rsa_key" not in said_there
    assert said_there[-1] == "/etc/cloud/cloud-init.disabled"
