"""Causes: what a person would look at first when something of a site is red, looked at in one go.

Belongs here: looks at this machine and at the site's servers, each with its verdict, and what known failures mean. Not
here: what is red (health.py), or the screen (cli/doctor_command.py).
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from homelab_platform.apply import locks
from homelab_platform.errors import HomelabError
from homelab_platform.plan.health import Finding
from homelab_platform.tools import postgres

if TYPE_CHECKING:
    from pathlib import Path

    from homelab_platform.servers.site.site import ServerStatus, Site
    from homelab_platform.tools.endpoints import Lakehouse, PostgresEndpoint

State = Literal["well", "note", "ill"]

ROOM_LEAST, ROOM_SHARE = 1 << 30, 0.05
MEMORY_LEAST = 256 << 20
BUSY = 3.0
"""Processes that want a CPU for each CPU: from here on people notice."""
CONNECTIONS_SHARE = 0.8
LOCK_LONG = timedelta(minutes=30)
LAST_WORDS = 4
LOCATIONS = (
    "{ workspaceOrError { __typename ... on Workspace { locationEntries { name locationOrLoadError { __typename "
    "... on PythonError { message } } } } } }"
)
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"UserCodeUnreachable|DEADLINE_EXCEEDED",
        "the code server did not answer in time: it was starting, or the machine was too busy",
        "Nothing is lost: the run is tried again. If it lasts: `homelab logs code`.",
    ),
    (r"No space left|DiskFull|disk full", "a disk is full", "Make room; `homelab doctor` says which."),
    (
        r"remaining connection slots|too many clients",
        "PostgreSQL has no connection left",
        "`homelab doctor` says who holds them.",
    ),
    (r"Connection refused|could not connect|Unreachable", "a server did not answer", "`homelab status` says which."),
    (
        r"process of this run is gone|exit code -9|exited with .*SIGKILL|MemoryError|Cannot allocate memory",
        "the run's process was killed, by hand or for want of memory",
        "`dmesg | grep -i oom` says whether the kernel did it.",
    ),
    (r"another commit held the lock", "another ingest held the table for minutes", "It is safe to run again."),
)
"""Words in the reason of a failure, what they mean and what to do."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One look: what was looked at, how it is, what was seen, and what to do if it is ill."""

    about: str
    state: State
    seen: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-ready data."""
        return {"about": self.about, "state": self.state, "seen": self.seen, "remedy": self.remedy}


def examine_machine(folder: Path) -> Iterator[Diagnosis]:
    """The machine below a site: room on its disk, memory, load."""
    import psutil

    usage = shutil.disk_usage(folder if folder.exists() else folder.parent)
    tight = usage.free < max(ROOM_LEAST, ROOM_SHARE * usage.total)
    free = f"{_size(usage.free)} of {_size(usage.total)} free at {folder}"
    yield Diagnosis(
        "disk", "ill" if tight else "well", free, "Make room: servers stop when it is full." if tight else ""
    )
    available = psutil.virtual_memory().available
    short = available < MEMORY_LEAST
    remedy = "Stop what else runs here, or choose a smaller profile: the kernel ends processes next." if short else ""
    yield Diagnosis("memory", "ill" if short else "well", f"{_size(available)} available", remedy)
    load, cpus = psutil.getloadavg()[0], psutil.cpu_count() or 1
    busy = load / cpus > BUSY
    words = f"load {load:.1f} on {cpus} CPUs"
    yield Diagnosis(
        "load", "note" if busy else "well", words, "Runs are late, not lost, until it goes down." if busy else ""
    )


def examine_servers(servers: Iterable[ServerStatus], logs: Path) -> Iterator[Diagnosis]:
    """The servers that do not run, with their last words."""
    for server in servers:
        if server.state == "running":
            yield Diagnosis(f"server {server.name}", "well", "runs")
            continue
        words = last_words(logs / f"{server.name}.log")
        seen = f"{server.state}: {server.detail or 'it does not answer'}" + (f"; last words: {words}" if words else "")
        yield Diagnosis(
            f"server {server.name}", "ill", seen, f"See `homelab logs {server.name}`; `homelab up` starts it."
        )


def last_words(log: Path) -> str:
    """The last lines of a log, in one line; empty if there are none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return " | ".join(lines[-LAST_WORDS:])[:600]


def examine_site(site: Site) -> Iterator[Diagnosis]:
    """What the servers of a running site answer."""
    yield _asked("PostgreSQL", lambda: _connections(site.lakehouse.postgres))
    yield _asked("object store", lambda: _buckets(site.lakehouse))
    yield _asked("state of the lake", lambda: _state(site.lakehouse))
    yield _asked("page", lambda: _page(site.dagster_url))
    yield _asked("lock of the lab", lambda: _lock(site.lakehouse.postgres))


def _asked(about: str, ask: Callable[[], Diagnosis]) -> Diagnosis:
    try:
        return ask()
    except HomelabError as error:
        problem = error.problems[0]
        return Diagnosis(about, "ill", f"{problem.where}: {problem.what}", problem.remedy)


def _connections(endpoint: PostgresEndpoint) -> Diagnosis:
    query = (
        "SELECT current_setting('max_connections')::int, coalesce(nullif(application_name, ''), usename, 'unknown'),"
        " count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2 ORDER BY 3 DESC"
    )
    with closing(postgres.connect(endpoint, application="homelab doctor")) as connection:
        rows = connection.execute(query).fetchall()
    most, used = int(rows[0][0]), sum(int(row[2]) for row in rows)
    holders = ", ".join(f"{row[2]} {row[1]}" for row in rows[:4])
    if used < CONNECTIONS_SHARE * most:
        return Diagnosis("PostgreSQL", "well", f"{used} of {most} connections in use")
    remedy = "End what holds them: each program needs a pool of a few, not one for each query."
    return Diagnosis("PostgreSQL", "ill", f"{used} of {most} connections in use: {holders}", remedy)


def _buckets(lakehouse: Lakehouse) -> Diagnosis:
    from homelab_platform.tools.objects.client import ObjectStore

    with ObjectStore(lakehouse.objects, retries=1, timeout=10) as store:
        found = store.buckets()
    missing = sorted({lakehouse.raw_bucket, lakehouse.lake_bucket} - set(found))
    if missing:
        return Diagnosis(
            "object store", "ill", f"answers, without the bucket {', '.join(missing)}", "`homelab up` makes it."
        )
    return Diagnosis("object store", "well", f"answers, {len(found)} buckets")


def _state(lakehouse: Lakehouse) -> Diagnosis:
    """Whether PostgreSQL and the bucket agree about the newest state of each table."""
    from homelab_platform.readings.upkeep import rollback

    moved = rollback.examine(lakehouse)
    if not moved:
        return Diagnosis("state of the lake", "well", "PostgreSQL and the bucket agree")
    seen = f"{moved[0].older} went back in time: {moved[0].table}: {moved[0].fault}"
    return Diagnosis("state of the lake", "ill", seen, "Run `homelab repair`.")


def _page(url: str) -> Diagnosis:
    """Whether the page answers and the code location is loaded."""
    body = json.dumps({"query": LOCATIONS}).encode()
    request = urllib.request.Request(  # noqa: S310  the address is our own, on the loopback interface
        f"{url}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            said = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        return Diagnosis("page", "ill", f"{url} does not answer: {error}", "See `homelab logs ui`.")
    entries = ((said.get("data") or {}).get("workspaceOrError") or {}).get("locationEntries") or []
    broken = [
        str(entry["locationOrLoadError"].get("message") or "").strip().splitlines()[-1:]
        for entry in entries
        if (entry.get("locationOrLoadError") or {}).get("__typename") == "PythonError"
    ]
    if broken or not entries:
        why = (broken[0] or ["no reason is given"])[0] if broken else "it has no code location"
        return Diagnosis(
            "page", "ill", f"answers, but the lab's graph is not loaded: {why}", "See `homelab logs code`."
        )
    return Diagnosis("page", "well", f"{url} answers, the lab's graph is loaded")


def _lock(endpoint: PostgresEndpoint) -> Diagnosis:
    holder = locks.holder(endpoint)
    if holder is None:
        return Diagnosis("lock of the lab", "well", "free")
    long = datetime.now(UTC) - holder.since > LOCK_LONG
    remedy = "End that process if it hangs: its lock ends with it. Until then the graph changes nothing by itself."
    return Diagnosis("lock of the lab", "ill" if long else "note", f"held by {holder}", remedy if long else "")


def causes(findings: Iterable[Finding]) -> Iterator[Diagnosis]:
    """What known words in the findings mean."""
    for finding in findings:
        for words, cause, remedy in KNOWN:
            if re.search(words, finding.what):
                yield Diagnosis(finding.where, "ill", f"{finding.what} — {cause}", remedy)
                break
        else:
            if finding.level == "error":
                yield Diagnosis(finding.where, "ill", finding.what, finding.remedy)


def _size(value: float) -> str:
    return f"{value / 2**30:.1f} GiB"
