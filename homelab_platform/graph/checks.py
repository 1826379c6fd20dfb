"""The asset checks: is the lab file valid, are the readings sound.

Belongs here: giving the pure verdicts of the rules and of readings/quality/verdicts.py their place in Dagster.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY
from homelab_platform.apply.readings_world import ReadingsWorld, with_readings
from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import table_markdown, verdict_result
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.work import Recount
from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of, name_of
from homelab_platform.plan.specs import read

if TYPE_CHECKING:
    from homelab_platform.readings.quality.verdicts import CheckResult

LAB_CHECK = "valid"
FLOW_CHECK = "flows_on"
_MEANS = {
    "freshness": "Every measured series goes on.",
    "range": "Values lie in the range that the lab gives their sensor; below, each sensor's last day.",
    "gaps": "No readings are missing between others.",
    "rejected": "Few lines are no readings.",
    "conservation": "Bucket, ledger and tables account for the same readings.",
    "clocks": "No device's readings come from the future.",
    "burst": "No stream suddenly brings ten times its usual.",
    "rows_agree": "Object by object, the tables hold the rows that the ledger counted.",
    "no_duplicates": "No reading (device, sensor, time) is in the table twice.",
    "files_exist": "Every file that the tables' metadata names is in the object store, with its size.",
    "answers": "PostgreSQL, the object store and Trino answer a real question.",
    "columns": "The table has its columns, and producers still fill them.",
    FLOW_CHECK: "The flow runs in NiFi, nothing waits long in its queues, nothing complains.",
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


def check_keys(here: Mapping[str, DesiredState], *names: str) -> list[dg.AssetCheckKey]:
    """The checks of these names on the tables of readings that the site holds."""
    tables = [asset_key(key) for key, state in here.items() if layer_of(key) == "table" and state.checks]
    return [dg.AssetCheckKey(key, name) for key in tables for name in names]


def flow_check_keys(here: Mapping[str, DesiredState]) -> list[dg.AssetCheckKey]:
    """The checks of the flows that go through NiFi."""
    return [dg.AssetCheckKey(asset_key(key), FLOW_CHECK) for key in _through_nifi(here)]


def _through_nifi(here: Mapping[str, DesiredState]) -> list[str]:
    flows = {key: read(ResolvedStream, state.document) for key, state in here.items() if layer_of(key) == "flow"}
    return [key for key, stream in flows.items() if stream.source_settings.get("via") == "nifi"]


def reading_checks(here: Mapping[str, DesiredState]) -> list[dg.AssetChecksDefinition]:
    """The checks of the tables of readings that the site holds, and of the flows through NiFi: one look at the lake
    gives all verdicts of a group.
    """
    found = [_flow_check(key) for key in _through_nifi(here)]
    for key, state in here.items():
        if layer_of(key) == "table" and state.checks:
            found.append(_soundness(asset_key(key), state.checks))
            found.append(_integrity(asset_key(key)))
            found.append(_foundations(asset_key(key)))
    return found


def _specs(key: dg.AssetKey, names: Iterable[str]) -> list[dg.AssetCheckSpec]:
    return [dg.AssetCheckSpec(name, asset=key, description=_MEANS.get(name)) for name in names]


def _flow_check(key: str) -> dg.AssetChecksDefinition:
    place = asset_key(key)

    @dg.multi_asset_check(
        name=f"health_of_{place.to_python_identifier()}",
        specs=_specs(place, (FLOW_CHECK,)),
    )
    def health(site: SiteResource) -> Iterable[dg.AssetCheckResult]:
        try:
            yield verdict_result(place, with_readings(site.world).flow_health(name_of(key)))
        except HomelabError as error:
            raise failure(error) from None

    return health


def _integrity(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(name=op_name_of("integrity", key), specs=_specs(key, INTEGRITY))
    def integrity(config: Recount, site: SiteResource) -> Iterable[dg.AssetCheckResult]:
        yield from _one_by_one(key, site, lambda world: world.integrity(config.everything))

    return integrity


def _foundations(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(name=op_name_of("foundations", key), specs=_specs(key, FOUNDATIONS))
    def foundations(site: SiteResource) -> Iterable[dg.AssetCheckResult]:
        yield from _one_by_one(key, site, lambda world: world.foundations())

    return foundations


def op_name_of(group: str, key: dg.AssetKey) -> str:
    """The op of a group of checks of an asset."""
    return f"{group}_of_{key.to_python_identifier()}"


def _one_by_one(
    key: dg.AssetKey, site: SiteResource, verdicts: Callable[[ReadingsWorld], Iterable["CheckResult"]]
) -> Iterable[dg.AssetCheckResult]:
    """Results in the order in which they are made: those before a verdict that cannot be made are kept."""
    try:
        for verdict in verdicts(with_readings(site.world)):
            yield verdict_result(key, verdict)
    except HomelabError as error:
        raise failure(error) from None


def _soundness(key: dg.AssetKey, names: tuple[str, ...]) -> dg.AssetChecksDefinition:
    specs = _specs(key, names)

    @dg.multi_asset_check(name=op_name_of("soundness", key), specs=specs)
    def soundness(site: SiteResource) -> Iterable[dg.AssetCheckResult]:
        try:
            world = with_readings(site.world)
            verdicts = {verdict.name: verdict for verdict in world.quality()}
            pictures = list(world.pictures())
        except HomelabError as error:
            raise failure(error) from None
        for name in names:
            yield verdict_result(key, verdicts[name], pictures if name == "range" else ())

    return soundness
