"""YAML 1.2, strictly, with the position of every key and value.

Belongs here: turning the text of one file into plain data (dict, list, str, int, float, bool, None) and marks. Not
here: what the data means (lab/model/lab.py) or how files are joined (load.py).

Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), with two guards: whole
numbers with leading zeros stay text, and numbers that JSON cannot carry are refused. libyaml scans; nothing of
PyYAML's own resolver or constructor is used, so no tag can make an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab.positions import Mark, Path

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 60
MAX_NODES = 200_000
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")


@dataclass
class Document:
    """What one file holds. `marks` are relative to the document; `plain_words` are unquoted yes, no, on, off."""

    data: Any
    marks: dict[Path, Mark]
    plain_words: dict[Path, str]


@dataclass
class _Reader:
    file: str
    events: Iterator[Any]
    problems: list[Problem] = field(default_factory=list)
    marks: dict[Path, Mark] = field(default_factory=dict)
    plain_words: dict[Path, str] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    nodes: int = 0

    def problem(self, event: Any, what: str, remedy: str) -> None:
        """Note a problem at a node."""
        mark = event.start_mark
        self.problems.append(Problem(Position(self.file, mark.line + 1, mark.column + 1), what, remedy, "yaml"))

    def fatal(self, event: Any, what: str, remedy: str) -> HomelabError:
        """A problem after which reading cannot go on."""
        self.problem(event, what, remedy)
        return HomelabError(self.problems)

    def count(self, event: Any, more: int) -> None:
        """Count a node, against files that unfold without end."""
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise self.fatal(
                event, "the file grows beyond all bounds", "Use fewer anchors (&name) and aliases (*name)."
            )

    def node(self, event: Any, path: Path, key: tuple[int, int]) -> Any:
        """The value of a node."""
        value = (event.start_mark.line + 1, event.start_mark.column + 1)
        before = self.nodes
        self.count(event, 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path, key)
        if len(path) > MAX_DEPTH:
            raise self.fatal(event, f"nested more than {MAX_DEPTH} deep", "Flatten it.")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self.problem(
                event, f"the tag {event.tag} has no meaning here", "Leave it out; quote text that must stay text."
            )
        raw = event.value if isinstance(event, yaml.ScalarEvent) else None
        self.marks[path] = Mark(self.file, key, value, raw)
        if isinstance(event, yaml.ScalarEvent):
            result = self.scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            result = self.sequence(path)
        else:
            result = self.mapping(path)
        if event.anchor:
            self.anchors[event.anchor] = (result, self.nodes - before)
        return result

    def alias(self, event: Any, path: Path, key: tuple[int, int]) -> Any:
        """What an alias stands for."""
        self.marks[path] = Mark(self.file, key, (event.start_mark.line + 1, event.start_mark.column + 1))
        if event.anchor not in self.anchors:
            self.problem(event, f"the alias *{event.anchor} stands for nothing", f"Define &{event.anchor} above it.")
            return None
        result, size = self.anchors[event.anchor]
        self.count(event, size)
        return result

    def scalar(self, event: Any, path: Path) -> Any:
        """The value of a scalar by the core schema of YAML 1.2."""
        text: str = event.value
        if _CONTROL.search(text):
            self.problem(event, "a control character stands in this text", "Remove it; it cannot be seen.")
        if not event.implicit[0] or event.tag:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] in "0123456789+-.":
            return self.number(event, text)
        if text.lower() in ("yes", "no", "on", "off", "y", "n"):
            self.plain_words[path] = text
        return text

    def number(self, event: Any, text: str) -> Any:
        """A number as it is written, if it is one."""
        if _LEADING_ZERO.fullmatch(text):
            return text
        if len(text) > 400 and text.isdigit():
            self.problem(event, "this number is too large", "Quote it if it is meant as text.")
        elif _INT.fullmatch(text):
            number = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            if -(2**63) <= number < 2**63:
                return number
            self.problem(event, "this number is too large", "Quote it if it is meant as text.")
        elif _FLOAT.fullmatch(text):
            value = float(text)
            if value not in (float("inf"), float("-inf")):
                return value
            self.problem(event, "this number is too large", "Quote it if it is meant as text.")
        elif _NOT_FINITE.fullmatch(text):
            self.problem(
                event, f"{text} is not a number that can be used", "Write a finite number, or quote it as text."
            )
        return text

    def sequence(self, path: Path) -> list[Any]:
        """The values of a list."""
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            at = (event.start_mark.line + 1, event.start_mark.column + 1)
            items.append(self.node(event, (*path, len(items)), at))
        return items

    def mapping(self, path: Path) -> dict[str, Any]:
        """The values of a mapping by key."""
        result: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event)
            at = (event.start_mark.line + 1, event.start_mark.column + 1)
            before = self.marks.get((*path, key)) if key in result else None
            value = self.node(next(self.events), (*path, key), at)
            if before is not None:
                line = before.key[0]
                self.problem(event, f"{key} is here twice (first on line {line})", "Keep one of them, or join them.")
                self.marks[(*path, key)] = before
                continue
            result[key] = value
        return result

    def key(self, event: Any) -> str:
        """The key of an entry, which must be text."""
        if not isinstance(event, yaml.ScalarEvent):
            raise self.fatal(event, "a key is a name, not a list or a mapping", "Write name: value.")
        if event.tag == "tag:yaml.org,2002:merge" or (event.value == "<<" and event.implicit[0]):
            raise self.fatal(event, "merge keys (<<) are not part of YAML 1.2", "Write the keys out, or use include.")
        if event.value == "":
            self.problem(event, "a key is missing before the colon", "Write name: value.")
        if _CONTROL.search(event.value):
            self.problem(event, "a control character stands in this key", "Remove it; it cannot be seen.")
        return str(event.value)


def decode(raw: bytes, file: str) -> str:
    """The text of a lab file: UTF-8, with or without a byte order mark, with any line ends.

    Raises HomelabError naming the line of the first byte that is not UTF-8, and for files above 4 MiB.
    """
    if len(raw) > MAX_BYTES:
        raise HomelabError.of(file, f"the file has {len(raw):,} bytes", "A lab file has at most 4 MiB.", "yaml")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise HomelabError.of(Position(file, 1, 1), "this file is UTF-16", "Save it as UTF-8.", "yaml")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise HomelabError.of(
            Position(file, line, column), "this byte is not UTF-8", "Save the file as UTF-8.", "yaml"
        ) from None


MOST_MENDS = 50
"""Colons without their space that are mended in one file; more than that is another kind of text."""


def read_yaml(raw: bytes, file: str, problems: list[Problem] | None = None) -> Document:
    """Reads one document; raises HomelabError with every problem found.

    With `problems`, those after which the rest can still be read (a doubled key, a colon without its space) go there.
    """
    document, found = _read(decode(raw, file), file)
    if found and problems is None:
        raise HomelabError(found)
    if problems is not None:
        problems += found
    return document


def _read(text: str, file: str, mends: int = MOST_MENDS) -> tuple[Document, list[Problem]]:
    """The document, and the problems after which it could still be read. Raises HomelabError where it cannot."""
    reader = _Reader(file, iter(()))
    try:
        reader.events = yaml.parse(text, Loader=yaml.CSafeLoader)
        data = _document(reader)
    except yaml.reader.ReaderError:
        raise HomelabError([*reader.problems, _unreadable(text, file)]) from None
    except yaml.MarkedYAMLError as error:
        mended = _unglued(text, file, error) if mends else None
        if mended is None:
            raise HomelabError([*reader.problems, _syntax(error, text, file)]) from None
        document, found = _read(mended[0], file, mends - 1)
        return document, [mended[1], *found]
    return Document(data, reader.marks, reader.plain_words), reader.problems


_GLUED = re.compile(r"^(\s*(?:- )?[A-Za-z][\w-]*):(?=[^\s:/\\'\"])(?!\S*: )(.*)$")


def _unglued(text: str, file: str, error: yaml.MarkedYAMLError) -> tuple[str, Problem] | None:
    """The text with a space after the colon whose lack stopped the reading, and the problem; None if that is not why.

    The parser stops at that line or at the one below it.
    """
    mark = error.problem_mark or error.context_mark
    at = mark.line if mark else 0
    lines = text.split("\n")
    for number in (at - 1, at):
        found = _GLUED.match(lines[number]) if 0 <= number < len(lines) else None
        if found:
            where = Position(file, number + 1, len(found[1]) + 1)
            remedy = f"Write {found[1].strip()}: {found[2].strip()}"
            lines[number] = f"{found[1]}: {found[2]}"
            return "\n".join(lines), Problem(where, "a space is missing after the colon", remedy, "yaml")
    return None


def _document(reader: _Reader) -> Any:
    data: Any = None
    documents = 0
    for event in reader.events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise reader.fatal(
                    event, "a second document starts here (---)", "Put it in a file of its own and include it."
                )
            if event.version and event.version not in ((1, 2), (1, 1)):
                reader.problem(event, f"YAML {event.version[0]}.{event.version[1]} is not known", "Leave %YAML out.")
            first = next(reader.events)
            at = (first.start_mark.line + 1, first.start_mark.column + 1)
            data = reader.node(first, (), at)
    return data


def _unreadable(text: str, file: str) -> Problem:
    found = re.search("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    offset = found.start() if found else 0
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    what = "a character that YAML does not allow stands here"
    return Problem(Position(file, line, column), what, "Remove it; it cannot be seen.", "yaml")


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    position = Position(file, line, column)
    if "\t" in shown[: len(shown) - len(shown.lstrip())] or "'\\t'" in str(error.problem):
        return Problem(position, "a tab is used to indent", "YAML indents with spaces only.", "yaml")
    said = " ".join(part for part in (error.context, error.problem) if part)
    return Problem(position, f"this is not YAML: {said}", _syntax_remedy(said), "yaml")


def _syntax_remedy(said: str) -> str:
    if "mapping values are not allowed" in said:
        return "A colon inside text needs quotes; a key needs its own line or {…}."
    if "expected ',' or" in said or "expected ']'" in said:
        return "A bracket or comma is missing."
    if "cannot start any token" in said:
        return "Quote text that begins with a special character (% @ ` * &)."
    if "end of stream" in said or "quoted scalar" in said:
        return "A quote or bracket is opened and not closed."
    return "Check the indentation and the line above."
