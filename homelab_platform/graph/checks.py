"""The asset checks: is the lab file valid, are the readings sound.

Belongs here: giving the pure verdicts of the rules and of readings/quality.py their place in Dagster.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import exhibit_metadata, table_markdown
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.operations.adapters.base import Exhibit, with_readings
from homelab_platform.plan.desired import DesiredState

if TYPE_CHECKING:
    from homelab_platform.readings.quality import CheckResult

LAB_CHECK = "valid"

_MEANS = {
    "freshness": "Every measured series goes on.",
    "range": "Values lie in the range that the lab gives their sensor; below, each sensor's last day.",
    "gaps": "No readings are missing between others.",
    "rejected": "Few lines are no readings.",
    "conservation": "Bucket, ledger and tables account for the same readings.",
}
_SEVERITY = {"warn": dg.AssetCheckSeverity.WARN, "error": dg.AssetCheckSeverity.ERROR}


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


def reading_checks(here: Mapping[str, DesiredState]) -> list[dg.AssetChecksDefinition]:
    """The checks of the tables of readings that the site holds: one look at the lake gives all verdicts."""
    return [_soundness(asset_key(key), state.checks) for key, state in here.items() if state.checks]


def _soundness(key: dg.AssetKey, names: tuple[str, ...]) -> dg.AssetChecksDefinition:
    specs = [dg.AssetCheckSpec(name, asset=key, description=_MEANS.get(name)) for name in names]

    @dg.multi_asset_check(name=f"soundness_of_{key.to_python_identifier()}", specs=specs, required_resource_keys={SITE})
    def soundness(context: dg.AssetCheckExecutionContext) -> Iterable[dg.AssetCheckResult]:
        site: SiteResource = getattr(context.op_execution_context.resources, SITE)
        try:
            world = with_readings(site.world)
            verdicts = {verdict.name: verdict for verdict in world.quality()}
            pictures = list(world.pictures())
        except HomelabError as error:
            raise failure(error) from None
        for name in names:
            verdict = verdicts[name]
            yield dg.AssetCheckResult(
                passed=verdict.passed,
                asset_key=key,
                check_name=name,
                description=verdict.description,
                severity=_SEVERITY[verdict.severity],
                metadata=verdict_metadata(verdict, pictures if name == "range" else []),
            )

    return soundness


def verdict_metadata(verdict: "CheckResult", pictures: Sequence[Exhibit]) -> dict[str, dg.MetadataValue[Any]]:
    """What a verdict rests on: numbers as numbers, lists of maps as tables, pictures as they are."""
    found: list[Exhibit] = []
    for name, value in verdict.metadata.items():
        kind = "table" if isinstance(value, list) else "number" if isinstance(value, int | float) else "text"
        found.append(Exhibit(name.replace("_", " "), kind, value))
    return exhibit_metadata([*found, *pictures])
