"""The assets of a lab: external where the site cannot reach, executable where it can.

Belongs here: turning desired states into Dagster assets and running one of them. Not here: what a layer's change does
(layers/), or when it is asked for (sensors.py).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg

from homelab_platform.apply.adapter import Applied, Exhibit, apply_one
from homelab_platform.errors import HomelabError
from homelab_platform.graph.marts import Extras, days_asked
from homelab_platform.graph.metadata import desired_metadata, exhibit_metadata
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.runs import mark_process
from homelab_platform.graph.side_by_side import SideBySide
from homelab_platform.graph.work import Work
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState, followers
from homelab_platform.plan.diff import as_markdown
from homelab_platform.plan.layers import Capabilities

NO_EXTRAS = Extras()
POOLS = {"table": "tables", "mart": "heavy"}
"""Layers whose runs queue for each other (`concurrency` in dagster.yaml): one ingest, one heavy computation."""
_hosts: SideBySide[Applied] = SideBySide()
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
        freshness_policy=None if external else extras.freshness,
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
    desired: Mapping[str, DesiredState],
    capabilities: Capabilities,
    extras: Mapping[str, Extras] | None = None,
    works: Mapping[str, type[Work]] | None = None,
) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """One asset per desired state: external ones as they are, the others with what runs them.

    `extras` is what some of them have beyond that, by key; `works` the config of layers that are asked for more.
    """
    more = extras or {}
    names = op_names(desired, capabilities)
    bring = Bring(desired, {key: sorted(followers(desired, [key])) for key in names})
    works = works or {}
    return [
        _executable(state, bring, names[key], more.get(key, NO_EXTRAS), works.get(state.layer, Work))
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


def _executable(
    state: DesiredState, bring: "Bring", name: str, extras: Extras, work: type[Work]
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=name,
        specs=[asset_spec(state, external=False, extras=extras)],
        description=state.description,
        pool=POOLS.get(state.layer),
        partitions_def=extras.partitions,
        # A range of days is one run: a run costs seconds before its first row, and two years are seven hundred days.
        backfill_policy=dg.BackfillPolicy.single_run() if extras.partitions else None,
    )
    def run(context: dg.AssetExecutionContext, config: work, site: SiteResource) -> dg.MaterializeResult[None]:  # type: ignore[valid-type]
        return materialize(context, site, state, bring, config)

    return run


@dataclass(frozen=True)
class Bring:
    """Bringing the assets of a lab to their desired states; `after` is what follows each, by key."""

    desired: Mapping[str, DesiredState]
    after: Mapping[str, list[str]]

    def one(self, site: SiteResource, state: DesiredState, run_id: str, say: Say) -> Applied:
        """Apply one asset. A loss of data needs the consent that `homelab apply` leaves in the site's database."""
        return apply_one(site.world, state, followers=self.after[state.key], run_id=run_id, say=say)

    def host(self, context: dg.AssetExecutionContext, site: SiteResource, state: DesiredState) -> Applied:
        """Apply a host; the others of the same run begin with the first. What it says is logged once it is done."""
        run_id, session = context.run.run_id, site.session
        selected = {plain_key(key) for key in context.job_def.asset_layer.selected_asset_keys}
        hosts = [one for key, one in self.desired.items() if key in selected and one.layer == "host"]
        site.world.adapter("host")  # opened once, here

        def work(one: DesiredState, log: Say) -> Applied:
            def say(text: str) -> None:
                log(text)
                session.tell(one.key, text)

            return self.one(site, one, run_id, say)

        _hosts.begin(run_id, hosts, work)
        try:
            return _hosts.result(run_id, state.key)
        finally:
            for text in _hosts.messages(run_id, state.key):
                context.log.info("%s: %s", state.key, text)


def materialize(
    context: dg.AssetExecutionContext, site: SiteResource, state: DesiredState, bring: Bring, config: Work
) -> dg.MaterializeResult[None]:
    """Run one asset: apply it unless the run is only there for its daily work, then do that work.

    Raises dagster.Failure that says what is wrong and what to do.
    """
    mark_process(context.instance, context.run)
    session = site.session
    exhibits: list[Exhibit] = []

    def say(text: str) -> None:
        context.log.info("%s: %s", state.key, text)
        session.tell(state.key, text)

    try:
        if config.apply:
            side_by_side = state.layer == "host"
            done = bring.host(context, site, state) if side_by_side else bring.one(site, state, context.run.run_id, say)
            exhibits += _applied_exhibits(done)
            session.outcomes[state.key] = _outcome(done)
        request = config.request(days_asked(context), partitioned=context.assets_def.partitions_def is not None)
        exhibits += site.world.adapter(state.layer).work(state, request, say)
    except HomelabError as error:
        session.problems[state.key] = error.problems
        raise failure(error) from None
    _tell_days(context, state, exhibits)
    return dg.MaterializeResult(
        asset_key=asset_key(state.key),
        metadata=exhibit_metadata(exhibit for exhibit in exhibits if exhibit.kind != "partitions"),
        data_version=dg.DataVersion(state.fingerprint),
    )


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
