"""How the command speaks: problems, progress, JSON, sizes and ages.

Belongs here: everything about how a screen looks. Not here: what a command does. Results go to standard output,
progress and problems to standard error, so that a pipe gets only the answer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import orjson

from homelab_platform.cli.grammar import pasteable
from homelab_platform.errors import Problem
from homelab_platform.names import silent

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A rich console that never wraps words of a path and turns colours off where nobody sees them."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def write_json(value: object) -> None:
    """Print one JSON document, UTF-8, two-space indent."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    write_bytes(orjson.dumps(value, option=option, default=str))


def write_bytes(data: bytes) -> None:
    """Print bytes as they are."""
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """The problems as aligned text: the place, then what is wrong, and below it what to do."""
    width = min(max((len(str(p.where)) for p in problems), default=0), 32)
    lines: list[str] = []
    for problem in problems:
        place = str(problem.where)
        lead = f"{place:<{width}}  " if place else ""
        if len(place) > width:
            lines.append(place)
            lead = " " * (width + 2)
        what, *more = problem.what.splitlines() or [""]
        lines.append(f"{lead}{what}")
        indent = " " * (width + 2 if place else 4)
        lines.extend(f"{indent}{line}" for line in (*more, *problem.remedy.splitlines()))
    return lines


def print_problems(problems: Sequence[Problem], *, closing: str = "") -> None:
    """Show problems on standard error, followed by a closing line."""
    for line in problem_lines(problems):
        print(pasteable(line), file=sys.stderr)  # noqa: T201
    if closing:
        print(closing, file=sys.stderr)  # noqa: T201


def say(text: str = "") -> None:
    """A line of the answer."""
    print(pasteable(text))  # noqa: T201


def note(text: str) -> None:
    """A line beside the answer: a hint, a warning, what happens next."""
    print(pasteable(text), file=sys.stderr, flush=True)  # noqa: T201


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`3 errors`, `1 error`, `1,204 readings`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(value: float) -> str:
    """Bytes for people, binary units: `1.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `38 s`, `5 min`, `3 h`, `14 days`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"


class Steps:
    """Progress of long work on standard error: one live line on a terminal, plain lines elsewhere.

    A step that takes less than a second leaves no trace on a terminal beyond its closing line.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._started = time.monotonic()
        self._last = ""

    def __call__(self, text: str) -> None:
        """Say what happens now."""
        if text == self._last:
            return
        self._last = text
        elapsed = duration(time.monotonic() - self._started)
        if self._live:
            self._stream.write(f"\r\x1b[2K  {text}  \x1b[2m{elapsed}\x1b[0m")
        else:
            self._stream.write(f"  {text}\n")
        self._stream.flush()

    def done(self) -> None:
        """Clear the live line."""
        if self._live and self._last:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()


@contextmanager
def steps(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Progress for the length of a block; with `quiet` (used for --json) nothing is shown."""
    if quiet:
        yield silent
        return
    progress = Steps()
    try:
        yield progress
    finally:
        progress.done()


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: frozenset[int] = frozenset()) -> str:
    """A plain aligned table without lines; columns in `right` are aligned right."""
    text = [[("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(len(h), *(len(r[i]) for r in text)) if text else len(h) for i, h in enumerate(headers)]

    def line(cells: Sequence[str]) -> str:
        parts = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(parts).rstrip()

    return "\n".join([line(headers), line(["-" * w for w in widths]), *(line(r) for r in text)])
