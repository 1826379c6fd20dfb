"""Whether the servers behind the readings answer, and how the flows through NiFi are doing.

Belongs here: a small real question to each server, and the verdicts. Not here: starting or mending servers (servers/).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.tools.endpoints import Engines, Lakehouse, NifiEndpoint

if TYPE_CHECKING:
    from homelab_platform.tools.nifi.flows import FlowHealth

REMEDY = "what to do"
SCRATCH = "_scratch/"
SLOW = 5.0  # seconds after which an answer is a warning
TRINO_PATIENCE = 60.0
OLD = 300.0  # seconds that a FlowFile may wait in a queue
FULL = 80  # percent of a queue's limit
_LOUD = ("ERROR", "WARNING")


@dataclass(frozen=True)
class Answer:
    """What a server said: seconds, and the problem if it did not."""

    server: str
    asked: str
    seconds: float
    problem: str = ""
    remedy: str = ""


def ask(server: str, asked: str, question: Callable[[], object]) -> Answer:
    """Ask, and time the answer; a HomelabError becomes the problem."""
    began = time.monotonic()
    try:
        question()
    except HomelabError as error:
        first = error.problems[0]
        return Answer(server, asked, time.monotonic() - began, first.what, first.remedy)
    return Answer(server, asked, time.monotonic() - began)


def check_servers(lakehouse: Lakehouse, engines: Engines) -> CheckResult:
    """Ask PostgreSQL, the object store (put, get, delete), and Trino where the site has it."""
    found = [
        ask("PostgreSQL", "SELECT 1", lambda: _postgres(lakehouse)),
        ask("object store", "put, get and delete an object", lambda: _round_trip(lakehouse)),
    ]
    trino = engines.trino
    if trino is not None:
        from homelab_platform.tools.trino.client import execute

        sql = "SELECT count(*) FROM hive.default.sensor_data WHERE date = current_date"
        found.append(ask("Trino", sql, lambda: execute(trino, sql, timeout=TRINO_PATIENCE)))
    return answers(found)


def _postgres(lakehouse: Lakehouse) -> None:
    from homelab_platform.tools import postgres

    with postgres.connect(lakehouse.postgres, autocommit=True, application="homelab checks") as connection:
        connection.execute("SELECT 1")


def _round_trip(lakehouse: Lakehouse) -> None:
    from homelab_platform.tools.objects.client import ObjectStore

    key, body = f"{SCRATCH}{uuid.uuid4().hex}", uuid.uuid4().bytes
    with ObjectStore(lakehouse.objects, retries=1, timeout=10) as store:
        store.put(lakehouse.lake_bucket, key, body)
        try:
            if store.get(lakehouse.lake_bucket, key) != body:
                what = "gave back other bytes than were put there"
                raise HomelabError.of(f"{lakehouse.objects.url}", what, "Check its disk and its memory at once.")
        finally:
            store.delete(lakehouse.lake_bucket, [key])


def answers(found: Iterable[Answer]) -> CheckResult:
    """Whether every server answered, and within SLOW seconds."""
    known = list(found)
    rows = [
        {"server": one.server, "asked": one.asked, "seconds": round(one.seconds, 3), "problem": one.problem or "–"}
        for one in known
    ]
    facts: dict[str, Any] = {f"{one.server}_ms": round(one.seconds * 1000, 1) for one in known} | {"servers": rows}
    failed = [one for one in known if one.problem]
    slow = [one for one in known if one.seconds > SLOW]
    if failed:
        text = "; ".join(f"{one.server} does not answer: {one.problem}" for one in failed)
        remedy = failed[0].remedy or "`homelab status` shows which servers run."
        return CheckResult("answers", False, "error", f"{text}.", {**facts, REMEDY: remedy})
    if slow:
        text = "; ".join(f"{one.server} took {one.seconds:.0f} s" for one in slow)
        remedy = "See what else the machine does (`homelab status`), and how full its disk and memory are."
        return CheckResult("answers", False, "warn", f"{text}.", {**facts, REMEDY: remedy})
    text = ", ".join(f"{one.server} in {one.seconds * 1000:.0f} ms" for one in known)
    return CheckResult("answers", True, "error", f"All answer: {text}.", facts)


def check_flow(endpoint: NifiEndpoint, stream: str) -> CheckResult:
    """How a stream's flow in NiFi is doing. Raises nothing: a NiFi that does not answer is a failed check."""
    from homelab_platform.tools.nifi.flows import flow_health

    try:
        return flow(flow_health(endpoint, stream))
    except HomelabError as error:
        first = error.problems[0]
        return CheckResult("flows_on", False, "error", f"NiFi: {first.what}.", {REMEDY: first.remedy})


def flow(health: FlowHealth) -> CheckResult:
    """The verdict on a flow: it is there and runs, nothing waits long, and nothing complains."""
    if not health.exists:
        remedy = f"`homelab apply` puts flow/{health.stream} back."
        return CheckResult("flows_on", False, "error", "NiFi has no such flow.", {REMEDY: remedy})
    old = [q for q in health.queues if not q.answers and q.oldest > OLD]
    full = [q for q in health.queues if q.full >= FULL]
    loud = [b for b in health.bulletins if b.level in _LOUD]
    facts: dict[str, object] = {
        "waiting": health.waiting,
        "oldest_seconds": round(health.oldest, 1),
        "received_in_5_minutes": health.received,
        "queues": [
            {"queue": q.name, "waiting": q.waiting, "oldest s": round(q.oldest), "full %": q.full}
            for q in health.queues
        ],
        "bulletins": [{"at": b.at, "level": b.level, "of": b.source, "says": b.message[:200]} for b in loud[:10]],
    }
    said = []
    if health.stopped:
        said.append(f"{', '.join(health.stopped)} does not run")
    if old:
        said.append(f"{old[0].waiting:,} FlowFiles wait in {old[0].name}, the oldest for {old[0].oldest:.0f} s")
    if full:
        said.append(f"{full[0].name} is {full[0].full} % full")
    if loud:
        said.append(f"{loud[0].source} says: {loud[0].message[:160]}")
    if not said:
        text = f"Everything runs, {health.waiting:,} FlowFiles wait, no complaints."
        return CheckResult("flows_on", True, "error", text, facts)
    severe = bool(health.stopped or full or any(b.level == "ERROR" for b in loud))
    facts[REMEDY] = (
        "See whether the bucket answers (check `answers`); senders that got no 2xx send again. NiFi's page says more."
    )
    return CheckResult("flows_on", False, "error" if severe else "warn", f"{'; '.join(said)}.", facts)
