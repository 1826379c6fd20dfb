"""Marts of the lab's own: `marts/<name>.sql` beside the lab file, and `marts/<name>.yaml` that describes it.

Belongs here: reading such a pair of files, and which tables its SQL reads. The platform's own marts have the same form
(readings/marts/sql). Not here: what an SQL engine makes of them (readings/marts).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab.model.errors import problems_of
from homelab_platform.lab.model.marts import MartFile
from homelab_platform.lab.positions import Positions
from homelab_platform.lab.yaml_reader import read_yaml

FOLDER = "marts"
DIALECT = "trino"
MOST_SQL = 256 * 1024
NAMESPACES = ("default", "marts")
RELATIONS = ("readings", "history", "rejected", "days", "sensors", "devices")
"""What a mart's SQL may read by a bare name; readings/marts/relations.py says what each holds."""


@dataclass(frozen=True)
class MartText:
    """A mart as written. `sql_file` and `yaml_file` are their names as messages show them."""

    name: str
    sql: str
    file: MartFile
    positions: Positions
    sql_file: str
    yaml_file: str


def read_mart(sql: Path, shown: str) -> MartText:
    """The mart of an SQL file and of the YAML file beside it; `shown` is the SQL file's name for messages.

    Raises HomelabError with every problem of the two.
    """
    described = sql.with_suffix(".yaml")
    beside = shown.removesuffix(".sql") + ".yaml"
    text = _text(sql, shown)
    try:
        document = read_yaml(described.read_bytes(), beside)
    except FileNotFoundError:
        remedy = f"Write {beside}: about: …, columns: {{date: {{type: date, about: day in UTC}}, …}}."
        raise HomelabError.of(Position(shown, 1, 1), "nothing says what its columns are", remedy, "mart") from None
    except OSError as error:
        raise HomelabError.of(beside, f"cannot be read: {error.strerror}", "Check its rights.", "file") from None
    positions = Positions(beside, document.marks)
    try:
        file = MartFile.model_validate(document.data)
    except ValidationError as error:
        raise HomelabError(problems_of(error, MartFile, positions)) from None
    return MartText(sql.stem, text, file, positions, shown, beside)


def _text(path: Path, shown: str) -> str:
    try:
        data = path.read_bytes()
        if len(data) > MOST_SQL:
            raise HomelabError.of(shown, f"has {len(data):,} bytes", "A mart is one SELECT; see docs/marts.md.", "mart")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise HomelabError.of(shown, f"cannot be read: {error.strerror}", "Check its rights.", "file") from None
    except UnicodeDecodeError:
        raise HomelabError.of(shown, "is not UTF-8", "Save it as UTF-8.", "file") from None


def read_marts(folder: Path) -> tuple[dict[str, MartText], list[Path], list[Problem]]:
    """The marts beside a lab file in `folder`, the files that were read, and what is wrong with others."""
    found: dict[str, MartText] = {}
    files: list[Path] = []
    problems: list[Problem] = []
    place = folder / FOLDER
    if not place.is_dir():
        return found, files, problems
    for path in sorted(place.glob("*.sql")):
        try:
            found[path.stem] = read_mart(path, f"{FOLDER}/{path.name}")
        except HomelabError as error:
            problems += error.problems
            continue
        files += [path, path.with_suffix(".yaml")]
    for path in sorted(place.glob("*.yaml")):
        if not path.with_suffix(".sql").exists():
            what = f"there is no {path.stem}.sql that it could describe"
            problems.append(Problem(f"{FOLDER}/{path.name}", what, "Write the SQL, or remove this file.", "mart"))
    return found, files, problems


@dataclass(frozen=True)
class Reads:
    """What an SQL text reads: bare names, and tables as `namespace.name`; with the names of its output columns."""

    relations: frozenset[str]
    tables: frozenset[str]
    columns: tuple[str, ...]


@lru_cache(maxsize=64)
def reads_of(sql: str, shown: str) -> Reads:
    """What a mart's SQL reads and gives. Raises HomelabError at the place where it is not one SELECT.

    Parsing costs a third of a CPU-second for sqlglot alone, so only labs with marts of their own pay it.
    """
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    tree = parsed(sql, shown)
    relations: set[str] = set()
    tables: set[str] = set()
    for scope in traverse_scope(tree):
        for source in scope.sources.values():
            if isinstance(source, exp.Table) and source.db:
                tables.add(f"{source.db}.{source.name}")
            elif isinstance(source, exp.Table):
                relations.add(source.name)
    return Reads(frozenset(relations), frozenset(tables), tuple(tree.named_selects))


def parsed(sql: str, shown: str) -> Any:
    """The syntax tree of one SELECT. Raises HomelabError with file, line and column."""
    import sqlglot
    from sqlglot import exp

    remedy = "A mart is one SELECT in Trino's SQL; see docs/marts.md."
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect=DIALECT) if tree is not None]
    except sqlglot.ParseError as error:
        first = error.errors[0]
        where = Position(shown, first.get("line") or 1, first.get("col") or 1)
        near = f" near {first['highlight']}" if first.get("highlight") else ""
        what = str(first.get("description", "cannot be read")).rstrip(". ")
        raise HomelabError.of(where, f"{what[:1].lower()}{what[1:]}{near}", remedy, "mart") from None
    except sqlglot.errors.TokenError as error:
        what = str(error).splitlines()[0]
        raise HomelabError.of(Position(shown, 1, 1), f"cannot be read: {what}", remedy, "mart") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise HomelabError.of(Position(shown, 1, 1), "is not one SELECT", remedy, "mart")
    return trees[0]
