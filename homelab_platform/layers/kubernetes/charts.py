"""The chart of a workload: our own, one beside the lab file, or one of a repository.

Belongs here: which chart `helm` is given, and whether a release has that of this version of the platform. Not here:
what the chart is told (plan/values.py).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.paths import project_path
from homelab_platform.tools.kube import releases

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedWorkload

PLATFORM = "homelab-platform"
OWN_CHARTS = ("app", PLATFORM)


def chart_of(workload: ResolvedWorkload, lab_folder: Path | None) -> tuple[str, str | None]:
    """The chart as `helm` takes it, and its version. Raises HomelabError for one that cannot be had."""
    chart = workload.chart or "app"
    if chart in OWN_CHARTS:
        return str(project_path("helm", chart)), None
    if chart.startswith("."):
        folder = (lab_folder or Path()) / chart
        if not (folder / "Chart.yaml").is_file():
            raise HomelabError.of(
                f"workload {workload.name}",
                f"its chart {chart} has no Chart.yaml",
                f"It was looked for in {folder}.",
            )
        return str(folder), None
    if chart.startswith("git+"):
        raise HomelabError.of(
            f"workload {workload.name}", f"its chart lies in a source tree: {chart}",
            "Copy that folder beside the lab file and name it: `chart: ./charts/…`.",
        )  # fmt: skip
    return chart, workload.chart_version


def chart_lines(found: releases.Release, workload: ResolvedWorkload) -> list[str]:
    """Our own chart changes with the platform, which no document says."""
    if (workload.chart or "app") != "app":
        return []
    chart = app_chart()
    return [] if found.chart == chart else [f"the chart is {found.chart}, should be {chart}"]


@cache
def app_chart() -> str:
    """Name and version of our generic chart, as releases carry it: `app-1.0.0`."""
    import yaml

    said = yaml.safe_load(project_path("helm", "app", "Chart.yaml").read_text())
    return f"{said['name']}-{said['version']}"
