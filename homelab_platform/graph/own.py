"""A person's own definitions: Python files in `<lab>/defs/`, beside the assets of the lab.

Belongs here: loading them, and saying at file and line what is wrong with one that cannot be loaded. Such a file is
left out and everything else stays: the UI never goes down for it. Not here: the lab's own assets (build.py).
"""

import importlib.util
import sys
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dagster as dg

from homelab_platform.errors import Position, Problem
from homelab_platform.graph.checks import lab_key
from homelab_platform.graph.metadata import table_markdown

FOLDER = "defs"
CHECK = "own_definitions"
PACKAGE = "homelab_lab_defs"
_REMEDY = "Mend the file; the graph loads it again by itself. The rest of the graph goes on without it."


@dataclass(frozen=True)
class Own:
    """What `<lab>/defs/` came to: the definitions to add, the files that were read, and what is wrong with others."""

    definitions: tuple[dg.Definitions, ...] = ()
    files: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def own_files(lab_file: Path) -> list[Path]:
    """The files of a lab's own definitions; names that begin with `_` or `.` are left to be imported by others."""
    folder = lab_file.parent / FOLDER
    return [path for path in sorted(folder.glob("*.py")) if not path.name.startswith(("_", "."))]


def stamp_of(lab_file: Path | None) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file of the folder changes: names, sizes, times of change."""
    if lab_file is None:
        return ()
    found = sorted((lab_file.parent / FOLDER).glob("**/*.py"))
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found)


def add_own(base: dg.Definitions, lab_file: Path) -> tuple[dg.Definitions, Own]:
    """The definitions of the lab with those of `<lab>/defs/` added, file by file: one that cannot be loaded, or does
    not go with the others, is left out and named.
    """
    merged, added, problems = base, [], []
    files = own_files(lab_file)
    with_folder = str(lab_file.parent / FOLDER)
    if files and with_folder not in sys.path:
        sys.path.append(with_folder)  # so that files of the folder import each other
    for path in files:
        try:
            own = _load(path)
            tried = dg.Definitions.merge(merged, own)
            tried.get_repository_def().load_all_definitions()
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # noqa: BLE001 (whatever the file does is its own mistake, a sys.exit too)
            problems.append(_problem(path, lab_file.parent, error))
            continue
        merged = tried
        added.append(own)
    return merged, Own(tuple(added), tuple(path.name for path in files), tuple(problems))


def _load(path: Path) -> dg.Definitions:
    """The definitions of a file: its `Definitions`, or all assets, checks, jobs, schedules and sensors in it."""
    name = f"{PACKAGE}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    said = [value for value in vars(module).values() if isinstance(value, dg.Definitions)]
    if said:
        return dg.Definitions.merge(*said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster calls this function a preview
        return dg.load_definitions_from_module(module)


def _problem(path: Path, folder: Path, error: BaseException) -> Problem:
    """Where in the file it went wrong, and Python's or Dagster's words for it."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line, what = error.lineno or 1, f"{error.msg}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = (frames[-1].lineno if frames else 1) or 1
        said = str(error).strip().splitlines() or [""]
        what = f"{type(error).__name__}: {said[0]}"
    return Problem(Position(str(path.relative_to(folder)), line, 1), what[:500], _REMEDY)


def own_check(lab: str, own: Own) -> list[dg.AssetChecksDefinition]:
    """The check of the lab's own definitions; none for a lab without any."""
    if not own.files:
        return []

    @dg.asset_check(asset=lab_key(lab), name=CHECK, description="Every file in defs/ is loaded.", blocking=False)
    def own_definitions() -> dg.AssetCheckResult:
        verdict = own_evaluation(lab, own)
        return dg.AssetCheckResult(passed=verdict.passed, description=verdict.description, metadata=verdict.metadata)

    return [own_definitions]


def own_evaluation(lab: str, own: Own) -> dg.AssetCheckEvaluation:
    """The verdict on the files of `defs/`."""
    rows = [{"where": str(p.where), "what is wrong": p.what, "what to do": p.remedy} for p in own.problems]
    first = f"{own.problems[0].where}: {own.problems[0].what}" if own.problems else ""
    return dg.AssetCheckEvaluation(
        asset_key=lab_key(lab),
        check_name=CHECK,
        passed=not own.problems,
        description=first or f"{_count(own.files)} loaded.",
        metadata={"problems": dg.MetadataValue.md(table_markdown(rows))} if rows else {},
    )


def _count(files: Iterable[str]) -> str:
    names = list(files)
    return f"{len(names)} file{'' if len(names) == 1 else 's'}"
