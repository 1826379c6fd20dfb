"""A plan is observed at its target: applied once, seen there, and never laid into the folder of somebody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import apply_one
from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.adapter import PlanAdapter
from homelab_platform.layers.backups.recovery_key import recovery_key
from homelab_platform.layers.backups.targets import FolderTarget
from homelab_platform.plan.desired import DesiredState
from homelab_platform_tests.graph.world import FolderWorld

STATE = DesiredState("backup/lake", "backup", {"item": "lake", "keep": {"daily": 7}}, fingerprint="f1")


class World(FolderWorld):
    def __init__(self, root: Path, made: PlanAdapter) -> None:
        super().__init__(root)
        self.made = made

    def adapter(self, layer: str) -> PlanAdapter:  # type: ignore[override]
        return self.made


def target_in(folder: Path, lab: str = "attic") -> FolderTarget:
    return FolderTarget("site", folder / "target", lab, "a key", own=True)


def test_a_plan_lies_at_its_target_and_is_seen_there(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    target = target_in(tmp_path)
    adapter = PlanAdapter(lambda: [target], tmp_path / "site", lambda *_: ())
    world = World(tmp_path / "world", adapter)
    assert not adapter.probe(STATE).exists
    assert apply_one(world, STATE).wrote
    assert not apply_one(world, STATE).wrote
    found = adapter.probe(STATE)
    assert found.matches(STATE)
    assert "same disk" in str(found.facts["worth"])
    adapter.remove(STATE.key, STATE.document, print)
    assert not adapter.probe(STATE).exists
    assert target.identity().lab == "attic"


def test_a_target_with_another_key_keeps_no_plan_from_the_others(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "nas").mkdir()
    other = FolderTarget("nas", tmp_path / "nas", "attic", "another key", own=True)
    made = other.establish(tmp_path / "site")
    targets = [target_in(tmp_path), replace(other, key="a key")]
    adapter, said = PlanAdapter(lambda: targets, tmp_path / "site", lambda *_: ()), list[str]()
    adapter.change(STATE, adapter.probe(STATE), said.append)
    assert adapter.probe(STATE).matches(STATE)
    assert said[0].startswith(f"nas is left for later: was made with key {made.key}")


def test_a_folder_of_another_lab_or_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    target_in(tmp_path).establish(tmp_path / "site")
    with pytest.raises(HomelabError, match="belongs to the lab attic"):
        target_in(tmp_path, "cellar").establish(tmp_path / "site")
    other = FolderTarget("site", tmp_path / "photos", "attic", "a key", own=True)
    other.folder.mkdir()
    (other.folder / "cat.jpg").touch()
    with pytest.raises(HomelabError, match="is not empty and holds no"):
        other.establish(tmp_path / "site")


def test_a_recovery_key_is_made_once_for_the_owners_eyes(tmp_path: Path) -> None:
    file = tmp_path / "attic.recovery-key"
    with pytest.raises(HomelabError, match="there is no recovery key"):
        recovery_key(file, make=False)
    made = recovery_key(file, make=True)
    assert len(made) == 47
    assert file.stat().st_mode & 0o777 == 0o600
    assert recovery_key(file, make=True) == recovery_key(file, make=False) == made
