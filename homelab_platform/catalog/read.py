"""Reads `workload.yaml` files with positions, so that an error names file, line and column.

Belongs here: YAML to checked entries. Not here: which files there are, and the cache (load.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import ValidationError

from homelab_platform.catalog.model import Bundle, CatalogueEntry
from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab.quantities import did_you_mean

FILE = "workload.yaml"
RULE = "catalogue"
Place = tuple[str | int, ...]
_INTEGER, _FLOAT, _BOOL, _NULL = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null"))


@dataclass
class ReadEntries:
    """What the files hold: `trees` as written (with the name of the folder), entries and bundles as checked."""

    trees: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: dict[str, CatalogueEntry] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)


@dataclass
class _File:
    path: Path
    marks: dict[Place, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def at(self, place: Place) -> Position:
        """Where the value at `place` stands, or what is nearest above it."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, Position(str(self.path), 1, 1))

    def complain(self, where: Position, what: str, remedy: str) -> None:
        self.problems.append(Problem(where, what, remedy, RULE))


def read_entries(files: Mapping[str, Path]) -> ReadEntries:
    """Reads every file; `files` maps the folder's name to its `workload.yaml`.

    Raises HomelabError with all problems of all files.
    """
    read = ReadEntries()
    problems: list[Problem] = []
    for name, path in files.items():
        file = _File(path)
        tree = _tree(file)
        if tree is not None:
            read.trees[name] = {"name": name, **tree}
            _check(read, name, file)
        problems += file.problems
    if problems:
        raise HomelabError(problems)
    return read


def _check(read: ReadEntries, name: str, file: _File) -> None:
    tree = read.trees[name]
    try:
        if tree.get("kind") == "bundle":
            read.bundles[name] = Bundle.model_validate_json(orjson.dumps(tree))
        else:
            read.entries[name] = CatalogueEntry.model_validate_json(orjson.dumps(tree))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = tuple(part for part in detail["loc"] if part not in {"[key]"})
            _explain(file, tree, place, detail["type"], str(detail["msg"]))


def _explain(file: _File, tree: dict[str, Any], place: Place, kind: str, message: str) -> None:
    known = {f.alias or n: n for n, f in CatalogueEntry.model_fields.items()}
    if kind == "extra_forbidden":
        remedy = did_you_mean(str(place[-1]), known) if len(place) == 1 else "Take it out, or correct its name."
        file.complain(file.at(place), f"unknown key {'.'.join(map(str, place))}", remedy)
    elif kind == "missing":
        where = ".".join(map(str, place))
        file.complain(file.at(place), f"{where} is missing", f"Add {where}:; another {FILE} shows what belongs there.")
    else:
        where = ".".join(map(str, place)) or tree["name"]
        quote = " Put it in quotes." if kind == "string_type" else ""
        file.complain(file.at(place), f"{where}: {message.removeprefix('Value error, ')}", f"Correct it.{quote}")


def _tree(file: _File) -> dict[str, Any] | None:
    try:
        node = yaml.compose(file.path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        file.complain(Position(str(file.path), 1, 1), f"cannot be read: {error}", "Save it as UTF-8 text.")
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = Position(str(file.path), mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)
        file.complain(where, f"not YAML: {error.problem}", "Correct the indentation or the quotes there.")
        return None
    if not isinstance(node, yaml.MappingNode):
        file.complain(
            Position(str(file.path), 1, 1), "holds no keys", f"Write title:, description: … as in any {FILE}."
        )
        return None
    tree = _value(file, node, ())
    return tree if isinstance(tree, dict) else None


def _value(file: _File, node: yaml.Node, place: Place) -> Any:
    mark = node.start_mark
    file.marks.setdefault(place, Position(str(file.path), mark.line + 1, mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        return _mapping(file, node, place)
    if isinstance(node, yaml.SequenceNode):
        return [_value(file, item, (*place, index)) for index, item in enumerate(node.value)]
    return _scalar(file, node, place)


def _mapping(file: _File, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = str(key.value)
        where = Position(str(file.path), key.start_mark.line + 1, key.start_mark.column + 1)
        if name in found:
            file.complain(where, f"{name} stands here twice", "Keep one of them.")
        file.marks[(*place, name)] = where
        found[name] = _value(file, value, (*place, name))
    return found


def _scalar(file: _File, node: yaml.Node, place: Place) -> Any:
    """A scalar by the rules of YAML 1.2: `yes`, `no`, `on` and `off` are words; `010` is text, and so is a date."""
    text = str(node.value)
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        return {"true": True, "false": False}.get(text.lower(), text)
    if node.tag == _INTEGER and text.lstrip("+-").isdigit() and (text in {"0"} or not text.startswith("0")):
        return int(text)
    if node.tag == _FLOAT:
        try:
            return float(text)
        except ValueError:
            return text
    return text
