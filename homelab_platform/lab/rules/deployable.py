"""Rules about workloads that cannot be deployed as they stand.

Belongs here: refusals that the lab file and the catalogue show before anything is rendered. What only the rendered
objects show is judged there (plan/workload/judge.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab.catalogue import Entry
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts


def refused_workload(ctx: RuleContext) -> Iterable[Problem]:
    """A workload whose data would not be kept, or that nothing here can deploy, must not read as applied."""
    for name, workload in ctx.lab.workloads.items():
        path: Path = ("workloads", name)
        if workload.chart and workload.chart.startswith("git+"):
            what = f"{name} cannot be deployed: its chart lies in a source tree only"
            remedy = "Copy that folder beside the lab file: chart: ./charts/…"
            yield ctx.problem((*path, "chart"), what, remedy, "refused-workload")
        entry = facts(ctx).entries[name]
        if entry is None or entry.refusal is None or _is_own(ctx, name, workload, entry):
            continue
        what = f"{name} cannot be deployed: {entry.refusal}"
        remedy = "Take it out, or deploy it in a way of your own (chart:, image:)."
        yield ctx.problem(path, what, remedy, "refused-workload", key=True)


def _is_own(ctx: RuleContext, name: str, workload: Workload, entry: Entry) -> bool:
    """Whether the lab itself says how it is deployed."""
    if workload.chart or workload.image or workload.kustomize:
        return True
    folders = (ctx.folder / "workloads" / name, ctx.folder / "helm" / entry.name)
    told = bool(workload.values) or any((folder / "values.yaml").is_file() for folder in folders)
    return told and entry.tellable


RULES = (refused_workload,)
