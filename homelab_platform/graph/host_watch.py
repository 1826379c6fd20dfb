"""Watching the hosts: each has a check that is red within a minute of its plug being pulled, and green again by itself.

Belongs here: the check and the sensor that keeps it. Not here: how a host is asked (layers/hosts/adapter.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import orjson

from homelab_platform.apply.adapter import Answering, World, observe_one
from homelab_platform.errors import HomelabError
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.resources import SiteResource
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of

ANSWERS = "answers"
WATCH_EVERY = 15
"""Seconds between two looks at all hosts."""
SAID_AGAIN = timedelta(minutes=30)
"""A check that stays as it is is said again this often, so that its page shows that somebody looks."""
TWICE = 2
"""Looks in a row that a host must miss: a packet may be lost, or a host just restarts its SSH."""


@dataclass(frozen=True)
class Seen:
    """What is remembered of one host: how many looks in a row it missed, what was last said of it, and when."""

    missed: int = 0
    said: bool | None = None
    at: float = 0.0


def hosts_of(here: Mapping[str, DesiredState]) -> list[DesiredState]:
    """The hosts that the site reaches."""
    return [state for key, state in here.items() if layer_of(key) == "host"]


def host_checks(here: Mapping[str, DesiredState]) -> list[dg.AssetChecksDefinition]:
    """The check of each host: does it answer."""
    return [_check(state) for state in hosts_of(here)]


def host_watch(here: Mapping[str, DesiredState]) -> list[dg.SensorDefinition]:
    """The sensor that keeps these checks; none for a site that reaches no host."""
    hosts = hosts_of(here)
    return [_watch(hosts)] if hosts else []


def _check(state: DesiredState) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(state.key),
        name=ANSWERS,
        description="It answers; looked at every 15 seconds.",
        blocking=False,
    )
    def answers(site: SiteResource) -> dg.AssetCheckResult:
        try:
            found = site.world.answering([state])[state.key]
        except HomelabError as error:
            raise failure(error) from None
        verdict = _verdict(state.key, found, datetime.now(UTC))
        return dg.AssetCheckResult(passed=verdict.passed, description=verdict.description, metadata=verdict.metadata)

    return answers


def _watch(hosts: list[DesiredState]) -> dg.SensorDefinition:
    @dg.sensor(
        name="hosts_answer",
        minimum_interval_seconds=WATCH_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        asset_selection=dg.AssetSelection.checks(*(dg.AssetCheckKey(asset_key(h.key), ANSWERS) for h in hosts)),
        description="Asks every host whether it is there; what changed is on its page, and on the status screen.",
    )
    def hosts_answer(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        try:
            world = site.world
            found = world.answering(hosts)
            news, memory, changed = after_look(load_seen(context.cursor), found, now)
            _remember(world, [h for h in hosts if h.key in changed])
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error))
        silent = sorted(key for key, answer in found.items() if not answer.ok)
        reason = f"No answer from {', '.join(silent)}." if silent else f"All {len(hosts)} hosts answer."
        return dg.SensorResult(skip_reason=reason, asset_events=news, cursor=dump_seen(memory))

    return hosts_answer


def _remember(world: World, hosts: Iterable[DesiredState]) -> None:
    """Look at a host that went or came back as the plan does, so that the status screen knows it at once."""
    known = world.store.load()
    for state in hosts:
        if state.key in known:
            observe_one(world, state, known[state.key])


def after_look(
    memory: Mapping[str, Seen], found: Mapping[str, Answering], now: datetime
) -> tuple[list[dg.AssetCheckEvaluation], dict[str, Seen], set[str]]:
    """What to say after a look, what to remember, and which hosts went or came back.

    A host counts as gone once it missed TWICE looks in a row, and as there again with its first answer.
    """
    news, after, changed = [], {}, set()
    for key, answer in found.items():
        before = memory.get(key, Seen())
        missed = 0 if answer.ok else before.missed + 1
        verdict = True if answer.ok else (False if missed >= TWICE else before.said)
        again = now.timestamp() - before.at >= SAID_AGAIN.total_seconds()
        if verdict is None or (verdict == before.said and not again):
            after[key] = Seen(missed, before.said, before.at)
            continue
        if verdict != before.said and before.said is not None:
            changed.add(key)
        if verdict == answer.ok:
            news.append(_verdict(key, answer, now))
        after[key] = Seen(missed, verdict, now.timestamp())
    return news, after, changed


def _verdict(key: str, answer: Answering, now: datetime) -> dg.AssetCheckEvaluation:
    metadata: dict[str, dg.MetadataValue] = {"looked at": dg.MetadataValue.timestamp(now.timestamp())}
    if answer.ok:
        metadata["answered within ms"] = dg.MetadataValue.float(round(answer.seconds * 1000, 1))
    elif answer.remedy:
        metadata["what to do"] = dg.MetadataValue.text(answer.remedy)
    return dg.AssetCheckEvaluation(
        asset_key=asset_key(key),
        check_name=ANSWERS,
        passed=answer.ok,
        description="It answers." if answer.ok else answer.said,
        metadata=metadata,
    )


def dump_seen(memory: Mapping[str, Seen]) -> str:
    """The memory as text."""
    return orjson.dumps({key: [s.missed, s.said, s.at] for key, s in memory.items()}).decode()


def load_seen(text: str | None) -> dict[str, Seen]:
    """The memory of a text that dump_seen made; empty for anything else."""
    try:
        return {key: Seen(int(one[0]), one[1], float(one[2])) for key, one in orjson.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError, IndexError):
        return {}
