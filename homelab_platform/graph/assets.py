"""The assets of a lab: external where the site cannot reach, executable where it can.

Belongs here: turning desired states into Dagster assets and running one of them. Not here: what a layer's change does
(operations/adapters), or when it is asked for (sensors.py).
"""

import re
from collections.abc import Iterable, Mapping

import dagster as dg

from homelab_platform.apply.adapter import ALL_DATES, Applied, Exhibit, apply_one
from homelab_platform.errors import HomelabError
from homelab_platform.graph.marts import Extras, days_asked
from homelab_platform.graph.metadata import desired_metadata, exhibit_metadata
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.graph.runs import mark_process
from homelab_platform.graph.tags import CONFIRMED_TAG, PURPOSE_TAG, REQUEST_TAG
from homelab_platform.plan.desired import DesiredState, followers
from homelab_platform.plan.diff import as_markdown
from homelab_platform.plan.layers import Capabilities

NO_EXTRAS = Extras()
_TAG_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_TEAM_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


def asset_key(key: str) -> dg.AssetKey:
    """The Dagster key of the asset `layer/name`."""
    return dg.AssetKey(key.split("/"))


def plain_key(key: dg.AssetKey) -> str:
    """`layer/name` of a Dagster key."""
    return "/".join(key.path)


def _owner(owner: str) -> str:
    if _EMAIL.match(owner):
        return owner
    return f"team:{_TEAM_UNSAFE.sub('_', owner.removeprefix('team:'))}"


def _kind(kind: str) -> str:
    return _TAG_UNSAFE.sub("-", kind).strip("-_.")[:63] or "thing"


def asset_spec(state: DesiredState, *, external: bool, extras: Extras = NO_EXTRAS) -> dg.AssetSpec:
    """The asset of a desired state, with everything that its page shows before anything ran."""
    told = state.description
    return dg.AssetSpec(
        key=asset_key(state.key),
        deps=[asset_key(dep) for dep in state.deps],
        description=told if told.startswith(extras.about) else f"{extras.about} {told}",
        group_name=state.layer,
        kinds={_kind(kind) for kind in state.kinds[:3]},
        owners=[_owner(owner) for owner in state.owners],
        code_version=state.fingerprint,
        metadata={**desired_metadata(state), **extras.metadata},
        tags={"homelab/layer": state.layer, "homelab/reach": "external" if external else "here"},
    )


def op_names(desired: Mapping[str, DesiredState], capabilities: Capabilities) -> dict[str, str]:
    """The op of each asset that can be run; unlike its key, its name has no `-` and no `.`."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key, state in desired.items():
        if capabilities.can(key, state.kinds):
            names[key] = _unused(key, taken)
    return names


def build_assets(
    desired: Mapping[str, DesiredState], capabilities: Capabilities, extras: Mapping[str, Extras] | None = None
) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """One asset per desired state: external ones as they are, the others with what runs them.

    `extras` is what some of them have beyond that, by key.
    """
    more = extras or {}
    names = op_names(desired, capabilities)
    after: dict[str, list[str]] = {key: sorted(followers(desired, [key])) for key in names}
    return [
        _executable(state, after[key], names[key], more.get(key, NO_EXTRAS))
        if key in names
        else asset_spec(state, external=True)
        for key, state in desired.items()
    ]


def _unused(key: str, names: set[str]) -> str:
    """An op name for the asset: `a-b` and `a.b` would both become `a_b`."""
    name = base = re.sub(r"\W", "_", key.replace("/", "__"))
    number = 2
    while name in names:
        name, number = f"{base}_{number}", number + 1
    names.add(name)
    return name


def _executable(state: DesiredState, after: list[str], name: str, extras: Extras) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=name,
        specs=[asset_spec(state, external=False, extras=extras)],
        required_resource_keys={SITE},
        description=state.description,
        partitions_def=extras.partitions,
        # A range of days is one run: a run costs seconds before its first row, and two years are seven hundred days.
        backfill_policy=dg.BackfillPolicy.single_run() if extras.partitions else None,
    )
    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        site: SiteResource = getattr(context.resources, SITE)
        return materialize(context, site, state, after)

    return run


def materialize(
    context: dg.AssetExecutionContext, site: SiteResource, state: DesiredState, after: Iterable[str]
) -> dg.MaterializeResult[None]:
    """Run one asset: apply it unless the run is only there for its daily work, then do that work.

    Raises dagster.Failure, with what is wrong and what to do but without a traceback, for what a user can cause.
    """
    tags = context.run.tags
    mark_process(context.instance, context.run)
    exhibits: list[Exhibit] = []

    def say(text: str) -> None:
        context.log.info("%s: %s", state.key, text)
        site.tell(state.key, text)

    try:
        world = site.world
        if tags.get(PURPOSE_TAG, "apply") == "apply":
            done = apply_one(
                world,
                state,
                followers=after,
                confirmed=tags.get(CONFIRMED_TAG) == "yes",
                run_id=context.run.run_id,
                say=say,
            )
            exhibits += _applied_exhibits(done)
            site.outcomes[state.key] = _outcome(done)
        exhibits += world.adapter(state.layer).work(state, _request(context), say)
    except HomelabError as error:
        site.problems[state.key] = error.problems
        raise failure(error) from None
    _tell_days(context, state, exhibits)
    return dg.MaterializeResult(
        asset_key=asset_key(state.key),
        metadata=exhibit_metadata(exhibit for exhibit in exhibits if exhibit.kind != "partitions"),
        data_version=dg.DataVersion(state.fingerprint),
    )


def _request(context: dg.AssetExecutionContext) -> dict[str, str]:
    """What a run asks of the adapters: what its tags say, or the days that it is for; all of it if a person pressed
    "Materialize".
    """
    tags = context.run.tags
    request = {k.removeprefix(REQUEST_TAG): v for k, v in tags.items() if k.startswith(REQUEST_TAG)}
    days = days_asked(context)
    if "dates" in request or tags.get(PURPOSE_TAG) == "apply":
        return request  # the run's partition is nominal
    if days:
        return request | {"dates": ",".join(days), "exactly": "yes"}
    if PURPOSE_TAG not in tags:
        request["dates"] = ALL_DATES
    return request


def _tell_days(context: dg.AssetExecutionContext, state: DesiredState, exhibits: Iterable[Exhibit]) -> None:
    """Log the days that a run has computed beyond its own partitions, so that the UI shows each as done."""
    own = set(days_asked(context))  # Dagster logs these itself
    computed: Mapping[str, int] = next((exhibit.value for exhibit in exhibits if exhibit.kind == "partitions"), {})
    for day, rows in computed.items():
        if day in own:
            continue
        context.log_event(
            dg.AssetMaterialization(
                asset_key(state.key),
                partition=day,
                metadata={"dagster/partition_row_count": rows},
                tags={"dagster/data_version": state.fingerprint},
            )
        )


def _applied_exhibits(done: Applied) -> list[Exhibit]:
    shown = [Exhibit("what happened", "text", _outcome(done))]
    if done.changes:
        shown.append(Exhibit("changes", "markdown", as_markdown(done.changes)))
    if done.observation.facts:
        facts = [{"observed": name, "is": value} for name, value in done.observation.facts.items()]
        shown.append(Exhibit("observed", "table", facts))
    return shown


def _outcome(done: Applied) -> str:
    if not done.wrote:
        return "Nothing had to be changed; it was observed to be as it should be."
    words = {"create": "Created", "replace": "Replaced"}.get(done.step.action, "Changed")
    return f"{words}, and observed to be as it should be."


def failure(error: HomelabError) -> dg.Failure:
    """A run's failure that reads as the problem and its remedy."""
    first = error.problems[0]
    return dg.Failure(
        description="\n".join(str(problem) for problem in error.problems),
        metadata={"problem": first.what, "remedy": first.remedy, "where": str(first.where)},
        allow_retries=False,
    )
