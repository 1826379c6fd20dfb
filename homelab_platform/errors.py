"""The one shape of an error that a person sees: where, what is wrong, what to do.

Belongs here: the error types that every layer raises and every screen prints. Not here: rules (lab/rules) or
rendering (cli).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, Self


@dataclass(frozen=True, order=True)
class Position:
    """A place in a text file: `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `where` is a Position, or the name of a host, workload, object or server; `what` says what is wrong in one line;
    `remedy` says what the reader should do; `rule` is the stable name of the rule or check that found it. A `warning`
    stops nothing: what is asked for has no effect.
    """

    where: Position | str
    what: str
    remedy: str = ""
    rule: str = ""
    level: Literal["error", "warning"] = "error"

    def to_dict(self) -> dict[str, object]:
        """The problem as JSON-ready data, for `--json`."""
        place: object = asdict(self.where) if isinstance(self.where, Position) else self.where
        return {"where": place, "what": self.what, "remedy": self.remedy, "rule": self.rule, "level": self.level}

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if str(self.where) else self.what
        return f"{text}\n    {self.remedy}" if self.remedy else text


class HomelabError(Exception):
    """Something a user can cause or cure. Carries every problem found, not only the first."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    @classmethod
    def of(cls, where: Position | str, what: str, remedy: str = "", rule: str = "") -> Self:
        """An error with a single problem."""
        return cls(Problem(where, what, remedy, rule))


UNREACHABLE = "unreachable"
"""The rule of problems that only say that something does not answer."""


class Unreachable(HomelabError):
    """What is asked for does not answer: off, cut off, or busy starting. Nothing is known of it, and nothing is wrong
    with it as far as anyone knows; it is asked again later.
    """

    @classmethod
    def of(cls, where: Position | str, what: str, remedy: str = "", rule: str = UNREACHABLE) -> Self:
        """An error with a single problem, known by its rule wherever only problems are passed on."""
        return super().of(where, what, remedy, rule)
