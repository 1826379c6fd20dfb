"""A plan as rows of a screen.

Belongs here: which rows a plan has and their words. Not here: colours and widths (the command's), or what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from homelab_platform.plan.layers import LAYERS, layer_of
from homelab_platform.plan.plan import SKIPPED, Plan, Step

Kind = Literal["step", "change", "check", "rest", "external", "note", "summary"]
SHOWN_CHANGES = 12
"""Differences shown per step; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a `step` has key, action, danger and extent; a `change` path and difference; others a sentence."""

    kind: Kind
    cells: tuple[str, ...]
    danger: str = "safe"


def rows(plan: Plan, *, all_changes: bool = False) -> tuple[Row, ...]:
    """The plan as rows: pending steps with their differences, what does not answer, the rest in a line, the summary."""
    found: list[Row] = []
    checks = {check.because.removeprefix("depends on "): check for check in plan.rechecks}
    for step in plan.pending:
        found.extend(_step(step, all_changes))
        if step.key in checks:
            check = checks[step.key]
            found.append(Row("check", (check.key, "re-run", "", check.because)))
    skipped = plan.skipped
    found.extend(Row("step", (step.key, "skip", "", step.because.removeprefix(SKIPPED))) for step in skipped)
    unchanged = len(plan.steps) - len(plan.pending) - len(skipped)
    if unchanged:
        others = "others " if plan.pending or skipped else ""
        found.append(Row("rest", (f"{unchanged} {others}unchanged",)))
    found.extend(_external(plan.external or {}, plan.site))
    if plan.elsewhere:
        found.append(Row("note", ("Of these, edited since the lab was last applied; not done from here:",)))
        for step in plan.elsewhere:
            found.extend(_step(step, all_changes))
    if plan.observed_at is None and plan.steps:
        found.append(Row("note", ("Nothing is on record yet: the site is not running, or nothing was ever applied.",)))
    elif plan.observed_at is not None:
        found.append(Row("note", (f"As observed {_age(plan.created_at - plan.observed_at)} ago.",)))
    found.append(Row("summary", (summary(plan),), plan.danger))
    return tuple(found)


def _step(step: Step, all_changes: bool) -> list[Row]:
    """An asset's step and its differences."""
    found = [Row("step", (step.key, _action(step), _danger(step), _extent(step)), step.danger)]
    limit = len(step.changes) if all_changes else SHOWN_CHANGES
    found.extend(Row("change", (c.path, c.line()), step.danger) for c in step.changes[:limit])
    if len(step.changes) > limit:
        found.append(Row("change", (f"… {len(step.changes) - limit} more", "")))
    return found


def summary(plan: Plan) -> str:
    """The closing sentence."""
    count = plan.counts()
    deletes, creates = count["delete"], count["create"]
    changes = count["update"] + count["replace"]
    if not plan.steps:
        return "Plan: nothing this site can apply."
    if not plan.pending:
        if plan.skipped:
            return f"Plan: nothing to do for what answers; {len(plan.skipped)} skipped, looked at again later."
        if plan.external:
            far = len(plan.external)
            return f"Plan: nothing to do within reach; {far} assets are out of reach and were not looked at."
        return "Plan: nothing to do; the lab is as it should be."
    parts = [f"{creates} to create"] if creates else []
    return (
        f"Plan: {', '.join([*parts, f'{changes} to change', f'{deletes} to delete'])}. "
        "Nothing has been done; `homelab apply` does it."
    )


def render(plan: Plan, *, all_changes: bool = False) -> str:
    """The plan as plain text."""
    lines: list[str] = []
    found = rows(plan, all_changes=all_changes)
    key_width = max((len(r.cells[0]) for r in found if r.kind in ("step", "check")), default=0)
    path_width = min(max((len(r.cells[0]) for r in found if r.kind == "change"), default=0), 56)
    for row in found:
        if row.kind in ("step", "check"):
            key, action, danger, extent = row.cells
            lines.append(f"  {key:<{key_width}}  {action:<7}  {danger:<9}  {extent}".rstrip())
        elif row.kind == "change":
            lines.append(f"      {row.cells[0]:<{path_width}}   {row.cells[1]}".rstrip())
        else:
            lines.append(row.cells[0] if row.kind == "summary" else f"  {row.cells[0]}")
    return "\n".join(lines)


def _action(step: Step) -> str:
    rerun = step.action == "update" and not step.changes and step.because.startswith("follows ")
    return "re-run" if rerun else step.action


def _danger(step: Step) -> str:
    return "" if step.danger == "safe" else step.danger


def _extent(step: Step) -> str:
    if step.keeps:
        stays = "stays" if len(step.keeps) == 1 and step.keeps != ("its volumes",) else "stay"
        return f"{step.because}; {', '.join(step.keeps)} {stays} unless you confirm {step.key}"
    if step.because:
        return step.because
    if not step.changes:
        return ""
    return f"{len(step.changes)} value{'' if len(step.changes) == 1 else 's'}"


def _external(external: Mapping[str, str], site: str) -> list[Row]:
    if not external:
        return []
    counts: dict[str, int] = {}
    for key in external:
        counts[layer_of(key)] = counts.get(layer_of(key), 0) + 1
    parts = [f"{counts[layer]} {layer}{'' if counts[layer] == 1 else 's'}" for layer in LAYERS if layer in counts]
    return [Row("external", (f"{len(external)} out of reach of the {site} site: {', '.join(parts)}",))]


def _age(age: timedelta) -> str:
    seconds = max(0, int(age / timedelta(seconds=1)))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def age(moment: datetime, now: datetime) -> str:
    """How long ago `moment` was, for people: `40 s`, `12 min`, `3 h`, `9 d`."""
    return _age(now - moment)
