"""The page of `lab/<name>`: the whole lab at a glance, kept by a sensor.

Belongs here: what that page shows and when it is said again. Not here: what needs a person (operations/health.py).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import dagster as dg
import orjson
import psutil

from homelab_platform.errors import HomelabError
from homelab_platform.graph.checks import lab_key
from homelab_platform.graph.cursors import digest_of
from homelab_platform.graph.metadata import table_markdown
from homelab_platform.graph.own import Own, own_evaluation
from homelab_platform.graph.resources import SiteResource
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.health import Finding, Health

LOOK_EVERY = 60
"""Seconds between looks at the lab's health."""
REPEAT_EVERY = timedelta(minutes=30)
"""A page that stays as it is is reported again this often, so that its age shows that somebody looks."""
LEVELS = {"error": "broken", "waits": "waits", "note": "note"}


def home_sensor(lab: str, desired: Mapping[str, DesiredState], own: Own) -> dg.SensorDefinition:
    """The sensor that keeps the page of the lab, and the check of its own definitions."""

    @dg.sensor(
        name="lab_health",
        minimum_interval_seconds=LOOK_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        asset_selection=dg.AssetSelection.assets(lab_key(lab)),
        description="Keeps the page of the lab: what is in sync, what is red, what waits, and what to do.",
    )
    def lab_health(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        try:
            health = site.world.health(desired, now - datetime.fromtimestamp(psutil.Process().create_time(), UTC))
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error))
        layers = tuple(dict.fromkeys(state.layer for state in desired.values()))
        events, cursor = after_look(lab, health, context.cursor, now, own, layers=layers)
        return dg.SensorResult(skip_reason=in_a_line(health), asset_events=events, cursor=cursor)

    return lab_health


def after_look(
    lab: str, health: Health, cursor: str | None, now: datetime, own: Own | None = None, *, layers: Sequence[str] = ()
) -> tuple[list[dg.AssetMaterialization | dg.AssetCheckEvaluation], str]:
    """What to report after a look, and the cursor: nothing while nothing changed, for REPEAT_EVERY at most."""
    said, at = _load(cursor)
    files = own or Own()
    ill = (str(problem) for problem in files.problems)
    digest = digest_of([in_a_line(health), *(f"{f.level} {f.where}" for f in health.findings), *files.files, *ill])
    if said == digest and now.timestamp() - at < REPEAT_EVERY.total_seconds():
        return [], cursor or ""
    event = dg.AssetMaterialization(lab_key(lab), description=in_a_line(health), metadata=home_metadata(health, layers))
    verdicts = [own_evaluation(lab, files)] if files.files else []
    return [event, *verdicts], orjson.dumps([digest, now.timestamp()]).decode()


def _load(cursor: str | None) -> tuple[str, float]:
    try:
        digest, at = orjson.loads(cursor or "")
        return str(digest), float(at)
    except (ValueError, TypeError):
        return "", 0.0


def in_a_line(health: Health) -> str:
    """The lab in one line."""
    broken, waits = len(health.of("error")), len(health.of("waits"))
    state = "Nothing needs a person" if not broken and not waits else f"{broken} broken, {waits} waiting"
    return f"{state}. {health.in_sync} of {health.total} assets within reach in sync."


def home_metadata(health: Health, layers: Sequence[str] = ()) -> dict[str, dg.MetadataValue[Any]]:
    """What the page shows: numbers that are drawn over time, the findings, and where to go on, `layers` among it."""
    urgent = sorted(health.findings, key=lambda one: list(LEVELS).index(one.level))
    return {
        "what needs a person": dg.MetadataValue.md(_findings(urgent)),
        "assets in sync": dg.MetadataValue.int(health.in_sync),
        "assets within reach": dg.MetadataValue.int(health.total),
        "assets out of reach": dg.MetadataValue.int(health.external),
        "findings: broken": dg.MetadataValue.int(len(health.of("error"))),
        "findings: waiting": dg.MetadataValue.int(len(health.of("waits"))),
        "checks": dg.MetadataValue.md(
            f"{health.passed} passed, {health.warned} warn, {health.failed} failed, {health.unjudged} without a verdict"
        ),
        "runs": dg.MetadataValue.md(f"{health.running} under way, {health.queued} queued · [all runs](/runs)"),
        "go on": dg.MetadataValue.md(
            "[What runs by itself](/automation) · [jobs](/jobs) · in a terminal: `homelab status`, `homelab plan`, "
            "`homelab doctor`"
        ),
        "lineage": dg.MetadataValue.md(_lineage(layers)),
    }


def _lineage(layers: Sequence[str]) -> str:
    """Links into the lineage: all of it, the way of the readings, and each layer alone."""
    parts = {f"layer {layer}": f'group:"{layer}"' for layer in layers}
    if "mart" in layers:
        parts = {"from sensors to marts": '+key:"mart/*"'} | parts
    links = (f"[{words}](/asset-groups~{quote(selection, safe='')}/)" for words, selection in parts.items())
    return " · ".join(("[all](/asset-groups)", *links))


def _findings(findings: list[Finding]) -> str:
    if not findings:
        return "Nothing."
    rows = [{"": LEVELS[f.level], "where": f.where, "what": f.what, "what to do": f.remedy} for f in findings]
    return table_markdown(rows)
