"""The asset checks: is the lab file valid, are the readings sound.

Belongs here: giving the pure verdicts of the rules and of readings/quality.py their place in Dagster.
"""

from collections.abc import Mapping

import dagster as dg

from homelab_platform.errors import Position, Problem
from homelab_platform.graph.metadata import table_markdown
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.desired import DesiredState

LAB_CHECK = "valid"


def lab_key(name: str) -> dg.AssetKey:
    """The key of the lab file itself."""
    return dg.AssetKey(["lab", name])


def lab_asset(name: str, description: str) -> dg.AssetSpec:
    """The lab file as an asset: external, as people write it."""
    return dg.AssetSpec(lab_key(name), group_name="lab", kinds={"yaml"}, description=description)


def lab_check_evaluation(name: str, problems: tuple[Problem, ...]) -> dg.AssetCheckEvaluation:
    """The verdict on a lab file, with every problem as a row."""
    rows = [{"where": str(p.where), "what is wrong": p.what, "what to do": p.remedy} for p in problems]
    return dg.AssetCheckEvaluation(
        asset_key=lab_key(name),
        check_name=LAB_CHECK,
        passed=not problems,
        description=f"{len(problems)} problem(s); the last good lab counts." if problems else "No errors.",
        metadata={"problems": dg.MetadataValue.md(table_markdown(rows))} if rows else {},
    )


def lab_file_check(name: str, problems: tuple[Problem, ...]) -> dg.AssetChecksDefinition:
    """The check of the lab file; `problems` are those found when this code location was loaded."""

    @dg.asset_check(asset=lab_key(name), name=LAB_CHECK, description="The lab file has no errors.", blocking=False)
    def valid(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        verdict = lab_check_evaluation(name, problems)
        for problem in problems:
            place = problem.where if isinstance(problem.where, Position) else str(problem.where)
            context.log.warning("%s: %s", place, problem.what)
        return dg.AssetCheckResult(passed=verdict.passed, description=verdict.description, metadata=verdict.metadata)

    return valid


def reading_checks(lab: ResolvedLab, here: Mapping[str, DesiredState]) -> list[dg.AssetChecksDefinition]:
    """The checks of the tables of readings that the site holds."""
    return []
