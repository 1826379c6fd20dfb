"""What the file flow makes of a dropped file: fit or not, how its columns are read, where it goes, under which key."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform import paths
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.sources.files import _key, describe

sys.path.insert(0, str(paths.project_path("nifi", "extensions")))

import homelab_files as files

CSV = b"time,temp_c,hum,room\n2026-11-20T10:00:00Z,21.5,40,attic\n"
COLUMNS = {"time": "ts", "temp_c": "temperature", "hum": "humidity", "room": "device"}


def look(tmp_path: Path, content: bytes, name: str = "a.csv", **known: object) -> files.Look:
    (tmp_path / name).write_bytes(content)
    return files.look(tmp_path / name, files.Known(**known))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "blank"),
        (b"PK\x03\x04xx", "ZIP"),
        (b"a\x01b,c\n", "neither text nor Parquet"),
        (b"[1]", "one JSON array"),
        (b"<html>", "HTML"),
        (b"PAR1....", "Parquet breaks off"),
        (gzip.compress(b"PAR1....PAR1"), "gzipped Parquet"),
        (gzip.compress(CSV)[:-9], "breaks off"),
        (gzip.compress(CSV)[:-6] + b"XXXXXX", "damaged"),
        (gzip.compress(CSV) + b"junk", "damaged"),
        (b"ts,ts\n", "twice"),
        ("время,t\n".encode("cp1251"), "not UTF-8"),
        (b"a,b\n1,2\n", "no column ts, device, sensor, value .it has a, b.: say in the lab file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # gzip holds the time: each process would name it anew
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(files.Unfit, match=reason):
        look(tmp_path, content)


def test_columns_that_the_stream_names_and_the_file_lacks_are_named(tmp_path: Path) -> None:
    with pytest.raises(files.Unfit, match="no column hum"):
        look(tmp_path, b"time,temp_c,room\n", columns=COLUMNS)


def test_a_file_in_the_tables_own_words_needs_no_mapping(tmp_path: Path) -> None:
    assert look(tmp_path, b"ts,device,sensor,value\n").mapping == ""
    assert look(tmp_path, b'{"ts": 1}\n') == look(tmp_path, b'{"ts": 1}\n', "b.txt")


def test_several_measured_columns_become_sensors_of_the_names_that_the_stream_gives_them(tmp_path: Path) -> None:
    found = look(tmp_path, CSV, columns=COLUMNS)
    mapping = Mapping.parse(found.mapping)
    record = {"time": "2026-11-20T10:00:00Z", "temp_c": "21.5", "hum": "40", "room": "attic"}
    assert [(r["device"], r["sensor"], r["value"], r["ts"]) for r in mapping.apply(record)] == [
        ("attic", "temperature", "21.5", record["time"]),
        ("attic", "humidity", "40", record["time"]),
    ]


def test_one_measured_column_and_what_the_stream_knows_fill_the_rest(tmp_path: Path) -> None:
    found = look(tmp_path, b"ts;t\n1;2\n", columns={"t": "temperature"}, device="roof")
    (row,) = Mapping.parse(found.mapping).apply({"ts": "1", "t": "2"})
    assert row == {"ts": "1", "device": "roof", "sensor": "temperature", "value": "2"}
    own = look(tmp_path, b"ts,device,value\n1,a,2\n", device="roof", sensor="t")
    (row,) = Mapping.parse(own.mapping).apply({"ts": "1", "device": "a", "value": "2"})
    assert (row["device"], row["sensor"]) == ("a", "t"), "what the file says goes before what the stream knows"


def test_the_key_is_that_of_the_same_file_put_by_hand(tmp_path: Path) -> None:
    content = b"ts,device,sensor,value\n2026-11-20T10:00:00Z,a,b,1\n"
    found = look(tmp_path, content, "my table.csv")
    (plan,) = describe([tmp_path / "my table.csv"])
    import hashlib

    by_hand = _key("s", plan, hashlib.sha256(hashlib.sha256(content).digest()).hexdigest())
    assert files.key_of("s", tmp_path / "my table.csv", found) == by_hand


def test_what_lies_in_done_is_never_overwritten_by_other_content(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"one"):
        file = tmp_path / "a.csv"
        file.write_bytes(content)
        files.put_away(file, files.DONE, files.digest_of(file))
    done = {path.name: path.read_bytes() for path in (tmp_path / "done").iterdir()}
    assert sorted(done.values()) == [b"one", b"two"]
    assert done["a.csv"] == b"one"


def test_a_file_that_grows_while_it_is_sent_is_not_sent_whole(tmp_path: Path) -> None:
    found = look(tmp_path, CSV, columns=COLUMNS)
    file = tmp_path / "a.csv"
    for change in (CSV + b"more", CSV[:-3], CSV[:-3] + b"xyz"):
        file.write_bytes(change)
        with file.open("rb") as stream, pytest.raises(files.Moved):
            reader = files._Watched(stream, len(CSV), found.digest)
            while reader.read():
                pass


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=4), st.integers(0, 9))
def test_gzip_of_any_content_is_seen_through_whole(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], level: int
) -> None:
    folder = tmp_path_factory.mktemp("gz")
    plain = b'{"a": 1}\n' + b"".join(parts).replace(b"\0", b" ")
    middle = len(plain) // 2
    packed = gzip.compress(plain[:middle], level) + gzip.compress(plain[middle:], level)
    assert look(folder, packed).compressed
    with pytest.raises(files.Unfit, match="gzip"):
        look(folder, packed[:-1])


def test_the_mapping_fits_into_a_header(tmp_path: Path) -> None:
    names = [f"colümn-{number}" for number in range(40)]
    content = ("ts,device," + ",".join(names) + "\n").encode()
    found = look(tmp_path, content, columns={name: f"sensor-{name}" for name in names[:10]})
    assert found.mapping.isascii()
    assert json.loads(found.mapping)["melt"] == names[:10]
    with pytest.raises(files.Unfit, match="too many"):
        look(tmp_path, content, columns={name: f"sensor-{name}" for name in names})
