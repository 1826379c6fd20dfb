"""A statement of SQL as tokens, in either dialect: which brackets belong together, casts, calls, dates.

Belongs here: reading the text. A parser of both dialects takes longer to import than most queries take. Not here: what
follows from it (refusals.py, portable.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from homelab_platform.errors import HomelabError, Position

_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*|/\*.*?\*/)|(?P<text>'(?:[^']|'')*')|(?P<name>\"(?:[^\"]|\"\")*\")"
    r"|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<word>[^\W\d]\w*)|(?P<sign>::|<=|>=|<>|!=|->>?|\|\||.)",
    re.DOTALL,
)
ZONED = re.compile(r"\d\d:\d\d.*(Z|UTC|[+-]\d\d(:?\d\d)?|[A-Z]\w+/\w+)'$")


@dataclass(frozen=True)
class Token:
    """A piece of a statement: kind (text, name, number, word, sign), as written, and where it begins."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.start + len(self.text)

    @property
    def upper(self) -> str:
        """A word in capitals, a sign; of all else nothing, so that it equals no word."""
        return self.text.upper() if self.kind in {"word", "sign"} else ""


def tokens(sql: str) -> list[Token]:
    """The tokens of a statement without blanks and comments."""
    return [
        Token(str(found.lastgroup), found.group(), found.start())
        for found in _TOKEN.finditer(sql)
        if found.lastgroup != "space"
    ]


class Statement:
    """A statement as tokens, with the brackets that belong together."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = tokens(sql)
        self.closing: dict[int, int] = {}
        self.opener: list[int | None] = []  # of each token, the bracket that it stands in
        opened: list[int] = []
        for number, token in enumerate(self.tokens):
            if token.upper in {")", "]"} and opened:
                self.closing[opened.pop()] = number
            self.opener.append(opened[-1] if opened else None)
            if token.upper in {"(", "["}:
                opened.append(number)

    def at(self, number: int) -> Token:
        """The token of this number; an empty one outside."""
        return self.tokens[number] if 0 <= number < len(self.tokens) else Token("sign", "", len(self.sql))

    def words(self, number: int, *words: str) -> bool:
        """Whether these words follow each other from this token on."""
        return all(self.at(number + i).upper == word for i, word in enumerate(words))

    def calls(self, *names: str) -> Iterator[int]:
        """Where one of these functions is called: the number of its name."""
        for number, token in enumerate(self.tokens):
            if token.upper in names and self.at(number + 1).upper == "(" and number + 1 in self.closing:
                yield number

    def casts(self) -> Iterator[tuple[int, int, int]]:
        """Each CAST and TRY_CAST: the numbers of its name, of its AS, and of its closing bracket."""
        for number in self.calls("CAST", "TRY_CAST"):
            closing = self.closing[number + 1]
            inner = [i for i in range(number + 2, closing) if self.opener[i] == number + 1]
            last = [i for i in inner if self.tokens[i].upper == "AS"]
            if last:
                yield number, last[-1], closing

    def refuse(self, number: int, fault: str, remedy: str) -> HomelabError:
        """The refusal at a token."""
        before = self.sql[: self.at(number).start]
        place = Position("query", before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        return HomelabError.of(place, fault, remedy)

    def replaced(self, edits: Sequence[tuple[int, int, str]]) -> str:
        """The text with pieces (begin, end, new text) put in, which do not overlap."""
        text = self.sql
        for begin, end, new in sorted(edits, reverse=True):
            text = text[:begin] + new + text[end:]
        return text

    def dates(self) -> Iterator[tuple[int, int]]:
        """Dates that need no types to be told: DATE '…', current_date, the column date. First token, one past it."""
        for number, token in enumerate(self.tokens):
            if token.upper == "DATE" and self.at(number + 1).kind == "text":
                yield number, number + 2
            elif token.upper in {"CURRENT_DATE", "DATE"} and self.at(number + 1).upper != "(":
                yield number, number + 1
