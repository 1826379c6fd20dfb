"""Differences between documents as people read them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.plan.diff import ABSENT, Change, as_lines, as_markdown, diff
from homelab_platform.wire.json_types import Document

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


def canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@given(DOCUMENTS, DOCUMENTS)
def test_there_is_a_difference_exactly_when_the_canonical_json_differs(old: Any, new: Any) -> None:
    assert bool(diff(old, new)) == (canonical(old) != canonical(new))


@given(DOCUMENTS)
def test_a_document_does_not_differ_from_its_own_copy(document: Any) -> None:
    assert diff(document, orjson.loads(orjson.dumps(document))) == ()


def test_a_changed_value_is_named_by_its_dotted_path() -> None:
    old = {"values": {"coordinator": {"jvm": {"maxHeapSize": "1500M"}}}}
    new = {"values": {"coordinator": {"jvm": {"maxHeapSize": "2G"}}}}
    assert diff(old, new) == (Change("values.coordinator.jvm.maxHeapSize", "1500M", "2G"),)


def test_a_name_with_dots_is_quoted_so_that_the_path_stays_readable() -> None:
    assert diff({"labels": {"a.b/c": "1"}}, {"labels": {"a.b/c": "2"}})[0].path == 'labels["a.b/c"]'


def test_lists_of_names_are_compared_as_sets() -> None:
    found = diff({"roles": ["admin", "dev"]}, {"roles": ["dev", "guest"]})
    assert found == (Change("roles", "admin", ABSENT), Change("roles", ABSENT, "guest"))


def test_only_the_order_of_a_list_is_a_difference_of_its_own() -> None:
    assert diff({"args": ["-a", "-b"]}, {"args": ["-b", "-a"]}) == (Change("args", ["-a", "-b"], ["-b", "-a"]),)


def test_of_a_list_that_grew_or_shrank_only_the_items_that_came_or_went_are_told() -> None:
    ssh: Document = {"allow": 22, "from": "lan"}
    web: Document = {"allow": "80-81"}
    dns: Document = {"allow": 53}
    assert diff({"rules": [ssh, dns]}, {"rules": [ssh, web, dns]}) == (Change("rules[1]", ABSENT, web),)
    assert diff({"rules": [ssh, web, dns]}, {"rules": [dns]}) == (
        Change("rules[0]", ssh, ABSENT),
        Change("rules[1]", web, ABSENT),
    )


def test_a_section_that_comes_or_goes_shows_each_of_its_values() -> None:
    assert diff({}, {"volume": {"size": 1, "class": "ssd"}}) == (
        Change("volume.class", ABSENT, "ssd"),
        Change("volume.size", ABSENT, 1),
    )


def test_the_terminal_shows_paths_in_a_column() -> None:
    lines = as_lines((Change("a", 1, 2), Change("longer", ABSENT, "x"), Change("c", "y", ABSENT)))
    assert lines == ["a        1 → 2", "longer   + x", "c        - y"]


def test_markdown_is_one_diff_block_that_no_value_can_leave() -> None:
    text = as_markdown((Change("script", "```\nold", "new"),))
    assert text.startswith("```diff\n- script: ") and text.endswith("+ script: new\n```")
    assert text.count("```") == 2


@pytest.mark.parametrize(
    ("path", "old", "new", "line"),
    [
        ("expire_after", 3456000, 2592000, "40d → 30d"),
        ("disks.ssd.size", 2**30, 2**31, "1Gi → 2Gi"),
        ("cpu", 500, 2000, "500m → 2"),
        ("values.persistence.size", 10, 20, "10 → 20"),
    ],
)
def test_numbers_are_shown_in_the_units_of_the_lab_file_but_a_charts_own_as_they_are(
    path: str, old: int, new: int, line: str
) -> None:
    assert Change(path, old, new).line() == line
