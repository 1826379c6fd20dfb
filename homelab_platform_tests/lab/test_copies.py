"""3-2-1: a plan with one copy, or none outside of the house, is told at its line; a lab that is well is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import lab_warnings
from homelab_platform.lab.copies import COPIES
from homelab_platform.paths import PROJECT

LAB = """lab: small
domain: lab.example.org
hosts:
  pi: {board: pi4-4gb, os: raspios, address: 192.168.0.10}
  attic: {board: pi4-4gb, os: raspios, address: 192.168.0.11}
network: {lan: 192.168.0.0/24, gateway: 192.168.0.1}
backups:
  to: {%s}
  nightly: {at: '02:30', keep: 7d%s}
"""
STICK, NAS = "stick: usb://BACKUP", "nas: ssh://backup@192.168.0.5/lab"
B2 = "cloud: s3://bucket@b2"


def told(path: Path) -> list[str]:
    return [str(w).splitlines()[0] for w in lab_warnings(path, load_catalogue()) if w.rule == COPIES]


@pytest.mark.parametrize(
    ("targets", "plan", "says"),
    [
        (STICK, "", "one copy only (stick, in the house)"),
        (B2, "", "one copy only (cloud)"),
        (f"{NAS}, more: ssh://backup@192.168.0.5/other, {B2}", ", to: [nas, more]", "one copy only (nas, more, in the"),
        (f"{STICK}, {NAS}", "", "no copy outside of the house (stick, nas)"),
        (f"{NAS}, attic: ssh://backup@attic/lab", "", "no copy outside of the house"),
        (f"{NAS}, box: {{url: s3://bucket@b2, endpoint: 'http://192.168.0.6:9000'}}", "", "no copy outside"),
        (f"{NAS}, {B2}", ", to: [nas]", "one copy only (nas, in the house)"),
        (f"{NAS}, {B2}", "", None),
        (f"{STICK}, parents: ssh://backup@nas.parents.example.net/lab", "", None),
        (f"{STICK}, parents: ssh://backup@8.8.8.8/lab", "", None),
    ],
)
def test_a_plan_with_too_few_copies_is_told_at_its_line(
    tmp_path: Path, targets: str, plan: str, says: str | None
) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(LAB % (targets, plan))
    found = told(file)
    assert len(found) == (says is not None)
    if says is not None:
        assert found[0].startswith("lab.yaml:9:3: nightly makes ")
        assert says in found[0]


def test_the_example_labs_with_two_places_are_left_alone() -> None:
    found = {lab.parent.name: told(lab) for lab in (PROJECT / "examples").glob("*/lab.yaml")}
    assert {name for name, lines in found.items() if lines} == {"single-pi"}  # one stick
