"""Served or refused: every key of the lab file has somebody who reads it, or a sentence that says that nobody does."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import check_lab, lab_warnings
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.reference import reference_page
from homelab_platform.lab.served import ANY, entry_of, table
from homelab_platform.paths import PROJECT

LAB = """lab: small
hosts:
  pi: {board: pi4-4gb, os: raspios, address: 192.168.0.10}
network: {lan: 192.168.0.0/24, gateway: 192.168.0.1}
people:
  ada: {role: admin, ssh: [keys/ada.pub]%s}
%s
"""


def models(kind: object) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models inside a type, and whether each stands behind a name of a person's own choice."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, False
    arguments = typing.get_args(kind)
    named = typing.get_origin(kind) in (dict,)
    for argument in arguments[1:] if named else arguments:
        for model, inner in models(argument):
            yield model, named or inner


def keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key that may be written."""
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        yield here
        for inner, named in dict.fromkeys(models(field.annotation)):
            yield from keys(inner, (*here, ANY) if named else here)


KEYS = sorted(set(keys(Lab)))


def test_every_key_is_served_or_has_a_sentence() -> None:
    missing = [".".join(key) for key in KEYS if len(key) > 1 and entry_of(key) is None]
    assert not missing, "add to lab/served.yaml what reads these, or that nothing does"


def test_every_entry_is_about_a_key_that_exists() -> None:
    known = set(KEYS)
    assert [".".join(key) for key in table() if key not in known] == []


def test_whoever_is_said_to_read_a_key_is_there_and_reads_it() -> None:
    """A file that an entry names holds the key's name; a folder holds it somewhere."""
    wrong = []
    for key, entry in table().items():
        assert bool(entry.by) != bool(entry.says), key
        for name in entry.by:
            place = PROJECT / name
            files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
            words = {key[-1], *(field for field in _fields(key))}
            if not any(word in file.read_text(errors="replace") for file in files for word in words):
                wrong.append(f"{'.'.join(key)}: {name}")
    assert not wrong


def _fields(key: tuple[str, ...]) -> Iterator[str]:
    """The words below a key: who reads a section reads one of its keys."""
    return (other[-1] for other in KEYS if other[: len(key)] == key and len(other) == len(key) + 1)


@pytest.fixture
def write(tmp_path: Path) -> typing.Callable[[str, str], Path]:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ada.pub").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPs2wUpvCB8xZDgyIPcDT8nl8Ufs2eVVcBq8Q9Df5J7A ada\n"
    )

    def make(person: str = "", sections: str = "") -> Path:
        (tmp_path / "lab.yaml").write_text(LAB % (person, sections))
        return tmp_path / "lab.yaml"

    return make


def test_a_wish_that_nothing_serves_is_a_warning_at_its_line(write: typing.Callable[..., Path]) -> None:
    path = write(sections="logs: {keep: 30d}")
    assert check_lab(path, load_catalogue()) == []
    (warning,) = lab_warnings(path, load_catalogue())
    assert warning.level == "warning"
    assert str(warning).startswith("lab.yaml:7:1: logs: ")


@pytest.mark.parametrize(("token", "count"), [("", 1), (", token: sops:secrets/streams.yaml#door", 0)])
def test_an_entrance_that_asks_for_no_token_is_a_warning(
    write: typing.Callable[..., Path], token: str, count: int
) -> None:
    path = write(
        sections="streams: {door: {from: {http: {path: /doorTOKEN}}, sensors: {t: {unit: K}}}}".replace("TOKEN", token)
    )
    assert check_lab(path, load_catalogue()) == []
    found = [w for w in lab_warnings(path, load_catalogue()) if w.rule == "open-entrance"]
    assert [str(w.where) for w in found] == ["lab.yaml:7:24"] * count


def test_a_second_factor_that_nothing_asks_for_is_an_error(write: typing.Callable[..., Path]) -> None:
    (problem,) = check_lab(write(", mfa: true"), load_catalogue())
    assert "nothing asks for a second factor" in problem.what
    assert str(problem.where).startswith("lab.yaml:6:")


def test_what_is_switched_off_asks_for_nothing(write: typing.Callable[..., Path]) -> None:
    path = write(", mfa: false")
    assert check_lab(path, load_catalogue()) == []
    assert lab_warnings(path, load_catalogue()) == []


def test_the_reference_page_is_what_the_model_says() -> None:
    assert (PROJECT / "docs" / "lab-file.md").read_text() == reference_page(), "run scripts/lab-reference"
