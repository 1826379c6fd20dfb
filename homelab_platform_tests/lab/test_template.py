"""A newcomer's first lab file is a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.lab.check import check_lab, load_resolved
from homelab_platform.lab.template import starter
from homelab_platform_tests.lab.strategies import catalogue


@pytest.mark.parametrize("name", ["home", "Ada's Lab", "", "---", "Ä" * 70, "x" * 90])
def test_the_starter_passes_every_check(tmp_path: Path, name: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(starter(name), encoding="utf-8")
    assert [str(p) for p in check_lab(path, catalogue())] == []
    assert load_resolved(path, catalogue()).streams["machine"].source == "machine"


def test_editors_find_the_schema() -> None:
    assert starter("x").startswith("# yaml-language-server: $schema=lab.schema.json\n")
