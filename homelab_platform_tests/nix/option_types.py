"""Whether a value fits the type of an option, as NixOS' own list describes types in words.

Belongs here: reading such words. What they leave open (what is in a submodule, in a file format) fits; a submodule's
own options are looked up one by one by whoever asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

Check = Callable[[Any], bool]


def _whole(value: Any, least: float = float("-inf"), most: float = float("inf")) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


SIMPLE: dict[str, Check] = {
    "boolean": lambda v: isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "non-empty string": lambda v: isinstance(v, str) and v.strip() != "",
    "single-line string": lambda v: isinstance(v, str) and "\n" not in v,
    "(optionally newline-terminated) single-line string": lambda v: isinstance(v, str) and "\n" not in v.rstrip("\n"),
    "package": lambda v: isinstance(v, str) and v.startswith("/nix/store/"),
    "absolute path": lambda v: isinstance(v, str) and v.startswith("/"),
    "attribute set": lambda v: isinstance(v, dict),
    "submodule": lambda v: isinstance(v, dict),
    "(submodule)": lambda v: isinstance(v, dict),
    "systemd option": lambda v: not isinstance(v, dict),
    "signed integer": _whole,
    "floating point number": lambda v: isinstance(v, float),
}


def _parts(words: str, between: str) -> list[str]:
    """`words` cut at `between` where it stands outside of brackets and quotes."""
    parts, depth, quoted, begin = [], 0, False, 0
    for place, letter in enumerate(words):
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "([{") - (letter in ")]}")
        if depth == 0 and not quoted and words.startswith(between, place):
            parts.append(words[begin:place])
            begin = place + len(between)
    return [*parts, words[begin:]]


def _bare(words: str) -> str:
    inner = words[1:-1]
    whole = words.startswith("(") and words.endswith(")") and words not in SIMPLE
    return _bare(inner.strip()) if whole and _balanced(inner) else words


def _balanced(words: str) -> bool:
    depth = 0
    for letter in words:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def _each(inner: Check, kind: type) -> Check:
    def fits(value: Any) -> bool:
        items = value.values() if isinstance(value, dict) else value
        return isinstance(value, kind) and all(inner(item) for item in items)

    return fits


def _one_of(words: str) -> Check:
    try:
        allowed = [None if word == "<null>" else json.loads(word) for word in _parts(words, ", ")]
    except ValueError:  # values that are no JSON: sets, paths
        return lambda _: True
    return lambda value: any(value == one and type(value) is type(one) for one in allowed)


def _matching(pattern: str) -> Check:
    # POSIX classes, as Nix reads them.
    for name, letters in (("[:xdigit:]", "0-9A-Fa-f"), ("[:print:]", " -~"), ("[:alnum:]", "0-9A-Za-z")):
        pattern = pattern.replace(name, letters)
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


@cache
def check(words: str) -> Check:
    """What says whether a value fits the type that `words` describe."""
    words = re.sub(r"^(absolute path|string)(, not containing .*| \(with check: [^)]*\))$", r"\1", _bare(words.strip()))
    if words in SIMPLE:
        return SIMPLE[words]
    if words.startswith("strings concatenated with"):
        return SIMPLE["string"]
    if words.startswith("string matching the pattern "):
        return _matching(words.removeprefix("string matching the pattern "))
    bounds = re.match(
        r"(?:\d+ bit unsigned )?integer; between (\d+) and (\d+)|integer between (-?\d+) and (-?\d+)", words
    )
    if bounds:
        least, most = (int(bound) for bound in bounds.groups() if bound is not None)
        return lambda value: _whole(value, least, most)
    for start, least in (("unsigned integer, meaning", 0), ("positive integer, meaning", 1)):
        if words.startswith(start):
            return lambda value, least=least: _whole(value, least)  # type: ignore[misc]
    return _composed(words)


def _composed(words: str) -> Check:
    parts = _parts(words.removesuffix(" convertible to it"), " or ")
    if len(parts) > 1:
        choices = [check(part) for part in parts if part != "null"]
        return lambda value: (value is None and "null" in parts) or any(fits(value) for fits in choices)
    if words.startswith("one of "):
        return _one_of(words.removeprefix("one of "))
    for start in ("list of ", "non-empty (list of "):
        if words.startswith(start):
            return _each(check(words.removeprefix(start).removesuffix(")" if "(" in start else "")), list)
    for start in ("attribute set of ", "lazy attribute set of "):
        if words.startswith(start):
            return _each(check(words.removeprefix(start)), dict)
    if words.startswith("open submodule of "):
        return SIMPLE["attribute set"]
    return lambda _: True
