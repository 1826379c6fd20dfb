"""An image on a disk is whole and compared, or the disk says that it is not finished; a card that lies is found out."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import subprocess
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.tools.disks.capacity import check_capacity
from homelab_platform.tools.disks.probe import UNFINISHED
from homelab_platform.tools.disks.source import survey
from homelab_platform.tools.disks.write import Written, write_image
from homelab_platform_tests.testlab.requirements import ensure
from homelab_platform_tests.tools.disks.media import (
    SECTOR,
    CounterfeitMedium,
    CutMedium,
    DamagedMedium,
    MemoryMedium,
    PowerCut,
    SparseCounterfeit,
)

BLOCK = 16 << 10
MIB = 1 << 20
CONTENT = Random(7).randbytes(40 * BLOCK + 3 * SECTOR)
DISK = 3 * MIB


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("images") / "pi.img"
    file.write_bytes(CONTENT)
    return file


def quiet(_what: str, _done: int, _of: int) -> None:
    pass


def write(medium: MemoryMedium, image: Path) -> Written:
    return write_image(medium, survey(image), quiet, block=BLOCK)


def test_an_image_is_on_the_disk_and_progress_names_each_part(image: Path) -> None:
    medium, said = MemoryMedium(DISK), []
    written = write_image(medium, survey(image), lambda *of: said.append(of), block=BLOCK)
    assert medium.written[: len(CONTENT)] == CONTENT and not medium.pending
    assert written.sha256 == hashlib.sha256(CONTENT).hexdigest() and written.size == len(CONTENT)
    assert [what for what, _, _ in said if what != "checking"] == ["writing"] * 42 + ["comparing"] * 42
    assert said[-1] == ("comparing", len(CONTENT), len(CONTENT))


@cache
def operations(image: Path) -> int:
    """How many operations a whole write takes."""
    medium = CutMedium(DISK, cut=10**9, seed=0)
    write(medium, image)
    return medium.operations


def cut_off(image: Path, cut: int, seed: int) -> None:
    """No cut-off write is called done, and no disk starts from a part of an image."""
    medium = CutMedium(DISK, cut, seed)
    untouched = bytes(medium.written[:SECTOR])
    with pytest.raises(PowerCut):
        write(medium, image)
    first = bytes(medium.written[:SECTOR])
    whole = medium.written[: len(CONTENT)] == CONTENT
    assert first.startswith(UNFINISHED) or whole or (first == untouched and cut <= 1)


def test_a_hundred_cut_off_points_and_none_is_called_done(image: Path) -> None:
    last = operations(image)
    for number in range(100):
        cut_off(image, number * (last - 1) // 99, seed=number)


@settings(max_examples=60)
@given(cut=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 2**32))
def test_whatever_a_power_cut_leaves_of_what_was_not_synced(image: Path, cut: float, seed: int) -> None:
    cut_off(image, int(cut * operations(image)), seed)


def test_a_damaged_block_is_named_and_the_disk_stays_unfinished(image: Path) -> None:
    medium = DamagedMedium(DISK, 5 * BLOCK + 100)
    with pytest.raises(HomelabError, match=f"other data than was written, in the block at byte {5 * BLOCK:,}"):
        write(medium, image)
    assert medium.written.startswith(UNFINISHED)


@pytest.mark.parametrize("wraps", [True, False])
def test_a_counterfeit_card_is_found_out_before_the_image(image: Path, wraps: bool) -> None:
    medium = CounterfeitMedium(32 * MIB, 8 * MIB, wraps=wraps)
    with pytest.raises(HomelabError, match="does not have the size that it says"):
        write(medium, image)
    assert CONTENT[BLOCK : 2 * BLOCK] not in medium.written


@settings(max_examples=40)
@given(data=st.data())
def test_every_real_size_of_whole_units_is_found_out(data: st.DataObject) -> None:
    gib, unit = data.draw(st.sampled_from([(1, MIB), (7, MIB), (32, MIB), (64, MIB), (128, 2 * MIB), (960, 16 * MIB)]))
    size = gib * 1024 * MIB - data.draw(st.integers(0, 1000)) * 4096
    real = data.draw(st.integers(1, size // unit - 1)) * unit
    medium = SparseCounterfeit(size, real)
    with pytest.raises(HomelabError, match="counterfeit"):
        check_capacity(medium)
    assert medium.writes <= 600


@given(size=st.integers(4, 2**21))
@settings(max_examples=30)
def test_an_honest_disk_of_any_size_passes(size: int) -> None:
    honest = SparseCounterfeit(size * 4096, size * 4096)
    assert 0 < check_capacity(honest) == honest.writes <= 600


@pytest.mark.parametrize("kind", ["xz", "gz", "zst"])
def test_a_compressed_image_is_unpacked_on_the_way(kind: str, tmp_path: Path) -> None:
    packed = pack(tmp_path, kind)
    found = survey(packed)
    assert (found.size, found.sha256) == (len(CONTENT), hashlib.sha256(packed.read_bytes()).hexdigest())
    medium = MemoryMedium(DISK)
    assert write(medium, packed).sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert medium.written[: len(CONTENT)] == CONTENT


def pack(folder: Path, kind: str) -> Path:
    """CONTENT in two streams behind each other, as parallel packers write them."""
    halves = (CONTENT[:100_000], CONTENT[100_000:])
    file = folder / f"pi.img.{kind}"
    if kind == "zst":
        zstd = ensure("zstd", "zstd")
        assert zstd
        packed = [subprocess.run([zstd, "-c"], input=half, capture_output=True, check=True).stdout for half in halves]
    else:
        packed = [lzma.compress(half) if kind == "xz" else gzip.compress(half) for half in halves]
    file.write_bytes(b"".join(packed))
    return file


@pytest.mark.parametrize("kind", ["xz", "gz", "zst"])
@pytest.mark.parametrize("harm", ["cut", "bit"])
def test_a_damaged_download_is_refused_before_any_disk_is_touched(kind: str, harm: str, tmp_path: Path) -> None:
    packed = pack(tmp_path, kind)
    raw = bytearray(packed.read_bytes())
    if harm == "cut":
        del raw[len(raw) // 2 :]
    else:
        raw[len(raw) // 3] ^= 0x40
    packed.write_bytes(raw)
    with pytest.raises(HomelabError, match="cannot be read to its end"):
        survey(packed)


def test_an_image_with_another_sum_or_of_another_kind_is_refused(image: Path, tmp_path: Path) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()
    assert survey(image, right.upper()).sha256 == right
    with pytest.raises(HomelabError, match="has the SHA-256"):
        survey(image, "0" * 64)
    copy = tmp_path / "other.img"
    copy.write_bytes(CONTENT)
    copy.with_name("other.img.sha256").write_text(f"{'1' * 64}  other.img\n")
    with pytest.raises(HomelabError, match="has the SHA-256"):
        survey(copy)
    with pytest.raises(HomelabError, match="no image of a known kind"):
        survey(tmp_path / "pi.zip")


def test_an_image_that_changes_while_it_is_written_is_never_finished(tmp_path: Path) -> None:
    file = tmp_path / "pi.img"
    file.write_bytes(CONTENT)
    found = survey(file)
    for other in (CONTENT[:-SECTOR], CONTENT + bytes(BLOCK)):
        file.write_bytes(other)
        medium = MemoryMedium(DISK)
        with pytest.raises(HomelabError, match="changed while it was written"):
            write_image(medium, found, quiet, block=BLOCK)
        medium.sync()
        assert medium.written.startswith(UNFINISHED)
