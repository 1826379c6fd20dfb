"""Writing a card image to a loop device: against `dd`, and killed 100 times. Needs root.

Ours against `dd bs=4M conv=fsync` of the same image to the same device, in turn; ours also probes the size, reads
everything back and compares, so `dd` with a `cmp` behind it is shown too. Then a writer is killed with SIGKILL at 100
moments: none of the devices may pass for done unless it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import common

from homelab_platform.tools.disks.medium import open_medium
from homelab_platform.tools.disks.probe import UNFINISHED
from homelab_platform.tools.disks.source import survey
from homelab_platform.tools.disks.write import write_image

GOAL = 0.9
RUNS = 5
MIB = 1 << 20
SIZE = 1024 * MIB
KILLS = 100
KILLED_SIZE = 48 * MIB
WRITER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(common.PROJECT)!r})
from homelab_platform.tools.disks.medium import open_medium
from homelab_platform.tools.disks.source import survey
from homelab_platform.tools.disks.write import write_image
with open_medium(sys.argv[1]) as medium:
    print("ready", flush=True)
    write_image(medium, survey(Path(sys.argv[2])), lambda *_of: None)
    print("done", flush=True)
"""


def main() -> None:
    """Measure, kill, print."""
    with TemporaryDirectory(prefix="homelab-flash-") as name:
        folder = Path(name)
        image = make_image(folder / "image.img", SIZE)
        with loop_device(folder / "card", SIZE + 64 * MIB) as device:
            writing, whole, dd, dd_cmp = [], [], [], []
            for _ in range(RUNS):
                ours = flash(device, image)
                writing.append(ours[0])
                whole.append(ours[1])
                theirs = run_dd(device, image)
                dd.append(theirs[0])
                dd_cmp.append(theirs[1])
        image.unlink()
        false, cut = kill(folder)
    rows = [
        (what, f"{common.middle(seconds):.2f}", f"{SIZE / MIB / common.middle(seconds):.0f}")
        for what, seconds in (
            ("ours, writing", writing),
            ("dd conv=fsync", dd),
            ("ours, whole: size, writing, comparing", whole),
            ("dd conv=fsync, then cmp", dd_cmp),
        )
    ]
    common.table(("1 GiB", "wall s", "MiB/s"), rows)
    print(f"killed {KILLS} times, {cut} of them before the end: {false} called done that was not")
    print(f"{os.cpu_count()} CPUs; medians of {RUNS} runs in turn")
    ratio = common.middle(dd) / common.middle(writing)
    met = ratio >= GOAL and false == 0
    goal = f"≥ {GOAL} of dd, 0 false"
    common.close("flash", common.middle(writing), "s", goal=goal, met=met, peer="dd conv=fsync", ratio=ratio)


def make_image(file: Path, size: int) -> Path:
    """A file of random bytes."""
    random = Random(1)
    with file.open("wb") as stream:
        for _ in range(size // (16 * MIB)):
            stream.write(random.randbytes(16 * MIB))
    return file


@contextmanager
def loop_device(file: Path, size: int) -> Iterator[str]:
    """A block device over a file, its blocks there from the beginning."""
    with file.open("wb") as stream:
        for _ in range(size // MIB):
            stream.write(bytes(MIB))
    made = subprocess.run(["losetup", "--find", "--show", file], check=True, capture_output=True, text=True)
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def flash(device: str, image: Path) -> tuple[float, float]:
    """Wall seconds of writing alone, and of all of it."""
    begins: dict[str, float] = {}
    began = time.monotonic()
    with open_medium(device) as medium:
        write_image(medium, survey(image), lambda what, *_of: noted(begins, what))
    end = time.monotonic()
    return begins["comparing"] - begins["writing"], end - began


def noted(begins: dict[str, float], what: str) -> None:
    """Keep when a part of the work began; `comparing` does when everything is on the disk."""
    begins.setdefault(what, time.monotonic())


def run_dd(device: str, image: Path) -> tuple[float, float]:
    """Wall seconds of writing alone, and with comparing."""
    began = time.monotonic()
    subprocess.run(["dd", f"if={image}", f"of={device}", "bs=4M", "conv=fsync", "status=none"], check=True)
    written = time.monotonic()
    subprocess.run(["cmp", f"--bytes={SIZE}", image, device], check=True)
    return written - began, time.monotonic() - began


def kill(folder: Path) -> tuple[int, int]:
    """How many killed writers left a disk that passes for done and is not, and how many were killed before the end."""
    image = make_image(folder / "killed.img", KILLED_SIZE)
    content = image.read_bytes()
    false = cut = 0
    with loop_device(folder / "killed-card", KILLED_SIZE + 16 * MIB) as device:
        longest = whole_run(device, image)
        for number in range(KILLS):
            subprocess.run(["dd", "if=/dev/zero", f"of={device}", "bs=4M", "count=1", "status=none"], check=True)
            writer = subprocess.Popen([sys.executable, "-c", WRITER, device, image], stdout=subprocess.PIPE, text=True)
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
            time.sleep(longest * number / KILLS)
            writer.kill()
            done = "done" in writer.stdout.read()
            writer.wait()
            with Path(device).open("rb") as stream:
                found = stream.read(len(content))
            cut += not done
            starts = found[:512] == content[:512] and not found.startswith(UNFINISHED)
            false += (done or starts) and found != content
    return false, cut


def whole_run(device: str, image: Path) -> float:
    """Wall seconds from `ready` to the end of a writer that is left alone."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, device, image], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    began = time.monotonic()
    writer.wait()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
