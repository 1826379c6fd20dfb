"""Manifests are read as the API server reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.wire.go_yaml import documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0o755", 0o755), ("0755", 0o755), ("0x1f", 31), ("-12", -12), ("1_000", 1000), ("1e3", 1000.0), ("yes", "yes"),
        ("on", "on"), ("true", True), ("=", "="), ("2026-12-01", "2026-12-01"), ("~", None), ("1:30", "1:30"),
        ("08", 8.0),
        (".5", 0.5), ("", None), ("null", None), ("0", 0), ("1.2.3", "1.2.3"), ("10m", "10m"),
    ],
)  # fmt: skip
def test_scalars_are_what_go_makes_of_them(text: str, value: Any) -> None:
    found = next(iter(documents(f"a: {text}\n")))["a"]
    assert (found, type(found)) == (value, type(value))


_text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8)
_leaf = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | _text
_plain = st.dictionaries(_text, _leaf | st.lists(_leaf, max_size=3), min_size=1, max_size=4)


@given(_plain)
def test_json_means_what_it_says(value: dict[str, Any]) -> None:
    assert list(documents(json.dumps(value, ensure_ascii=False))) == [value]
