"""The answer of a polled address as a whole: whether it is one, and where in it the items lie.

Belongs here: what can be said about any JSON answer. Not here: what its items mean (payload.py, statistics.py,
exposition.py) or asking for it (NiFi's InvokeHTTP). Standard library only, Python 3.9 or later: NiFi runs this very
file beside its processors (servers/nifi.py copies it).
"""

from __future__ import annotations

import json


class NotAnAnswer(ValueError):
    """The answer as a whole cannot be used; the text says why."""


def parse(body: bytes) -> object:
    """The JSON value of an answer. Raises NotAnAnswer for a page, for nothing, for what breaks off or is no JSON."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise NotAnAnswer(f"it is not UTF-8 (byte {error.start})") from None
    if not text:
        raise NotAnAnswer("it is empty")
    if text[0] == "<":
        raise NotAnAnswer("it is HTML or XML, not JSON: a log-in page, or another address than meant")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise NotAnAnswer("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or _breaks_off(text, error):
            raise NotAnAnswer(f"it breaks off after {len(body)} bytes; nothing of it was taken") from None
        raise NotAnAnswer(f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None


def _no_constant(name: str) -> object:
    raise NotAnAnswer(f"it is not JSON: {name} stands for a number")


def _breaks_off(text: str, error: json.JSONDecodeError) -> bool:
    """Whether it begins as JSON does and only its end is missing."""
    return text[0] in '{["' and ("Unterminated" in error.msg or not text[error.pos :].strip())


def find(value: object, path: str) -> object:
    """What lies at `path`: names and numbers (of a list's items, from 0) with dots between; empty: the value itself.

    Raises NotAnAnswer that says how far it came.
    """
    found, been = value, ""
    for step in [part for part in path.strip().removeprefix("$").split(".") if part]:
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            has = ", ".join(sorted(map(str, found))[:8]) if isinstance(found, dict) else f"a {type(found).__name__}"
            raise NotAnAnswer(f"it has no {step} in {been or 'its top'} (there is {has or 'nothing'})")
        been = f"{been}.{step}".lstrip(".")
    return found
