"""From the lab file to the typed lab with positions: includes, values files, every problem at once.

Belongs here: which files make a lab and how they are joined. Reads the lab's folder and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.beside import texts_beside
from homelab_platform.lab.host_services.table import service_problems
from homelab_platform.lab.marts import MartText, read_marts
from homelab_platform.lab.model.errors import problems_of
from homelab_platform.lab.model.lab import LANGUAGE_VERSION, Lab
from homelab_platform.lab.positions import Mark, Positions
from homelab_platform.lab.positions import Path as KeyPath
from homelab_platform.lab.yaml_reader import Document, read_yaml

if TYPE_CHECKING:
    from homelab_platform.lab.meant import LeftOut

SECTIONS_OF_NAMES = ("hosts", "people", "workloads", "streams", "tasks")  # joined by name over several files
HELM_WORDS = "Helm reads it as a boolean: write true or false, or quote it."


@dataclass(frozen=True)
class LoadedLab:
    """The lab as written. `files` are all files that were read; `keys` the public keys by the path that names them;
    `marts` those that lie beside the lab file; `texts` other texts there, by path.
    """

    lab: Lab
    positions: Positions
    path: Path
    files: tuple[Path, ...] = ()
    keys: dict[str, str] = field(default_factory=dict)
    marts: dict[str, MartText] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass
class _Joined:
    folder: Path
    positions: Positions
    data: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    mended: list[Problem] = field(default_factory=list)  # as problems, and the rest is read as if they were put right
    marts: dict[str, MartText] = field(default_factory=dict)


def load_lab(path: Path) -> LoadedLab:
    """Reads the lab file and what it includes.

    Raises HomelabError with every problem: syntax, unknown keys, values that cannot be read.
    """
    joined = _read(path)
    lab, found = _validate(joined)
    problems = [*joined.mended, *joined.problems, *found]
    if lab is not None:
        problems += service_problems(lab, joined.positions)
    if lab is None or problems:
        raise HomelabError(sort_problems(problems))
    return _loaded(lab, joined.positions, joined, path)


def load_as_meant(path: Path) -> tuple[LoadedLab, LeftOut] | None:
    """The lab that a file with typing errors was probably meant to be, for rules to read, and what had to be left out
    of it; None when it cannot be told.
    """
    from homelab_platform.lab.meant import meant

    try:
        joined = _read(path)
    except HomelabError:
        return None
    found = meant(joined.data, joined.positions) if not joined.problems else None
    if found is None:
        return None
    lab, positions, left_out = found
    return _loaded(lab, positions, joined, path), left_out


def _loaded(lab: Lab, positions: Positions, joined: _Joined, path: Path) -> LoadedLab:
    """The lab with what lies beside its file."""
    texts = texts_beside(lab, path.parent)
    files = (*joined.files, *(path.parent / name for name in texts))
    return LoadedLab(lab, positions, path, files, _public_keys(lab, path.parent), joined.marts, texts)


def _read(path: Path) -> _Joined:
    joined = _Joined(path.parent, Positions(path.name))
    _read_main(joined, path)
    _read_includes(joined)
    _read_values(joined)
    _read_marts(joined)
    return joined


def _read_marts(joined: _Joined) -> None:
    joined.marts, files, problems = read_marts(joined.folder)
    joined.files += files
    joined.problems += problems


def sort_problems(problems: list[Problem]) -> list[Problem]:
    """By file, line and column, without doubles."""

    def place(problem: Problem) -> tuple[str, int, int, str]:
        where = problem.where
        return (
            ("", 0, 0, str(where)) if isinstance(where, str) else (where.file, where.line, where.column, problem.what)
        )

    return sorted(dict.fromkeys(problems), key=place)


def _validate(joined: _Joined) -> tuple[Lab | None, list[Problem]]:
    version = joined.data.get("version", LANGUAGE_VERSION)
    if version != LANGUAGE_VERSION:
        where = joined.positions.at("version")
        newer = isinstance(version, int) and version > LANGUAGE_VERSION
        remedy = "Update the platform." if newer else f"This platform reads version {LANGUAGE_VERSION}."
        return None, [Problem(where, f"version {q.shown(version)} of the language is not known", remedy, "version")]
    try:
        return Lab.model_validate(joined.data), []
    except ValidationError as error:
        return None, problems_of(error, Lab, joined.positions)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise HomelabError.of(str(path), "there is no such file", "Check the path.", "file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HomelabError.of(
            str(path), f"cannot be read: {reason}", "Check the path and its rights.", "file"
        ) from None


def _mapping(document: Document, file: str) -> dict[str, Any]:
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise HomelabError.of(
            Position(file, 1, 1), "the file is not a mapping", "Write keys and values: lab: home.", "yaml"
        )
    return document.data


def _name(joined: _Joined, path: Path) -> str:
    """The file's name as messages show it: relative to the lab's folder."""
    return path.relative_to(joined.folder).as_posix() if path.is_relative_to(joined.folder) else path.as_posix()


def _take(joined: _Joined, path: Path) -> tuple[Document, dict[str, Any]]:
    file = _name(joined, path)
    document = read_yaml(_bytes(path), file, joined.mended)
    joined.files.append(path)
    data = _mapping(document, file)
    joined.problems += _helm_words(document, file)
    return document, data


def _helm_words(document: Document, file: str) -> Iterator[Problem]:
    for path, word in document.plain_words.items():
        if len(path) > 3 and path[0] == "workloads" and path[2] == "values":
            yield Problem(Position(file, *document.marks[path].value), f"{word} is not quoted", HELM_WORDS, "yaml")


def _read_main(joined: _Joined, path: Path) -> None:
    document, joined.data = _take(joined, path)
    joined.positions.marks.update(document.marks)


def _read_includes(joined: _Joined) -> None:
    globs = joined.data.get("include") or ()
    wanted = (globs,) if isinstance(globs, str) else globs if isinstance(globs, list) else ()
    taken = {path.resolve() for path in joined.files}
    for index, pattern in enumerate(wanted):
        where = joined.positions.at("include", index) if isinstance(globs, list) else joined.positions.at("include")
        for path in _matching(joined, pattern, where):
            if path.resolve() not in taken:
                taken.add(path.resolve())
                _join_file(joined, path)


def _matching(joined: _Joined, pattern: object, where: Position) -> list[Path]:
    if not isinstance(pattern, str) or not pattern.strip() or Path(pattern).is_absolute() or "\x00" in pattern:
        joined.problems.append(
            Problem(where, f"{q.shown(pattern)} is not a path beside the lab file", "Write hosts/*.yaml.", "include")
        )
        return []
    try:
        found = sorted(p for p in joined.folder.glob(pattern) if p.is_file())
    except (ValueError, OSError):  # a pattern such as a** is none
        found = []
    if not found:
        joined.problems.append(
            Problem(where, f"no file matches {pattern}", "Check the path, or leave it out.", "include")
        )
    return found


def _join_file(joined: _Joined, path: Path) -> None:
    try:
        document, data = _take(joined, path)
    except HomelabError as error:
        joined.problems += error.problems
        return
    for section, value in data.items():
        if section in ("include", "version", "lab"):
            mark = document.marks[(section,)]
            where = Position(mark.file, *mark.key)
            remedy = f"Put {section} in the lab file."
            joined.problems.append(Problem(where, f"{section} stands in an included file", remedy, "include"))
            continue
        _join_section(joined, document, section, value)


def _join_section(joined: _Joined, document: Document, section: str, value: object) -> None:
    here = joined.data.get(section)
    if section not in joined.data or here is None:
        joined.data[section] = value
        joined.positions.marks.update({p: m for p, m in document.marks.items() if p[:1] == (section,)})
        return
    if section not in SECTIONS_OF_NAMES or not isinstance(here, dict) or not isinstance(value, dict):
        _twice(joined, document.marks[(section,)], section, (section,))
        return
    joined.data[section] = here = dict(here)
    for name, item in value.items():
        if name in here:
            _twice(joined, document.marks[(section, name)], f"{section}.{name}", (section, name))
            continue
        here[name] = item
        joined.positions.marks.update({p: m for p, m in document.marks.items() if p[:2] == (section, name)})


def _twice(joined: _Joined, mark: Mark, what: str, path: KeyPath) -> None:
    first = joined.positions.key(*path)
    joined.problems.append(
        Problem(Position(mark.file, *mark.key), f"{what} is already in {first}", "Keep one of them.", "include")
    )


def _read_values(joined: _Joined) -> None:
    """`workloads/<name>/values.yaml` lies under the `values:` of the lab file, which win."""
    workloads = joined.data.get("workloads")
    folder = joined.folder / "workloads"
    if not folder.is_dir():
        return
    names = set(workloads) if isinstance(workloads, (dict, list)) else set()
    for path in sorted(folder.glob("*/values.yaml")):
        name = path.parent.name
        if name not in names:
            remedy = q.did_you_mean(name, names) if names else "Add it to workloads, or remove the folder."
            joined.problems.append(Problem(_name(joined, path), f"the lab has no workload {name}", remedy, "values"))
            continue
        try:
            document = read_yaml(_bytes(path), _name(joined, path))
            data = _mapping(document, _name(joined, path))
        except HomelabError as error:
            joined.problems += error.problems
            continue
        joined.files.append(path)
        joined.problems += [
            Problem(
                Position(_name(joined, path), *document.marks[p].value), f"{word} is not quoted", HELM_WORDS, "yaml"
            )
            for p, word in document.plain_words.items()
        ]
        _merge_values(joined, name, data, document)


def _merge_values(joined: _Joined, name: str, data: dict[str, object], document: Document) -> None:
    if isinstance(joined.data["workloads"], list):
        joined.data["workloads"] = dict.fromkeys(joined.data["workloads"])
    workload = joined.data["workloads"][name]
    if workload is not None and not isinstance(workload, dict):
        return
    workload = dict(workload or {})
    inline = workload.get("values") or {}
    if isinstance(inline, dict):
        workload["values"] = merged(data, inline)
        joined.data["workloads"] = {**joined.data["workloads"], name: workload}
        for path, mark in document.marks.items():
            if path:
                joined.positions.marks.setdefault(("workloads", name, "values", *path), mark)


def merged(under: dict[str, object], over: dict[str, object]) -> dict[str, Any]:
    """Two trees of Helm values in one: mappings are joined, everything else of `over` wins; null removes."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _public_keys(lab: Lab, folder: Path) -> dict[str, str]:
    """Public keys that lie in files beside the lab file; missing and private ones are left to the rules."""
    keys: dict[str, str] = {}
    for person in lab.people.values():
        for key in person.ssh:
            if " " in key or "\x00" in key or key in keys:
                continue
            try:
                lines = (folder / Path(key).expanduser()).read_bytes()[:16384].decode("utf-8-sig").splitlines()
            except (OSError, ValueError):
                continue
            text = "\n".join(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
            if "PRIVATE" not in text and len(text.split()) >= 2 and "\n" not in text:
                keys[key] = text
    return keys
