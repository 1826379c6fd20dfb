"""Dropped files: taken once they lie still, put away only when the bucket has them, refused with the reason."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from homelab_platform.agents.drop.folders import DropFolder, drop_folders, mapping_of
from homelab_platform.agents.drop.take import put_away, take
from homelab_platform.agents.drop.watch import DropWatch, last_look
from homelab_platform.errors import HomelabError
from homelab_platform.readings.sources.files import put_files
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

CSV = "time,temp_c,hum\n2026-11-20T10:00:00Z,21.5,40\n"
COLUMNS = {"time": "ts", "temp_c": "temperature", "hum": "humidity"}


def tell(root: Path, stream: str = "station", **settings: object) -> Path:
    """What the site is told of a stream of files, as an apply leaves it; returns its folder."""
    document = {"name": stream, "source": "files", "devices": ["roof"], "source_settings": {"path": stream, **settings}}
    file = root / "flows" / f"{stream}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(orjson.dumps({"fingerprint": "f", "document": document}))
    (folder,) = [found.folder for found in drop_folders(root) if found.stream == stream]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Taker:
    """Takes nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, root: Path, stream: str, files: Sequence[Path]) -> None:
        self.asked += [f"{stream}: {file.name}" for file in files]


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_file_is_taken_at_the_second_look_that_finds_it_unchanged(tmp_path: Path, said: list[str]) -> None:
    folder, taker = tell(tmp_path), Taker()
    watch = DropWatch(tmp_path, said.append, taker)
    (folder / "a.csv").write_text(CSV)
    (folder / "still-written.csv.part").write_text(CSV)
    (folder / ".hidden").write_text(CSV)
    watch.look()
    assert taker.asked == []
    with (folder / "a.csv").open("a") as more:
        more.write("2026-11-20T10:01:00Z,21.6,40\n")
    watch.look()
    assert taker.asked == []
    watch.look()
    assert taker.asked == ["station: a.csv"]


def test_the_looks_are_recorded_and_a_folder_that_cannot_be_read_is_named(tmp_path: Path, said: list[str]) -> None:
    folder = tell(tmp_path)
    (tmp_path / "in-the-way").write_text("")
    tell_blocked = tmp_path / "flows" / "blocked.json"
    document = {"name": "blocked", "source": "files", "source_settings": {"path": str(tmp_path / "in-the-way")}}
    tell_blocked.write_bytes(orjson.dumps({"document": document}))
    assert last_look(tmp_path, "station") is None
    DropWatch(tmp_path, said.append, Taker()).look()
    look = last_look(tmp_path, "station")
    assert look is not None
    assert (look.folder, look.files, look.trouble) == (str(folder), 0, "")
    assert abs(look.at - time.time()) < 60
    blocked = last_look(tmp_path, "blocked")
    assert blocked is not None and "cannot be read" in blocked.trouble


def test_a_folder_outside_of_the_sites_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomelabError, match="leads out of the drop folder"):
        tell(tmp_path, path="../../etc")


def test_columns_of_the_lab_file_become_a_mapping_and_the_only_device_its_constant(tmp_path: Path) -> None:
    tell(tmp_path, columns=COLUMNS)
    (folder,) = drop_folders(tmp_path)
    assert mapping_of(folder, ["time", "temp_c", "hum"]) == {
        "ts": {"column": "time"},
        "melt": ["temp_c", "hum"],
        "names": {"temp_c": "temperature", "hum": "humidity"},
        "device": {"const": "roof"},
    }
    one = dataclasses.replace(folder, columns={"time": "ts", "temp_c": "temperature"})
    assert mapping_of(one, ["time", "temp_c"])["sensor"] == {"const": "temperature"}
    assert "device" not in mapping_of(folder, ["time", "device"])


@pytest.mark.servers
def test_a_file_goes_to_the_bucket_and_then_to_done_and_what_is_none_is_refused(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    folder = DropFolder("station", tmp_path, COLUMNS, "roof")
    good, bad = tmp_path / "good.csv", tmp_path / "sheet.xlsx"
    good.write_text(CSV)
    bad.write_bytes(b"PK\x03\x04 a spreadsheet")
    assert "taken" in take(lakehouse, folder, good)
    assert "refused" in take(lakehouse, folder, bad)
    with ObjectStore(lakehouse.objects) as store:
        (found,) = store.list(lakehouse.raw_bucket, "station/files/")
        assert store.get(lakehouse.raw_bucket, found.key) == CSV.encode()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "good.csv",
        "sheet.xlsx",
        "sheet.xlsx.reason.txt",
    ]
    assert (tmp_path / "done" / "good.csv").is_file()
    assert "spreadsheet" in (tmp_path / "refused" / "sheet.xlsx.reason.txt").read_text()


@pytest.mark.servers
def test_killed_between_the_bucket_and_done_the_next_look_moves_the_file(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = DropFolder("station", tmp_path, COLUMNS, "roof")
    file = tmp_path / "a.csv"
    file.write_text(CSV)
    taken = take(lakehouse, folder, file)
    (tmp_path / "done" / "a.csv").rename(file)  # as it lay before the move that never came
    assert "was in the bucket already" in take(lakehouse, folder, file)
    assert taken.split(" as ")[1]
    with ObjectStore(lakehouse.objects) as store:
        assert len(list(store.list(lakehouse.raw_bucket, "station/files/"))) == 1


def test_a_file_stays_while_the_bucket_is_away(tmp_path: Path, lakehouse: Lakehouse) -> None:
    away = dataclasses.replace(lakehouse, objects=dataclasses.replace(lakehouse.objects, url="http://127.0.0.1:9"))
    file = tmp_path / "a.csv"
    file.write_text(CSV)
    with pytest.raises(HomelabError):
        take(away, DropFolder("station", tmp_path, COLUMNS, "roof"), file)
    assert file.read_text() == CSV
    assert put_files(lakehouse, [file], stream="other")


def test_nothing_in_done_is_overwritten(tmp_path: Path) -> None:
    for content in ("one", "two", "one"):
        file = tmp_path / "a.csv"
        file.write_text(content)
        put_away(file, "done")
    assert sorted(path.read_text() for path in (tmp_path / "done").iterdir()) == ["one", "two"]
