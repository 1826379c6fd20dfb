"""Reads `workload.yaml` files with positions, so that an error names file, line and column.

Belongs here: YAML to checked entries. Not here: which files there are, and the cache (load.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from homelab_platform.catalog.lock import FILE as LOCK_FILE
from homelab_platform.catalog.model import Bundle, CatalogueEntry
from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab.positions import Positions
from homelab_platform.lab.quantities import did_you_mean
from homelab_platform.lab.yaml_reader import read_yaml

FILE = "workload.yaml"
TELLING = ("values.yaml", "kustomize/kustomization.yaml")
"""Files of which one has to be there for a chart, or a kustomization, to be told anything."""
RULE = "catalogue"


@dataclass
class ReadEntries:
    """What the files hold: `trees` as written (with the name of the folder), entries and bundles as checked."""

    trees: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: dict[str, CatalogueEntry] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)


def read_entries(files: Mapping[str, Path]) -> ReadEntries:
    """Reads every file; `files` maps the folder's name to its `workload.yaml`.

    Raises HomelabError with all problems of all files.
    """
    read = ReadEntries()
    problems: list[Problem] = []
    for name, path in files.items():
        try:
            document = read_yaml(path.read_bytes(), str(path))
        except HomelabError as error:
            problems += error.problems
            continue
        except OSError as error:
            problems.append(Problem(str(path), f"cannot be read: {error.strerror}", "Check the file's rights.", RULE))
            continue
        if not isinstance(document.data, dict):
            where = Position(str(path), 1, 1)
            problems.append(Problem(where, "holds no keys", f"Write title: and so on, as in any {FILE}.", RULE))
            continue
        positions = Positions(str(path), document.marks)
        problems += [
            Problem(positions.key(key), f"unknown key {key}", "Take it out: it is found beside the file.", RULE)
            for key in sorted({"lock", "told"} & document.data.keys())
        ]
        beside = {} if document.data.get("kind") == "bundle" else _beside(path.parent)
        read.trees[name] = {"name": name, **document.data, **beside}
        problems += _check(read, name, positions)
    if problems:
        raise HomelabError(problems)
    return read


def _beside(folder: Path) -> dict[str, Any]:
    """What lies beside an entry's file: the facts of its rendering, and whether its chart is told anything."""
    found: dict[str, object] = {"told": any((folder / name).is_file() for name in TELLING)}
    lock = folder / LOCK_FILE
    if lock.is_file():
        found["lock"] = orjson.loads(lock.read_bytes())
    return found


def _check(read: ReadEntries, name: str, positions: Positions) -> list[Problem]:
    tree = read.trees[name]
    try:
        if tree.get("kind") == "bundle":
            read.bundles[name] = Bundle.model_validate_json(orjson.dumps(tree))
        else:
            read.entries[name] = CatalogueEntry.model_validate_json(orjson.dumps(tree))
    except ValidationError as error:
        return [_explain(detail, positions) for detail in error.errors(include_url=False)]
    return []


def _explain(detail: ErrorDetails, positions: Positions) -> Problem:
    """pydantic's complaint as a problem that names the key, where it stands and what to write."""
    place = tuple(part for part in detail["loc"] if part != "[key]")
    said = ".".join(map(str, place))
    if detail["type"] == "extra_forbidden":
        known = {field.alias or name for name, field in CatalogueEntry.model_fields.items()}
        remedy = did_you_mean(said, known) if len(place) == 1 else "Take it out, or correct its name."
        return Problem(positions.key(*place), f"unknown key {said}", remedy, RULE)
    if detail["type"] == "missing":
        remedy = f"Add {place[-1]}:; any other {FILE} shows what belongs there."
        return Problem(positions.key(*place), f"{said} is missing", remedy, RULE)
    message = str(detail["msg"]).removeprefix("Value error, ")
    remedy = "Put it in quotes." if detail["type"] == "string_type" else f"Any other {FILE} shows what belongs there."
    return Problem(positions.at(*place), f"{said}: {message}" if said else message, remedy, RULE)
