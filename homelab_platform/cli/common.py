"""What several commands share: finding the lab file, the options that every command has, loading the lab.

Belongs here: helpers of two or more command families.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import grammar
from homelab_platform.errors import HomelabError, Position, Problem

if TYPE_CHECKING:
    from homelab_platform.catalog.load import Catalogue
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.servers.site.site import Site

LAB_FILE = "lab.yaml"

LabArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[LAB]",
        help="Lab file or the folder that holds it; -l LAB says the same. Default: $HOMELAB_LAB, else lab.yaml here or "
        "in a folder above.",
        show_default=False,
    ),
]
LabOption = Annotated[
    Path | None,
    typer.Option("--lab", "-l", metavar="LAB", help="Lab file or its folder.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]


_USUAL_UMASK: list[int] = []


def keep_to_owner() -> None:
    """From now on this process makes files for its owner alone: readings, states and spilled rows are among them."""
    before = os.umask(0o077)
    _USUAL_UMASK[:] = _USUAL_UMASK or [before]


@contextmanager
def as_the_user_writes() -> Iterator[None]:
    """Within the block files are made as the user's own programs make them, for those that belong to the user."""
    ours = os.umask(_USUAL_UMASK[0]) if _USUAL_UMASK else None
    try:
        yield
    finally:
        if ours is not None:
            os.umask(ours)


def find_lab(given: Path | None) -> Path:
    """The lab file that the user means.

    Raises HomelabError that says where was looked when there is none.
    """
    if given is None and os.environ.get("HOMELAB_LAB"):
        return _named(Path(os.environ["HOMELAB_LAB"]))
    if given is not None:
        given = given.expanduser()
        grammar.name_lab(given)
        return _named(given)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / LAB_FILE).is_file():
            return _short(folder / LAB_FILE)
    raise HomelabError.of(
        str(here),
        f"no {LAB_FILE} here or in a folder above",
        "Make one with `homelab init`, or name one: `homelab check examples/pi-cluster`.",
    )


def _named(given: Path) -> Path:
    path = given / LAB_FILE if given.is_dir() else given
    if path.is_file():
        return path
    raise HomelabError.of(str(given), "no lab file is here", f"Give the path of a {LAB_FILE} or of its folder.")


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def catalogue_for(lab_file: Path) -> Catalogue:
    """The project's catalogue with the workloads that lie beside the lab file added."""
    from homelab_platform.catalog.lab import catalogue_of

    return catalogue_of(lab_file)


def resolved_lab(lab_file: Path) -> ResolvedLab:
    """The lab, checked and resolved; raises HomelabError with every problem."""
    from homelab_platform.lab.check import load_resolved

    with places_from_here(lab_file):
        return load_resolved(lab_file, catalogue_for(lab_file))


def from_here(problems: Iterable[Problem], lab_file: Path) -> list[Problem]:
    """The problems with their files named as seen from the current folder, so that a terminal can open them.

    A lab names its files from its own folder, which makes its errors the same wherever it is checked from.
    """
    folder = lab_file.parent

    def seen(where: Position | str) -> Position | str:
        if isinstance(where, Position) and (folder / where.file).exists():
            return replace(where, file=str(folder / where.file))
        return where

    return [replace(problem, where=seen(problem.where)) for problem in problems]


@contextmanager
def places_from_here(lab_file: Path) -> Iterator[None]:
    """Errors that leave the block name their files as seen from the current folder."""
    try:
        yield
    except HomelabError as error:
        raise HomelabError(from_here(error.problems, lab_file)) from None


def lab_name(lab_file: Path) -> str:
    """The lab's name, which is its site's too. Raises HomelabError for a file that cannot be read as a lab."""
    from homelab_platform.lab.load import load_lab

    with places_from_here(lab_file):
        return load_lab(lab_file).lab.lab


def running_site(lab_file: Path) -> Site:
    """The running embedded site of the lab; raises HomelabError that says how to start it."""
    from homelab_platform.servers.site.site import open_site

    return open_site(lab_name(lab_file))
