"""YAML 1.2 as people write it at midnight: nothing is coerced in silence, everything has a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.yaml_reader import MAX_BYTES, read_yaml
from homelab_platform_tests.lab.helpers import complaints, loaded


def read(text: str) -> object:
    """The plain data of a text."""
    return read_yaml(text.encode(), "lab.yaml").data


def refused(raw: str | bytes) -> str:
    """What is said of a text that is refused."""
    with pytest.raises(HomelabError) as caught:
        read_yaml(raw if isinstance(raw, bytes) else raw.encode(), "lab.yaml")
    return str(caught.value)


@pytest.mark.parametrize("word", ["no", "on", "off", "yes", "y", "NO", "Off"])
def test_words_that_yaml_1_1_made_booleans_stay_words(word: str) -> None:
    assert read(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("~", None), ("", None), ("null", None), ("12", 12), ("-3", -3), ("0x1f", 31),
     ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), ("08", "08"), ("007", "007"), ("02:30", "02:30"), ("1_000", "1_000"),
     ("2026-01-02", "2026-01-02"), ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("1.2.3", "1.2.3"),
     ("-", None)],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert read(f"a: {text}" if text != "-" else "a:") == {"a": value}


def test_keys_are_always_text() -> None:
    assert read("8080: a\ntrue: b\nnull: c\n1.30: d") == {"8080": "a", "true": "b", "null": "c", "1.30": "d"}


def test_a_duplicate_key_names_both_lines() -> None:
    said = refused("hosts: {}\nlab: x\nhosts: {}\n")
    assert said.startswith("lab.yaml:3:1: hosts is here twice (first on line 1)")


def test_all_duplicates_are_named_at_once() -> None:
    assert refused("a: 1\na: 2\nb: {c: 1, c: 2}\n").count("is here twice") == 2


def test_a_tab_is_named_as_a_tab() -> None:
    assert "lab.yaml:2:1: a tab is used to indent" in refused("hosts:\n\tpi: {}\n")


def test_a_billion_laughs_are_not_laughed() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "grows beyond all bounds" in refused("\n".join(lines))


def test_a_harmless_anchor_is_accepted() -> None:
    assert read("a: &x {size: 1}\nb: *x") == {"a": {"size": 1}, "b": {"size": 1}}


def test_an_alias_of_nothing_is_named() -> None:
    assert "stands for nothing" in refused("a: *gone")


def test_an_anchor_inside_itself_is_refused() -> None:
    assert "stands for nothing" in refused("a: &a [*a]")


@pytest.mark.parametrize("depth", [70, 5_000, 200_000])
def test_nesting_without_end_is_refused(depth: int) -> None:
    said = refused("a: " + "[" * depth)
    assert "nested more than" in said or "not YAML" in said


def test_merge_keys_are_not_yaml_1_2() -> None:
    assert "merge keys (<<)" in refused("a: &a {b: 1}\nc: {<<: *a}")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [id]", "!secret x", "!!int '3'", "!!binary aGk="])
def test_tags_make_nothing(tag: str) -> None:
    assert "has no meaning here" in refused(f"a: {tag}")


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "9" * 30, "1e999", "0x" + "f" * 40])
def test_numbers_that_json_cannot_carry_are_refused(number: str) -> None:
    assert "lab.yaml:1:4:" in refused(f"a: {number}")


def test_line_ends_of_windows_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xef\xbb\xbflab: x\r\ndomain: x.example.org\r\n")
    assert complaints(tmp_path, path.read_bytes()) == ""


@pytest.mark.parametrize(
    ("raw", "said"),
    [("lab: ä".encode("latin-1"), "lab.yaml:1:6: this byte is not UTF-8"),
     ("lab: x".encode("utf-16"), "lab.yaml:1:1: this file is UTF-16"),
     (b"lab: x\nb: \x00", "lab.yaml:2:4: a character that YAML does not allow"),
     (b'a: "\\x00"', "lab.yaml:1:4: a control character stands in this text"),
     (b"a: 1\n---\nb: 2\n", "lab.yaml:2:1: a second document starts here"),
     (b"? [a]\n: b\n", "a key is a name"),
     (b"'': b", "a key is missing before the colon"),
     (b"a: b: c", "lab.yaml:1:5: this is not YAML"),
     (b"a: [b, c", "this is not YAML"),
     (b"a: 'b", "this is not YAML"),
     (b"a: @b", "this is not YAML"),
     (b" " * (MAX_BYTES + 1), "at most 4 MiB")],
)  # fmt: skip
def test_what_is_not_a_lab_file_is_refused_with_its_place(raw: bytes, said: str) -> None:
    assert said in refused(raw)


def test_every_key_and_value_keeps_its_place(tmp_path: Path) -> None:
    lab = loaded(
        tmp_path,
        """\
        lab: x
        workloads:
          trino: {memory: 2Gi, on: [pi-1]}
        """,
    )
    positions = lab.positions
    assert str(positions.at("workloads", "trino", "memory")) == "lab.yaml:3:19"
    assert str(positions.key("workloads", "trino", "memory")) == "lab.yaml:3:11"
    assert str(positions.at("workloads", "trino", "on", 0)) == "lab.yaml:3:29"
    assert str(positions.at("workloads", "trino", "cpu")) == "lab.yaml:3:3", "the nearest key above"
    assert str(positions.at("nothing")) == "lab.yaml:1:1"
    assert positions.raw("workloads", "trino", "memory") == "2Gi"
