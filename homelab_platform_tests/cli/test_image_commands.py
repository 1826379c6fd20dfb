"""`homelab flash` on files and loop devices: what is refused, what has to be confirmed, what a kill leaves."""

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
from homelab_platform.tools.disks.source import survey
from homelab_platform_tests.cli.conftest import Homelab

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
