"""`homelab image` and `homelab flash`, on files and loop devices: what is refused or confirmed, what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.images.flash import flash
from homelab_platform.paths import PROJECT
from homelab_platform.tools.disks.probe import UNFINISHED, Disk, look
from homelab_platform.tools.disks.source import file_sum, survey
from homelab_platform_tests.cli.conftest import Homelab
from homelab_platform_tests.layers.images.cards import boot_of, make_image
from homelab_platform_tests.nix.test_build_image import NIX

LAB = PROJECT / "examples" / "pi-cluster"
HOST = "pi-worker-1"
CONTENT = Random(3).randbytes(24 << 20)
CARD = 64 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("image") / "pi.img"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A blank card as a file."""
    file = tmp_path / "card"
    with file.open("wb") as stream:
        stream.truncate(CARD)
    return file


@pytest.fixture
def device(card: Path) -> Iterator[str]:
    """The card as a block device."""
    made = subprocess.run(["losetup", "--find", "--show", card], check=True, capture_output=True, text=True)
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def make_ext4(place: str | Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "photos", place], check=True)


def start_of(place: str | Path, length: int = len(CONTENT)) -> bytes:
    with Path(place).open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        parts = []
        while length and (part := stream.read(min(length, 1 << 20))):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def test_a_blank_card_is_written_compared_and_said_to_be_so(homelab: Homelab, image: Path, device: str) -> None:
    said = homelab("flash", HOST, device, "--image", image, "--yes", "--json", "-l", LAB)
    assert said.code == 0, said.err
    assert said.json() | {"seconds": 0} == {
        "host": HOST,
        "device": device,
        "image": str(image),
        "bytes": len(CONTENT),
        "sha256": subprocess.run(["sha256sum", image], capture_output=True, text=True, check=True).stdout.split()[0],
        "capacity_blocks": said.json()["capacity_blocks"],
        "compared": True,
        "seconds": 0,
    }
    assert said.json()["capacity_blocks"] > 10
    assert start_of(device) == CONTENT


def test_what_a_card_holds_is_named_and_goes_only_by_its_own_name(homelab: Homelab, image: Path, device: str) -> None:
    make_ext4(device)
    words = ("flash", HOST, device, "--image", image, "-l", LAB)
    before = start_of(device, CARD)
    for further, what in (
        ((), f"add --confirm {device}"),
        (("--yes",), 'holds ext4 "photos", which would be lost'),
        (("--confirm", "/dev/sdz"), "/dev/sdz is not its name"),
    ):
        said = homelab(*words, *further)
        assert said.code == 1 and what in said.err
    assert start_of(device, CARD) == before
    said = homelab(*words, "--confirm", device)
    assert said.code == 0 and "Read back and compared" in said.out and "Next: put it into pi-worker-1" in said.out
    assert start_of(device) == CONTENT


def test_a_mounted_card_is_refused_whatever_is_confirmed(
    homelab: Homelab, image: Path, device: str, tmp_path: Path
) -> None:
    make_ext4(device)
    (tmp_path / "at").mkdir()
    subprocess.run(["mount", device, tmp_path / "at"], check=True)
    try:
        said = homelab("flash", HOST, device, "--image", image, "--confirm", device, "-l", LAB)
        assert said.code == 1 and f"is mounted at {tmp_path / 'at'}" in said.err and "sudo umount" in said.err
        with pytest.raises(HomelabError, match="is in use"):  # even where the look did not see the mount
            flash(Disk(device, "loop", CARD), survey(image), lambda *_of: None)
    finally:
        subprocess.run(["umount", tmp_path / "at"], check=True)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("pi-worker-9", "CARD", "--image", "IMAGE"), "no host of this name"),
        ((HOST, "/dev/absent", "--image", "IMAGE"), "cannot be found"),
        ((HOST, "/dev/null", "--image", "IMAGE"), "neither a disk nor a file"),
        ((HOST, "CARD", "--image", "/absent/pi.img"), "cannot be read to its end"),
        ((HOST, "CARD", "--image", "IMAGE", "--sha256", "0" * 64), "has the SHA-256"),
        ((HOST, "CARD", "--image", "IMAGE"), "add --yes"),
    ],
)
def test_bad_input_touches_nothing(
    homelab: Homelab, image: Path, card: Path, words: tuple[str, ...], what: str
) -> None:
    said = homelab("flash", *({"CARD": card, "IMAGE": image}.get(word, word) for word in words), "-l", LAB)
    assert said.code == 1 and what in said.err
    assert not any(start_of(card, CARD))


@pytest.mark.slow
def test_a_killed_write_says_that_it_is_not_finished_and_the_next_one_needs_no_name(
    homelab: Homelab, image: Path, device: str
) -> None:
    program = str(Path(sys.executable).with_name("homelab"))
    command = [program, "flash", HOST, device, "--image", str(image), "--yes", "-l", str(LAB)]
    killed = 0
    for pause in (0.0, 0.02, 0.05, 0.1):
        with Path(device).open("r+b") as stream:
            stream.write(bytes(1 << 20))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while process.poll() is None and not start_of(device, 512).startswith(UNFINISHED):
            time.sleep(0.005)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        if process.returncode == -signal.SIGKILL and b"Read back" not in out:
            killed += 1
            assert look(device).unfinished or start_of(device) == CONTENT
    assert killed
    said = homelab("flash", HOST, device, "--image", image, "--confirm", device, "-l", LAB)
    assert said.code == 0 and start_of(device) == CONTENT


@pytest.fixture
def own_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab of somebody's own, without any secret yet."""
    for name in ("XDG_CONFIG_HOME", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "lab.yaml").write_text(OWN_LAB)
    return folder


OWN_LAB = """lab: home
network: {lan: 192.168.7.0/24, gateway: 192.168.7.1}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.7.11}
  nix-1: {board: pi5-8gb, os: nixos, address: 192.168.7.12}
  vm-1: {board: vm, os: debian, address: 192.168.7.13, cpu: 2, memory: 2Gi}
  nas: {board: nas, os: external, address: 192.168.7.2}
  pi-2: {board: pi4-4gb, os: raspios, address: 192.168.7.14, image: none}
people:
  ada: {role: admin, ssh: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3 ada}
"""


@pytest.mark.slow
def test_from_a_downloaded_image_to_a_card_whose_host_is_known_by_its_key(
    homelab: Homelab, own_lab: Path, card: Path, tmp_path: Path
) -> None:
    base = make_image(tmp_path / "raspios.img")
    total = file_sum(base)
    words = ("image", "pi-1", "--from", base, "--sha256", total, "-l", own_lab)
    early = homelab(*words)
    assert early.code == 1 and "homelab secrets init" in early.err
    assert homelab("secrets", "init", own_lab, "--recovery-to", tmp_path / "paper").code == 0
    assert homelab("flash", "pi-1", card, "--yes", "-l", own_lab).code == 1, "nothing was made yet"

    made = homelab(*words, "--json")
    assert made.code == 0, made.err
    file, key = Path(made.json()["image"]), made.json()["host_key"]
    assert key == (own_lab / "keys/hosts/pi-1.pub").read_text().strip()
    assert (own_lab / "known_hosts").read_text() == f"pi-1 {key}\n"
    assert file == tmp_path / "data" / "home" / "images" / "pi-1.img" and file.stat().st_mode & 0o777 == 0o600

    again = homelab(*words)
    assert again.code == 0 and "Next: homelab flash" in again.out
    private = boot_of(file).read("homelab.key").decode().splitlines()[2]
    assert private not in made.out + made.err + again.out + again.err
    flashed = homelab("flash", "pi-1", card, "--yes", "-l", own_lab)
    assert flashed.code == 0 and "as it was before" not in flashed.err, flashed.err
    assert boot_of(card).read("homelab.key") == boot_of(file).read("homelab.key")


@pytest.mark.slow
def test_an_image_of_the_lab_as_it_was_before_is_said_to_be_so(
    homelab: Homelab, own_lab: Path, card: Path, tmp_path: Path
) -> None:
    base = make_image(tmp_path / "raspios.img")
    named = f"tooling: {{raspios: {{arm64: {{image: {base}, sha256: {file_sum(base)}}}}}}}\n"
    text = OWN_LAB + named
    (own_lab / "lab.yaml").write_text(text)
    assert homelab("secrets", "init", own_lab, "--recovery-to", tmp_path / "paper").code == 0
    assert homelab("image", "pi-1", "-l", own_lab).code == 0
    flash = ("flash", "pi-1", card, "--yes", "--confirm", card, "-l", own_lab)
    assert "as it was before" not in homelab(*flash).err
    edited = (own_lab / "lab.yaml").read_text().replace("192.168.7.11", "192.168.7.77")
    (own_lab / "lab.yaml").write_text(edited)
    said = homelab(*flash)
    assert said.code == 0 and "pi-1.img was made for the lab as it was before" in said.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("pi-1",), "which image of Raspberry Pi OS shall it start from?"),
        (("pi-1", "--from", "BASE"), "its SHA-256 is not known"),
        (("pi-1", "--from", "BASE", "--sha256", "0" * 64), "has the SHA-256"),
        (("nix-1", "--from", "BASE", "--sha256", "0" * 64), "Leave out --from"),
        (("nix-1", "--builder", "cloud"), "image/nix-1  cloud is no builder"),
        (("vm-1",), "this is debian on vm"),
        (("nas",), "os: external"),
        (("pi-2",), "image: none"),
        (("pi-9",), "no host of this name"),
    ],
)
def test_an_image_is_never_made_from_what_nobody_vouches_for(
    homelab: Homelab, own_lab: Path, image: Path, words: tuple[str, ...], what: str
) -> None:
    said = homelab("image", *({"BASE": image}.get(word, word) for word in words), "-l", own_lab)
    assert said.code == 1 and what in said.err, said.err
    assert [path.name for path in own_lab.iterdir()] == ["lab.yaml"]


@pytest.mark.slow
def test_the_image_of_a_nixos_host_is_built_by_nix_and_then_flashed(
    homelab: Homelab, own_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    nix = NIX.replace("{folder}", "sd-image").replace("{file}", "nixos.img").replace("{lab}", "home")
    (programs / "nix").write_text(nix)
    (programs / "nix").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOMELAB_IMAGE_GIB", "1")
    built = homelab("image", "nix-1", "-l", own_lab)
    assert built.code == 0, built.err
    assert "Next: homelab flash" in built.out and "image for aarch64-linux" in built.err
    card = tmp_path / "large"
    with card.open("wb") as stream:
        stream.truncate(128 << 20)
    flashed = homelab("flash", "nix-1", card, "--yes", "-l", own_lab)
    assert flashed.code == 0 and f"{card}: nix-1.img written" in flashed.out, flashed.err
