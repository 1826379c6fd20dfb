"""The sensor that tells people of trouble, and the check that says whether its messages get through.

Belongs here: looking, remembering in the cursor what each channel knows. Not here: what is told when
(operations/alerts.py), or how (operations/messengers.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import psutil
from pydantic import BaseModel, ValidationError

from homelab_platform.errors import HomelabError
from homelab_platform.graph.checks import lab_key
from homelab_platform.graph.resources import SiteResource
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.operations import alerts
from homelab_platform.operations.messengers import Channel, alerts_of, channels, still_here, try_out
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.health import Finding

CHECK = "people_are_told"
LOOK_EVERY = 60
"""Seconds between looks."""
REPEAT_EVERY = timedelta(minutes=30)
"""A verdict that stays as it is is given again this often, so that its age shows that somebody looks."""
UNTOLD = f": {CHECK}"
"""How the finding ends that our own check makes: telling of it by the same channels would never end."""


class Memory(BaseModel):
    """What the cursor keeps: what each channel knows, and the last verdict on the channels with its time."""

    known: dict[str, dict[str, alerts.Trouble]] = {}
    verdict: str | None = None
    at: datetime = datetime.fromtimestamp(0, UTC)


@dataclass
class Post:
    """One look's messages: to whom, and what did not get through."""

    lab: str
    channels: list[Channel]
    here: Callable[[], None]
    untold: list[str] = field(default_factory=list)

    def deliver(self, memory: Memory, findings: Iterable[Finding], now: datetime, *, quiet: bool) -> Memory:
        """Tell every channel what it is due; one that fails is tried again at the next look, and stops no other."""
        found = [finding for finding in findings if not finding.where.endswith(UNTOLD)]
        known: dict[str, dict[str, alerts.Trouble]] = {}
        for channel in self.channels:
            known[channel.name] = alerts.seen(memory.known.get(channel.name, {}), found, now)
            notice = alerts.due(self.lab, known[channel.name], now)
            if notice is None or (quiet and channel.wakes):
                continue
            try:
                channel.send(notice)
            except HomelabError as error:
                self.untold.append(f"{channel.name}: {error.problems[0].what}")
            else:
                known[channel.name] = alerts.delivered(known[channel.name], notice, now)
        try:
            self.here()
        except HomelabError as error:
            self.untold.append(f"dead_mans_switch: {error.problems[0].what}")
        return memory.model_copy(update={"known": known})


def alert_checks(lab: ResolvedLab, folder: Path | None) -> list[dg.AssetChecksDefinition]:
    """The check that messages get through; none for a lab that tells nobody. Run by hand it sends one of trial."""
    said = alerts_of(lab)
    if said is None or folder is None:
        return []

    @dg.asset_check(
        asset=lab_key(lab.name),
        name=CHECK,
        description="Messages get through, as the sensor `alerts` sees them go; run by hand, it sends one of trial.",
        blocking=False,
    )
    def people_are_told() -> dg.AssetCheckResult:
        untold = [f"{name}: {fault}" for name, fault in try_out(lab, said, folder).items() if fault]
        return dg.AssetCheckResult(passed=not untold, description="; ".join(untold) or "Every channel took a trial.")

    return [people_are_told]


def alert_sensors(
    lab: ResolvedLab, desired: Mapping[str, DesiredState], folder: Path | None
) -> list[dg.SensorDefinition]:
    """The sensor `alerts`; none for a lab that tells nobody. References start from `folder`."""
    said = alerts_of(lab)
    if said is None or folder is None:
        return []

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=LOOK_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        asset_selection=dg.AssetSelection.assets(lab_key(lab.name)),
        description="Tells people of what is broken for two minutes, once a day, and of its end.",
    )
    def look(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        memory = remembered(context.cursor)
        try:
            health = site.world.health(desired, now - datetime.fromtimestamp(psutil.Process().create_time(), UTC))
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        post = Post(lab.name, list(channels(lab, said, folder)), lambda: still_here(said, folder))
        quiet = alerts.is_quiet(said.quiet, now.astimezone(ZoneInfo(lab.timezone)))
        memory = post.deliver(memory, health.findings, now, quiet=quiet)
        memory, events = judged(lab.name, memory, post.untold, now)
        return dg.SensorResult(
            skip_reason="; ".join(post.untold) or "Nobody waits for a message.",
            asset_events=events,
            cursor=memory.model_dump_json(),
        )

    return [look]


def remembered(cursor: str | None) -> Memory:
    """The memory in a cursor; an empty one where there is none that can be read."""
    try:
        return Memory.model_validate_json(cursor or "{}")
    except ValidationError:
        return Memory()


def judged(lab: str, memory: Memory, untold: list[str], now: datetime) -> tuple[Memory, list[dg.AssetCheckEvaluation]]:
    """The verdict on the channels, if it is another than the last one or that one is old."""
    verdict = "; ".join(untold)
    if memory.verdict == verdict and now - memory.at < REPEAT_EVERY:
        return memory, []
    event = dg.AssetCheckEvaluation(
        asset_key=lab_key(lab),
        check_name=CHECK,
        passed=not untold,
        description=verdict or "Every channel took what it was given.",
    )
    return memory.model_copy(update={"verdict": verdict, "at": now}), [event]
