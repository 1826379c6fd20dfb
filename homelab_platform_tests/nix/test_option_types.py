"""Types of NixOS options, read from the words of its list."""

from __future__ import annotations

from typing import Any

import pytest

from homelab_platform_tests.nix.option_types import check

PORT = "16 bit unsigned integer; between 0 and 65535 (both inclusive)"
PSK = "null or string matching the pattern ([[:xdigit:]]{64})|(ext:[^=]+)"
SHELL = "null or package or (absolute path, not containing newlines or colons)"


@pytest.mark.parametrize(
    ("words", "fits", "does_not"),
    [
        ("boolean", True, "yes"),
        ("signed integer", 3, True),
        (PORT, 9100, 70_000),
        ("positive integer, meaning >0", 1, 0),
        ("null or string", None, 3),
        ("null or (list of string)", ["a"], [1]),
        ("string or list of string", ["a"], [["a"]]),
        ("list of (submodule)", [{}], ["a"]),
        ('one of "server", "agent"', "agent", "master"),
        ('boolean or one of "strict", "loose"', "loose", "lose"),
        (PSK, "ext:psk_home", "secret"),
        (SHELL, "/nix/store/zsh", 3),
        ("attribute set of string", {"a": "b"}, {"a": 1}),
        ("attribute set of (systemd option)", {"a": ["b"]}, {"a": {}}),
        ("non-empty (list of string (with check: non-empty))", ["a"], "a"),
        ('strings concatenated with "\\n"', "a\nb", ["a"]),
        ("absolute path", "/a", "a"),
    ],
)
def test_a_value_fits_its_type_or_does_not(words: str, fits: Any, does_not: Any) -> None:
    assert check(words)(fits)
    assert not check(words)(does_not)


def test_what_the_words_leave_open_fits() -> None:
    assert check("YAML 1.1 value")({"a": 1})
    assert check("open submodule of (JSON value)")({"a": 1})
