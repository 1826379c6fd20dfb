"""One grammar for every command: `-l LAB` says which lab, and whatever is printed can be pasted as it stands.

Belongs here: what all commands have in common as words. Not here: finding the lab (common.py), printing (output.py).
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

LAB_OPTIONS = ("-l", "--lab")
LAB_ARGUMENT = "LabArgument"
"""The type in common.py by which a command says that LAB is an argument of it."""
PROGRAM = "homelab"
_WITHOUT_LAB = frozenset({"init", "schema"})


@dataclass
class _Words:
    """What the command line of this process was: the program, the lab that was named, the commands there are."""

    program: str = PROGRAM
    lab: str = ""
    commands: dict[tuple[str, ...], bool] = field(default_factory=dict)  # whether LAB is an argument of it


_WORDS = _Words()


def read(app: typer.Typer, arguments: Sequence[str]) -> list[str]:
    """The arguments for the commands of `app`: where LAB is an argument, `-l LAB` means it too.

    Remembers what `pasteable` needs.
    """
    _WORDS.commands = commands_of(app)
    _WORDS.program = _program()
    _WORDS.lab = ""
    path = _path(arguments)
    if path is None:
        return list(arguments)
    rest = list(arguments[len(path) :])
    named = _take_lab(rest) if _WORDS.commands[path] else _find_lab(rest)
    _WORDS.lab = named or ""
    if _WORDS.commands[path] and named is not None:
        rest.append(named)
    return [*path, *rest]


def name_lab(given: str | os.PathLike[str]) -> None:
    """The lab was named as an argument: commands that are printed name it too."""
    _WORDS.lab = str(given)


def pasteable(text: str) -> str:
    """`text` with each command of ours as this person has to type it here: program, and the lab if it was named."""
    if (_WORDS.program == PROGRAM and not _WORDS.lab) or PROGRAM not in text:
        return text
    names = sorted((" ".join(path) for path in _WORDS.commands), key=len, reverse=True)
    if not names:
        return text
    pattern = re.compile(rf"(?<![\w./-]){PROGRAM} ({'|'.join(map(re.escape, names))})(?![\w-])(?= *(\S*))")
    return pattern.sub(_typed, text)


def _typed(match: re.Match[str]) -> str:
    command, following = match.group(1), match.group(2)
    path = tuple(command.split(" "))
    names_a_lab = _WORDS.commands[path] and bool(re.match(r"[\w./~]", following)) and not following.startswith("`")
    in_prose = names_a_lab and "/" not in following and not following.endswith(".yaml")
    lab = _WORDS.lab and path[0] not in _WITHOUT_LAB and (not names_a_lab or in_prose) and following not in LAB_OPTIONS
    return f"{_WORDS.program} {command}{f' -l {shlex.quote(_WORDS.lab)}' if lab else ''}"


def commands_of(app: typer.Typer) -> dict[tuple[str, ...], bool]:
    """All commands by the names that lead to each, and whether LAB is an argument of it.

    Read off the functions: to have typer make all its commands takes as long as loading a lab.
    """
    return dict(_commands(app))


def part_of(app: typer.Typer, arguments: Sequence[str]) -> typer.Typer:
    """The part of `app` that `arguments` name, a command or a family of them; all of it where they name none."""
    first = arguments[0] if arguments else ""
    commands = [info for info in app.registered_commands if _name(info) == first]
    groups = [info for info in app.registered_groups if info.name == first]
    if not commands and not groups:
        return app
    part = copy.copy(app)
    part.registered_commands, part.registered_groups = commands, groups
    return part


def _name(info: typer.models.CommandInfo) -> str:
    return info.name or getattr(info.callback, "__name__", "").replace("_", "-")


def _commands(app: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    for info in app.registered_commands:
        yield (*path, _name(info)), _takes_lab(info.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None and group.name:
            yield from _commands(group.typer_instance, (*path, group.name))


def _takes_lab(function: Callable[..., object] | None) -> bool:
    said = str(getattr(function, "__annotations__", {}).get("lab", ""))
    return said.rpartition(".")[2] == LAB_ARGUMENT


def _path(arguments: Sequence[str]) -> tuple[str, ...] | None:
    for length in range(len(arguments), 0, -1):
        if tuple(arguments[:length]) in _WORDS.commands:
            return tuple(arguments[:length])
    return None


def _take_lab(arguments: list[str]) -> str | None:
    """Take `-l LAB` out of the arguments."""
    for at, word in enumerate(arguments):
        if word == "--":
            return None
        if word in LAB_OPTIONS and at + 1 < len(arguments):
            del arguments[at]
            return arguments.pop(at)
        if word.startswith("--lab="):
            return arguments.pop(at).removeprefix("--lab=")
    return None


def _find_lab(arguments: Sequence[str]) -> str | None:
    return _take_lab(list(arguments))


def _program() -> str:
    """The program as it has to be typed here: its name where the shell finds this very one, else its path."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM or not called.exists():
        return PROGRAM
    found = shutil.which(PROGRAM)
    if found is not None and Path(found).resolve() == called.resolve():
        return PROGRAM
    whole, here = called.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)
