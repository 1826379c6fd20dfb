"""Tables of text as loggers, spreadsheets and databases write them: their encoding, separator, header and rows.

Belongs here: finding out by the first bytes how such a file is written, and its rows with their line numbers. Not here:
what the columns mean (readings/sources/guess.py) or what a reading is. Guess and ingest both read a file through this
module, so that they cannot see different columns. Standard library only, Python 3.9 or later: NiFi runs this very file
beside its processors (servers/nifi.py copies it).
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

HEAD_BYTES = 256 * 1024
"""Bytes from a file's start that decide how it is written."""
HEADER_WITHIN = 40  # lines; a header stands behind a title and remarks at most
LOOK_AHEAD = 40  # rows that a header is held against
MOST_QUOTED_LINES = 200  # a cell of more lines than this is a quote that was never closed
SEPARATORS = (",", ";", "\t", "|")
MOST_CELL = 1024 * 1024
_DECIMAL_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+(?:[eE][-+]?\d+)?", re.ASCII)
_GROUPS_ONLY = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+", re.ASCII)
_POINT = re.compile(r"[-+]?\d+\.\d+", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_DATED = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?", re.ASCII)
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_FOREIGN_SCRIPT = re.compile(rb"[\x80-\xff]{3,}")
_BINARY = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Unreadable(ValueError):
    """The file is no table of text that can be read; the text says why and what to do."""


class Options(NamedTuple):
    """What a person says of a file's spelling; empty where it is to be found out."""

    encoding: str = ""
    separator: str = ""
    decimal: str = ""


class Form(NamedTuple):
    """How a table is written. `skip` counts lines ahead of the first row; `names` are the columns, in order."""

    names: tuple[str, ...]
    separator: str
    skip: int
    decimal: str = "."
    comments: bool = False  # lines that begin with # are remarks
    spaced: bool = False  # a space stands behind each separator
    notes: tuple[str, ...] = ()


class Row(NamedTuple):
    """One row: the number of its first line in the file, its cells, or why it is none (then `text` is the line)."""

    line: int
    cells: Sequence[str]
    reason: str = ""
    text: str = ""


def is_binary(head: bytes) -> bool:
    """Whether first bytes are no text; NUL bytes alone are what a power cut leaves in one."""
    return not head.startswith((b"\xff\xfe", b"\xfe\xff")) and _BINARY.search(head) is not None


def encoding_of(head: bytes, whole: bool, asked: str = "") -> tuple[str, str]:
    """The encoding of a text by its first bytes, and a remark for people, if any.

    UTF-8 and what a byte order mark says are certain. Other Western text is read as Windows-1252, of which Latin-1 is
    part. Raises Unreadable for other scripts and for what is no text.
    """
    if asked:
        try:
            "".encode(asked)
        except LookupError:
            raise Unreadable(
                f"is to be read as {asked}, which is no known encoding; use a name such as cp1252"
            ) from None
        return asked, ""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name, ""
    if is_binary(head):
        raise Unreadable("is binary data, not NDJSON, CSV or Parquet")
    text = head if whole else head[: head.rfind(b"\n") + 1]
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return _eight_bit(text, error.start)
    return "utf-8", ""


def _eight_bit(text: bytes, place: int) -> tuple[str, str]:
    line = text.count(b"\n", 0, place) + 1
    where = f"byte {text[place]:#04x} in line {line}"
    if _FOREIGN_SCRIPT.search(text):
        raise Unreadable(f"is not UTF-8 ({where}) and not Western text; say its encoding, e.g. --encoding cp1251")
    try:
        text.decode("cp1252")
    except UnicodeDecodeError:
        raise Unreadable(f"is not UTF-8 ({where}) and not Windows-1252; say its encoding with --encoding") from None
    return "cp1252", f"is not UTF-8 ({where}) and is read as Windows-1252 (--encoding says otherwise)"


def form_of(lines: Sequence[str], options: Options = Options()) -> Form:  # noqa: B008 - immutable
    """How the table is written whose first lines these are (at most `HEAD_BYTES`, without a byte order mark).

    Raises Unreadable with the cause and the way out.
    """
    separator, start, comments = options.separator, 0, False
    if lines and (found := _SEP.fullmatch(lines[0].strip())):
        separator, start = separator or found.group(1), 1
    header = _find_header(lines, start, (separator,) if separator else SEPARATORS)
    if header is None:
        return _no_header(lines, start, separator)
    at, separator, names, commented = header
    if (later := _later_header(lines, at, separator)) is not None:
        at, names = later
    comments = commented or any(line.lstrip().startswith("#") for line in lines[start:at])
    spaced = all(name[:1] == " " for name in names[1:]) and len(names) > 1
    plain = [name.strip().strip("\ufeff").strip() for name in names]
    if commented:
        plain[0] = plain[0].lstrip("#").strip()
    while plain and not plain[-1]:
        plain.pop()
    twice = sorted({name for name in plain if name and plain.count(name) > 1})
    if twice:
        raise Unreadable(f"names the column {twice[0]!r} twice in line {at + 1}; rename one of them")
    cells = [c for row in _cells(lines[at + 1 : at + 1 + LOOK_AHEAD], separator, spaced) for c in row]
    decimal = options.decimal or _decimal(cells, separator)
    return Form(tuple(plain), separator, at + 1, decimal, comments, spaced)


def _find_header(
    lines: Sequence[str], start: int, separators: Sequence[str]
) -> tuple[int, str, list[str], bool] | None:
    """Where the header is: the first line of several names that most of the rows behind it agree with."""
    best: tuple[float, int, str, list[str], bool] | None = None
    for at in range(start, min(len(lines), start + HEADER_WITHIN)):
        line = lines[at].rstrip("\r\n")
        commented = line.lstrip().startswith("#") and not line.lstrip().startswith(("#,", '"#"', "#;", "#\t"))
        if not line.strip() or (commented and not _stands_for_header(lines, at)):
            continue
        for separator in separators:
            names = next(iter(_cells([line], separator, False)), [])
            if len([n for n in names if n.strip()]) < 2 or any(_is_data(n.strip()) for n in names):
                continue
            score = _agreement(lines[at + 1 : at + 1 + LOOK_AHEAD], separator, len(names))
            better = best is None or (score, len(names)) > (best[0], len(best[3]))
            if score > 0 and better and (best is None or best[1] == at or best[0] < 0.8):
                best = (score, at, separator, names, commented)
        if best is not None and best[0] >= 0.8 and best[1] == at:
            break
    return None if best is None else best[1:]


def _later_header(lines: Sequence[str], at: int, separator: str) -> tuple[int, list[str]] | None:
    """The header of the rows, where another small table stands ahead of them, as in Netatmo's exports."""
    for place in range(at + 1, min(len(lines), at + HEADER_WITHIN)):
        cells = next(iter(_cells([lines[place]], separator, False)), [])
        if any(_is_time(cell.strip()) for cell in cells):
            return None
        named = len([cell for cell in cells if cell.strip()]) >= 2 and not any(_is_data(c.strip()) for c in cells)
        behind = next(iter(_cells(lines[place + 1 : place + 2], separator, False)), [])
        if named and place > at + 1 and any(_is_time(cell.strip()) for cell in behind):
            return place, cells
    return None


def _is_time(text: str) -> bool:
    return bool(_DATED.fullmatch(text) or (text.isdigit() and len(text) in (10, 13, 16, 19)))


def _stands_for_header(lines: Sequence[str], at: int) -> bool:
    """Whether a remark is the last ahead of rows: loggers write `#time,temp` for a header."""
    behind = next((line for line in lines[at + 1 :] if line.strip()), "#")
    first = re.split(r"[,;\t|]", behind.strip(), maxsplit=1)[0].strip('" ')
    return not behind.lstrip().startswith("#") and _is_data(first)


def _agreement(lines: Sequence[str], separator: str, columns: int) -> float:
    """Which part of the rows has as many cells as the header; a header without rows agrees a little."""
    rows = [line for line in lines if line.strip(" \t\r\n\0") and not line.lstrip().startswith("#")]
    if not rows:
        return 0.1
    fitting = 0
    begins = False  # with a row that fits and holds a time: cells of several lines may follow
    for number, cells in enumerate(_cells(rows, separator, False)):
        used = len(cells)
        while used > columns and not cells[used - 1].strip():
            used -= 1
        fits = used == columns or (used < columns and used > 1)
        fitting += fits
        begins = begins or (number == 0 and fits and any(_is_time(cell.strip()) for cell in cells))
    return max(fitting / len(rows), 0.8 if begins else 0.0)


def _cells(lines: Iterable[str], separator: str, spaced: bool) -> Iterator[list[str]]:
    for line in lines:
        try:
            yield from csv.reader([line.replace("\0", "")], delimiter=separator, skipinitialspace=spaced)
        except csv.Error:
            continue


def _is_data(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text) or _DATED.fullmatch(text))


def _no_header(lines: Sequence[str], start: int, separator: str) -> Form:
    first = next((line.strip() for line in lines[start:] if line.strip(" \t\r\n\0") and line.lstrip()[:1] != "#"), "")
    split = separator or max(SEPARATORS, key=first.count)
    cells = next(iter(_cells([first], split, False)), [])
    if len(cells) < 2:
        raise Unreadable(
            f"has no columns separated by comma, semicolon, tab or | in its first line ({first[:60]!r}); "
            "say the separator with --separator"
        )
    if any(_is_data(cell.strip()) for cell in cells):
        raise Unreadable("has values in its first line; put a line with the columns' names before it")
    behind = next((line for line in lines[start + 1 :] if line.strip() and line.lstrip()[:1] != "#"), "")
    other = len(next(iter(_cells([behind], split, False)), []))
    if other > len(cells):
        raise Unreadable(
            f"has rows of {other} cells under a header of {len(cells)}; if its numbers have decimal commas, separate "
            "the columns by semicolons"
        )
    raise Unreadable(f"has no header that its rows agree with (first line: {first[:60]!r})")


def _decimal(cells: Sequence[str], separator: str) -> str:
    """The decimal mark of the numbers. Raises Unreadable where 1,234 may be either."""
    if separator == "," and not any(_DECIMAL_COMMA.fullmatch(c.strip()) for c in cells):
        return "."
    commas = [c.strip() for c in cells if _DECIMAL_COMMA.fullmatch(c.strip())]
    certain = [c for c in commas if not _GROUPS_ONLY.fullmatch(c)]
    points = [c for c in cells if _POINT.fullmatch(c.strip())]
    if certain and points:
        raise Unreadable(
            f"writes numbers with a comma ({certain[0]}) and with a point ({points[0]}); "
            "say which is the decimal mark with --decimal"
        )
    if commas and not certain and not points:
        raise Unreadable(f"writes numbers like {commas[0]}; say with --decimal , or --decimal . what the comma means")
    return "," if certain else "."


def to_number(text: str, decimal: str = ".") -> float:
    """The number that a cell spells. Raises ValueError with the reason."""
    text = text.strip()
    if decimal == ",":
        if "." in text and "," not in text:
            raise ValueError(f"value {text[:40]!r} has a point where the file writes decimal commas")
        if "," in text:
            if not _DECIMAL_COMMA.fullmatch(text):
                raise ValueError("value is not a number")
            text = text.replace(".", "").replace(",", ".")
    if "_" in text:
        raise ValueError("value is not a number")
    try:
        return float(text)
    except ValueError:
        raise ValueError("value is not a number") from None


def rows(lines: Iterable[str], form: Form) -> Iterator[Row]:
    """The rows behind the header, with the number of the line where each begins.

    A quote that is opened and never closed costs the line that opens it, not the rest of the file: what it would
    swallow is read again line by line.
    """
    csv.field_size_limit(MOST_CELL)
    source = _Taken(lines, form)
    while not source.ended:
        source.fresh = False
        reader = csv.reader(source, delimiter=form.separator, skipinitialspace=form.spaced)
        yield from _read(reader, source, form)


def _read(reader: Iterator[list[str]], source: _Taken, form: Form) -> Iterator[Row]:
    """Rows until the reader must be made anew."""
    while True:
        source.taken.clear()
        ended = source.ended
        try:
            cells = next(reader)
        except StopIteration:
            if not source.taken:
                return
            cells = []
        except csv.Error as error:
            if len(source.taken) < 2:
                line, text = source.taken[0] if source.taken else (source.number, "")
                yield Row(line, (), f"not CSV: {error}", text)
                source.ended = False
                return
            cells = []
        taken = source.taken
        unclosed = source.ended and not ended and bool(taken)  # it asked for more, and there was none
        if unclosed or (len(taken) > 1 and (not cells or _swallowed(taken, cells, form))):
            line, text = taken[0]
            source.put_back(list(taken)[1:])
            yield Row(line, (), "a quote that opens in this line is not closed", text.rstrip("\r\n"))
            return
        if cells and taken:
            yield _row(taken[0][0], cells, taken[0][1], form)


def _row(line: int, cells: list[str], text: str, form: Form) -> Row:
    if any("\0" in cell for cell in cells):
        stripped = [cell.strip("\0") for cell in cells]
        if not any(cell.strip() for cell in stripped):
            return Row(line, (), "NUL bytes where a line should be, as a power cut leaves them", "")
        if any("\0" in cell for cell in stripped):
            return Row(line, (), "NUL bytes inside the line, as a power cut leaves them", text.rstrip("\r\n"))
        cells = stripped
    while len(cells) > len(form.names) and not cells[-1].strip():
        cells.pop()
    if len(cells) > len(form.names):
        return Row(line, (), f"{len(cells)} cells, the header has {len(form.names)}", text.rstrip("\r\n"))
    return Row(line, cells, "", text)


def _swallowed(taken: Sequence[tuple[int, str]], cells: Sequence[str], form: Form) -> bool:
    """Whether a cell of several lines is in truth a quote that was not closed: rows stand within it."""
    if len(taken) > MOST_QUOTED_LINES or len(cells) > len(form.names):
        return True
    inside = (line.split(form.separator) for cell in cells for line in cell.split("\n")[1:])
    return any(len(parts) > 1 and any(_is_time(part.strip('" \r')) for part in parts) for parts in inside)


class _Taken:
    """Hands lines to a csv reader and remembers those of the row that it is making; lines may be put back."""

    def __init__(self, lines: Iterable[str], form: Form) -> None:
        self._lines = iter(lines)
        self._form = form
        self._again: deque[tuple[int, str]] = deque()
        self.taken: list[tuple[int, str]] = []
        self.number = 0
        self.ended = False
        self.fresh = False

    def put_back(self, lines: Sequence[tuple[int, str]]) -> None:
        """Hand these lines out again, before any other."""
        self._again.extendleft(reversed(lines))
        self.ended = False

    def __iter__(self) -> _Taken:
        return self

    def __next__(self) -> str:
        if len(self.taken) > MOST_QUOTED_LINES:
            raise StopIteration
        if self._again:
            number, line = self._again.popleft()
        else:
            number, line = self._fresh()
        self.taken.append((number, line))
        return line

    def _fresh(self) -> tuple[int, str]:
        for line in self._lines:
            self.number += 1
            if self.number <= self._form.skip:
                continue
            passed_over = not line.strip() or (self._form.comments and line.lstrip().startswith("#"))
            if passed_over and not self.taken:
                continue
            return self.number, line
        self.ended = True
        raise StopIteration
