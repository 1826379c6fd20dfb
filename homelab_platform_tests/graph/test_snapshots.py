"""The whole graph of each example lab, held against a snapshot: a change of keys, lineage or jobs is meant or noticed.

Write the snapshots anew with `HOMELAB_UPDATE_SNAPSHOTS=1 pytest homelab_platform_tests/graph/test_snapshots.py`, then
read the difference in git.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from homelab_platform.graph.assets import plain_key
from homelab_platform.graph.build import build_definitions
from homelab_platform.graph.labfile import read_lab
from homelab_platform.paths import project_path

SNAPSHOTS = Path(__file__).parent / "snapshots"
EXAMPLES = sorted(path.parent.name for path in project_path("examples").glob("*/lab.yaml"))
UPDATE = "HOMELAB_UPDATE_SNAPSHOTS"


def shape_of(defs: dg.Definitions) -> dict[str, Any]:
    """What of the definitions other people and other code rely on."""
    graph = defs.resolve_asset_graph()
    repository = defs.get_repository_def()
    assets = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assets[plain_key(key)] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "deps": sorted(map(plain_key, node.parent_keys)),
            "runs": "here" if node.is_executable else "elsewhere",
        }
    return {
        "assets": dict(sorted(assets.items())),
        "checks": sorted(f"{plain_key(check.asset_key)}: {check.name}" for check in graph.asset_check_keys),
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": {s.name: s.cron_schedule for s in sorted(repository.schedule_defs, key=lambda s: s.name)},
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
    }


def written(shape: dict[str, Any]) -> str:
    """The shape as JSON with one asset a line, so that a difference in git says which."""
    lines = [f"  {json.dumps(key)}: {json.dumps(asset)}" for key, asset in shape["assets"].items()]
    rest = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in shape.items() if name != "assets"]
    head = ' "assets": {\n' + ",\n".join(lines) + "\n }"
    return "{\n" + ",\n".join([head, *rest]) + "\n}\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_graph_of_each_example_is_as_it_was(example: str) -> None:
    shape = shape_of(build_definitions(read_lab(project_path("examples", example, "lab.yaml"))))
    file = SNAPSHOTS / f"{example}.json"
    if os.environ.get(UPDATE):
        file.parent.mkdir(exist_ok=True)
        file.write_text(written(shape), encoding="utf-8")
    assert shape == json.loads(file.read_text(encoding="utf-8")), f"If this is meant: {UPDATE}=1 writes it anew."


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_layer_of_each_example_hangs_together(example: str) -> None:
    shape = shape_of(build_definitions(read_lab(project_path("examples", example, "lab.yaml"))))
    assets = shape["assets"]
    lonely = {
        key
        for key, asset in assets.items()
        if not asset["deps"] and not any(key in other["deps"] for other in assets.values())
    }
    assert {key for key in lonely if not key.startswith("lab/")} == set()
