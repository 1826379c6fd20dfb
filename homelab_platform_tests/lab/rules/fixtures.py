"""The fixtures of the rules: small labs that are wrong in exactly one way, each with one that is right.

Belongs here: finding and reading them. A fixture is `fixtures/<rule>/<case>.yaml` or `fixtures/<rule>/<case>/lab.yaml`
(with the files that lie beside it); cases begin with `rejected` or `accepted`. A rejected one says at its head what is
expected: `# expect: <line>:<column> <rule> <part of the message>`, or `# expect: <file>:<line>:<column> …`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.errors import Position, Problem
from homelab_platform.lab.check import check_lab

FIXTURES = Path(__file__).with_name("fixtures")
_EXPECT = re.compile(r"# expect: (?:([^:\s]+):)?(\d+):(\d+) (\S+) (.+)")


@dataclass(frozen=True)
class Expected:
    """What the head of a rejected fixture demands."""

    file: str
    line: int
    column: int
    rule: str
    says: str


def fixtures(kind: str) -> list[Path]:
    """All fixtures whose case begins with `kind`."""
    found = [p for p in FIXTURES.glob("*/*") if p.name.startswith(kind)]
    return sorted(p / "lab.yaml" if p.is_dir() else p for p in found)


def name_of(path: Path) -> str:
    """`duplicate-address/rejected` of a fixture's path."""
    case = path.parent if path.name == "lab.yaml" else path.with_suffix("")
    return f"{case.parent.name}/{case.name}"


def expected(path: Path) -> Expected:
    """The demand at the head of a rejected fixture."""
    head = path.read_bytes().decode("utf-8-sig").splitlines()[0]
    match = _EXPECT.fullmatch(head)
    assert match, f"{path} has no line '# expect: line:column rule words' at its head"
    file, line, column, rule, says = match.groups()
    return Expected(file or path.name, int(line), int(column), rule, says)


@lru_cache(maxsize=8)
def catalogue(own: Path | None = None) -> Catalogue:
    """The project's catalogue, and the entries of a lab's own folder."""
    return load_catalogue(own)


def problems(path: Path) -> list[Problem]:
    """What the whole check says of a lab file."""
    own = path.parent / "helm"
    return check_lab(path, catalogue(own if own.is_dir() else None))


def place(problem: Problem) -> tuple[str, int, int]:
    """File, line and column of a problem."""
    assert isinstance(problem.where, Position), f"{problem} stands nowhere"
    return problem.where.file, problem.where.line, problem.where.column
