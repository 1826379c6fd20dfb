"""A reference becomes a value in one place, or an error that says what to do and shows nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.paths import PROJECT
from homelab_platform.secrets import keeping
from homelab_platform.secrets.reference import parse
from homelab_platform.secrets.values import change_mark, reveal
from homelab_platform_tests.secrets.conftest import Scene

CANARY = "cAnArY-5f0c\n'\"$x"


def test_each_kind_of_reference_leads_to_its_value(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping.set_value(scene.lab(), scene.folder, parse("sops:secrets/a/b.yaml#deep.er"), CANARY)
    (scene.folder / "token").write_text(f"{CANARY}\n")
    monkeypatch.setenv("TOKEN_OF_TEST", CANARY)
    for text in ("sops:secrets/a/b.yaml#deep.er", "file:token", "env:TOKEN_OF_TEST"):
        assert reveal(text, scene.folder) == CANARY


@pytest.mark.parametrize(
    ("text", "says", "do"),
    [
        ("env:NOT_SET_HERE", "NOT_SET_HERE is not set", "Set NOT_SET_HERE"),
        ("file:gone", "gone cannot be read", "Write the secret to gone"),
        ("file:empty", "is empty", "empty"),
        ("sops:secrets/gone.yaml#x", "does not exist", "homelab secrets edit sops:secrets/gone.yaml#x"),
        ("sops:secrets/a.yaml#gone", "has no key gone", "homelab secrets edit sops:secrets/a.yaml#gone"),
        ("vault:kv/x#y", "not resolved by this version", "sops:"),
        ("hunter2", "not a reference", "sops:"),
    ],
)
def test_what_leads_nowhere_is_named_with_its_cure(scene: Scene, text: str, says: str, do: str) -> None:
    (scene.folder / "empty").write_text("\n")
    keeping.set_value(scene.lab(), scene.folder, parse("sops:secrets/a.yaml#x"), CANARY)
    with pytest.raises(HomelabError) as refused:
        reveal(text, scene.folder)
    (problem,) = refused.value.problems
    assert says in problem.what
    assert do in problem.remedy
    assert "hunter2" not in str(problem)
    assert CANARY not in str(problem)


def test_who_is_no_recipient_reads_nothing_and_is_told_whose_key_is_missing(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping.set_value(scene.lab(), scene.folder, parse("sops:secrets/a.yaml#x"), CANARY)
    monkeypatch.setenv("HOME", str(tmp_path / "ben"))
    with pytest.raises(HomelabError, match=r"no private key of this account opens secrets/a\.yaml"):
        reveal("sops:secrets/a.yaml#x", scene.folder)


def test_a_file_that_was_changed_by_hand_is_refused(scene: Scene) -> None:
    keeping.set_value(scene.lab(), scene.folder, parse("sops:secrets/a.yaml#x"), CANARY)
    keeping.set_value(scene.lab(), scene.folder, parse("sops:secrets/a.yaml#second"), "2")
    file = scene.folder / "secrets" / "a.yaml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("second:")) + "\n")
    with pytest.raises(HomelabError, match="changed by hand"):
        reveal("sops:secrets/a.yaml#x", scene.folder)


def test_a_mark_changes_with_its_secret_and_needs_no_private_key(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "sops:secrets/a.yaml#x"
    keeping.set_value(scene.lab(), scene.folder, parse(text), CANARY)
    before = change_mark(text, scene.folder, b"salt")
    keeping.set_value(scene.lab(), scene.folder, parse("sops:secrets/a.yaml#other"), "1")
    assert change_mark(text, scene.folder, b"salt") == before != ""
    keeping.set_value(scene.lab(), scene.folder, parse(text), "another")
    monkeypatch.setenv("HOME", str(tmp_path / "ben"))
    assert change_mark(text, scene.folder, b"salt") not in ("", before)


names = st.text(st.sampled_from("abcXYZ09_-"), min_size=1, max_size=12)


@given(st.one_of(st.builds("sops:{}/{}.yaml#{}".format, names, names, names), names.map("env:{}".format)))
def test_a_reference_is_written_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_an_error_that_does_not_repeat_it(text: str) -> None:
    try:
        parse(text)
    except HomelabError as error:
        assert len(text) < 12 or text not in str(error)


def test_only_secrets_turns_a_reference_into_a_value() -> None:
    """Nothing else calls sops, or has a function of that name."""
    for file in (PROJECT / "homelab_platform").rglob("*.py"):
        if "secrets" in file.relative_to(PROJECT).parts[1:2]:
            continue
        text = file.read_text()
        if "reveal" not in text and "--extract" not in text:
            continue
        tree = ast.parse(text)
        made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert "reveal" not in made, file
        called = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert "--extract" not in called, file
