"""What a question to an S3 server is, and the bench on which it is asked.

Belongs here: the types that the modules of questions share. Not here: asking (suite.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from homelab_platform.tools.objects.conformance.requests import Reply, Wire


class Control(Protocol):
    """Power over the server's process, for the questions about crashes."""

    def kill(self) -> None:
        """End it with SIGKILL."""
        ...

    def start(self) -> None:
        """Start it again on the same data and port, and wait until it answers."""
        ...


class Refuted(Exception):
    """The server did not do what the question asks for; the text says what it did."""


class NotTried(Exception):
    """The question could not be asked here; the text says why."""


@dataclass
class Bench:
    """Where questions are asked: a server, a bucket of this run's own, and perhaps power over the process."""

    wire: Wire
    bucket: str
    control: Control | None = None
    made: list[str] = field(default_factory=list)

    def put(self, key: str, body: bytes = b"x", **headers: str) -> Reply:
        """Write an object, which must succeed."""
        found = self.wire.ask("PUT", self.bucket, key, body=body, headers=headers)
        demand(found.ok, f"a plain PUT of {key!r} gives {found.code}")
        return found

    def get(self, key: str) -> bytes:
        """An object's body, which must be there."""
        found = self.wire.ask("GET", self.bucket, key)
        demand(found.ok, f"GET of {key!r} gives {found.code}")
        return found.body

    def another_bucket(self) -> str:
        """One more bucket, for settings that the others must not notice."""
        name = f"{self.bucket}-{len(self.made)}"
        found = self.wire.ask("PUT", name)
        demand(found.ok, f"a bucket cannot be made: {found.code}")
        self.made.append(name)
        return name


@dataclass(frozen=True)
class Question:
    """One thing that a server may or may not do. `needed` says that this project cannot do without it."""

    name: str
    needed: bool
    ask: Callable[[Bench], None]


QUESTIONS: list[Question] = []


def question(name: str, *, needed: bool = True) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Add a function to the questions; it raises Refuted where the server falls short."""

    def add(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
        QUESTIONS.append(Question(name, needed, function))
        return function

    return add


def demand(holds: bool, otherwise: str) -> None:
    """Raise Refuted with this text unless it holds."""
    if not holds:
        raise Refuted(otherwise)
