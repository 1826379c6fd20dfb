"""The asset checks: is the lab file valid, are the readings sound.

Belongs here: giving the pure verdicts of the rules and of readings/quality.py their place in Dagster.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import table_markdown, verdict_result
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.operations.adapters.base import with_readings
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of

LAB_CHECK = "valid"

_MEANS = {
    "freshness": "Every measured series goes on.",
    "range": "Values lie in the range that the lab gives their sensor; below, each sensor's last day.",
    "gaps": "No readings are missing between others.",
    "rejected": "Few lines are no readings.",
    "conservation": "Bucket, ledger and tables account for the same readings.",
}


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
    tables = {key: state for key, state in here.items() if layer_of(key) == "table" and state.checks}
    return [_soundness(asset_key(key), state.checks) for key, state in tables.items()]


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
            yield verdict_result(key, verdicts[name], pictures if name == "range" else ())

    return soundness
