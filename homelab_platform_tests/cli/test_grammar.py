"""What is printed can be pasted, and every command takes the lab in the same words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from homelab_platform.cli import grammar
from homelab_platform.cli.main import app
from homelab_platform_tests.cli.conftest import Homelab


def test_every_command_takes_the_lab_by_the_same_option(homelab: Homelab, tmp_path: Path) -> None:
    assert homelab("init", tmp_path / "lab").code == 0
    for words in (("check",), ("plan", "--json"), ("show", "hosts")):
        assert homelab(*words, "-l", tmp_path / "lab").code in (0, 2), words
        assert homelab(words[0], f"--lab={tmp_path / 'lab'}", *words[1:]).code in (0, 2), words
    assert homelab("check", tmp_path / "lab").code == 0


def test_a_command_that_is_printed_names_the_lab_that_was_named(homelab: Homelab, tmp_path: Path) -> None:
    homelab("init", tmp_path / "my lab")
    said = homelab("plan", tmp_path / "my lab")
    assert f"`homelab apply -l '{tmp_path / 'my lab'}'` does it" in said.out
    missing = homelab("query", "-l", tmp_path / "my lab", "SELECT 1")
    assert f"`homelab up -l '{tmp_path / 'my lab'}'`" in missing.err


def test_a_command_that_is_printed_here_needs_no_lab(
    homelab: Homelab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homelab("init", tmp_path / "lab")
    monkeypatch.chdir(tmp_path / "lab")
    assert "`homelab apply` does it" in homelab("plan").out


def test_the_program_is_named_as_it_must_be_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".venv" / "bin" / "homelab"
    program.parent.mkdir(parents=True)
    program.write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", [str(program), "status"])
    monkeypatch.setattr(grammar._WORDS, "program", grammar._program())
    monkeypatch.setattr(grammar._WORDS, "commands", {("status",): True, ("readings", "rejected"): False})
    monkeypatch.setattr(grammar._WORDS, "lab", "labs/one")
    assert grammar.pasteable("See `homelab readings rejected`, then `homelab status`.") == (
        "See `.venv/bin/homelab readings rejected -l labs/one`, then `.venv/bin/homelab status -l labs/one`."
    )
    assert grammar.pasteable("`homelab status examples/pi-cluster`") == "`.venv/bin/homelab status examples/pi-cluster`"
    assert grammar.pasteable("the homelab statuses, homelab-platform") == "the homelab statuses, homelab-platform"


def test_a_home_folder_may_be_written_short(homelab: Homelab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homelab("init", tmp_path / "lab")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert homelab("check", "~/lab").code == 0


def test_the_commands_are_those_that_typer_makes() -> None:
    def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
        for name, below in command.commands.items():
            if hasattr(below, "commands"):
                yield from walk(below, (*path, name))
            else:
                yield (*path, name), any(p.name == "lab" and p.param_type_name == "argument" for p in below.params)

    assert grammar.commands_of(app) == dict(walk(typer.main.get_command(app)))


def test_only_what_is_asked_for_is_made() -> None:
    assert list(typer.main.get_command(grammar.part_of(app, ["plan", "--json"])).commands) == ["plan"]  # type: ignore[attr-defined]
    assert list(typer.main.get_command(grammar.part_of(app, ["backup", "list"])).commands) == ["backup"]  # type: ignore[attr-defined]
    for words in ([], ["--help"], ["plam"]):
        assert grammar.part_of(app, words) is app
