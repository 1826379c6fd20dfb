"""`homelab status`: the whole lab in a few lines, and what needs a person.

Belongs here: gathering what the screen shows and its words. Not here: how anything is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from homelab_platform.cli import output
from homelab_platform.errors import HomelabError
from homelab_platform.plan.health import Finding, Health

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.operations.coverage import Row
    from homelab_platform.plan.plan import Plan
    from homelab_platform.servers.site.site import Site, SiteStatus

T = TypeVar("T")
STREAMS = (
    "SELECT split_part(source, '/', 1) AS stream, count(*) FILTER (date = (now() AT TIME ZONE 'UTC')::date) AS today, "
    "max(ts) AS newest FROM hive.default.sensor_data "
    "WHERE date >= (now() AT TIME ZONE 'UTC')::date - INTERVAL '7' DAY GROUP BY 1 ORDER BY 1"
)
REJECTED = (
    "SELECT split_part(source, '/', 1) AS stream, count(*) AS rejected FROM hive.default.sensor_data_rejected "
    "WHERE ingested_at >= date_trunc('day', now()) GROUP BY 1"
)


@dataclass(frozen=True)
class StreamStatus:
    """Readings of one stream: how many came today (UTC), the newest one, how many lines were rejected today."""

    name: str
    today: int = 0
    newest: datetime | None = None
    rejected: int = 0

    def line(self, now: datetime) -> str:
        """One line for people."""
        if self.newest is None:
            return f"{self.name}: no readings in the last 7 days"
        age = output.duration(max(0.0, (now - self.newest).total_seconds()))
        tail = f", {self.rejected:,} rejected (see `homelab readings rejected`)" if self.rejected else ""
        return f"{self.name} {self.today:,} readings today, newest {age} ago{tail}"


@dataclass(frozen=True)
class StatusReport:
    """Everything that the screen shows; see Health.exit_code for what the command ends with."""

    lab: ResolvedLab
    site: SiteStatus
    plan: Plan | None = None
    streams: tuple[StreamStatus, ...] = ()
    health: Health = field(default_factory=Health)
    backups: tuple[Row, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 nothing needs a person, 1 something is broken or the site is down, 2 something waits."""
        return self.health.exit_code if self.site.running else 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "lab": self.lab.name,
            "site": self.site.to_dict(),
            "plan": {"counts": self.plan.counts(), "external": len(self.plan.external or {})} if self.plan else None,
            "streams": [
                {"name": s.name, "today": s.today, "newest": s.newest, "rejected": s.rejected} for s in self.streams
            ],
            "backups": [row.to_dict() for row in self.backups],
            "health": self.health.to_dict(),
            "exit_code": self.exit_code,
        }

    def lines(self) -> list[str]:
        """The screen."""
        now = datetime.now(UTC)
        rows = [("site", self._site_line())]
        if self.site.supervised:
            rows += _labelled("servers", self._server_lines())
        if self.plan:
            rows += [("in sync", self._sync_line(self.plan)), ("elsewhere", self._elsewhere_line(self.plan))]
        if self.site.running:
            rows += [("runs", self._runs_line()), ("checks", self._checks_line())]
        rows += _labelled("hosts", self._host_lines())
        rows += _labelled("streams", [stream.line(now) for stream in self.streams])
        rows.append(("backups", self._backup_line()))
        for label, level in (("broken", "error"), ("waits", "waits"), ("note", "note")):
            rows += _labelled(label, _finding_lines(f for f in self.health.findings if f.level == level))
        if self.site.running and not self.health.of("error", "waits"):
            rows.append(("", "Nothing needs a person."))
        return [f"  {label:<10} {text}".rstrip() for label, text in rows]

    def _site_line(self) -> str:
        servers = self.site.servers
        up = sum(server.state == "running" for server in servers)
        if not servers or not up:
            return f"{self.lab.name} is down; start it with `homelab up`"
        oldest = max(server.uptime for server in servers)
        memory = output.size(self.site.memory)
        return f"{up} of {len(servers)} servers up for {output.duration(oldest)}, {memory} in memory"

    def _server_lines(self) -> list[str]:
        """Each server: its name, how it is, its memory, where it listens and what to open."""
        return [
            f"{server.name:<9} {server.state:<9} {output.size(server.memory):>9}  "
            f"{f'127.0.0.1:{server.port}' if server.port else '':<15}  {server.url or ''}".rstrip()
            for server in self.site.servers
        ]

    @staticmethod
    def _sync_line(plan: Plan) -> str:
        total, pending, unseen = len(plan.steps), len(plan.pending), len(plan.skipped)
        silent = f"; no look into {', '.join(step.key for step in plan.skipped)}" if unseen else ""
        return f"{total - pending - unseen} of {total}{silent}" + ("; see `homelab plan`" if pending or unseen else "")

    @staticmethod
    def _elsewhere_line(plan: Plan) -> str:
        external = Counter(plan.external.values() if plan.external else ())
        if not external:
            return "everything in the lab is within reach of this site"
        lacking = "; ".join(f"{number} need {what}" for what, number in external.most_common())
        return f"{output.count(external.total(), 'asset')} out of reach of this site, not applied from here: {lacking}"

    def _runs_line(self) -> str:
        return f"{self.health.running} under way, {self.health.queued} in the queue"

    def _checks_line(self) -> str:
        one = self.health
        unjudged = f", {one.unjudged} without a verdict yet" if one.unjudged else ""
        return f"{one.passed} passed, {one.warned} warn, {one.failed} failed{unjudged}"

    def _host_lines(self) -> list[str]:
        """The hosts within reach, in one line."""
        hosts = [step for step in (self.plan.steps if self.plan else ()) if step.key.startswith("host/")]
        if not hosts:
            return []
        silent = {step.key for step in self.plan.skipped} if self.plan else set()
        answering = sum(step.key not in silent for step in hosts)
        return [f"{answering} of {len(hosts)} answer"]

    def _backup_line(self) -> str:
        elsewhere = len(self.lab.backups) - len({row.item for row in self.backups})
        away = f"; {elsewhere} more only a site with hosts and a cluster reaches" if elsewhere else ""
        if not self.backups:
            return f"{len(self.lab.backups)} planned, none looked at{away}" if self.lab.backups else "none planned"
        wrong = [row for row in self.backups if row.state != "proven"]
        said = "".join(f"; {row.item} at {row.target}: {row.state}, {row.why}" for row in wrong[:3])
        return f"{len(self.backups) - len(wrong)} of {len(self.backups)} saved and proven{said}{away}"


def _labelled(label: str, lines: list[str]) -> list[tuple[str, str]]:
    return [(label if number == 0 else "", line) for number, line in enumerate(lines)]


def _finding_lines(findings: Iterable[Finding]) -> list[str]:
    lines: list[str] = []
    for one in findings:
        lines.append(f"{one.where}  {one.what}")
        if one.remedy:
            lines.append(f"  {one.remedy}")
    return lines


def gather(resolved: ResolvedLab) -> StatusReport:
    """Look at the site, the plan, the graph and the streams. What cannot be read becomes a finding, not an error, and
    hides nothing else.
    """
    from homelab_platform.paths import site_path
    from homelab_platform.servers.site.site import running, status

    state = status(site_path(resolved.name))
    servers = tuple(
        Finding("error", f"server {server.name}", f"{server.state}: {server.detail or 'it does not answer'}",
                f"See `homelab logs {server.name}`.")
        for server in state.servers
        if state.supervised and server.state != "running"
    )  # fmt: skip
    site = running(resolved.name)
    if site is None:
        return StatusReport(resolved, state, health=Health(findings=servers))
    trouble: list[Finding] = list(servers)
    plan = _read(trouble, lambda: _plan(resolved))
    streams = _read(trouble, lambda: _streams(site, resolved)) or ()
    up_for = timedelta(seconds=min((s.uptime for s in state.servers if s.name in ("code", "daemon")), default=0.0))
    health = _read(trouble, lambda: _health(site, resolved, up_for)) or Health()
    rows = _read(trouble, lambda: _backups(site, resolved)) or ()
    trouble += [_unproven(row) for row in rows if row.state in ("failed", "overdue")]
    findings = _distinct((*trouble, *health.findings))
    return StatusReport(resolved, state, plan, streams, replace(health, findings=findings), rows)


def _distinct(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _read(trouble: list[Finding], read: Callable[[], T]) -> T | None:
    """What `read` gives; its failure is added to `trouble`."""
    try:
        return read()
    except HomelabError as error:
        trouble += [Finding("error", str(p.where), p.what, p.remedy) for p in error.problems]
        return None


def _unproven(row: Row) -> Finding:
    remedy = "`homelab backup run` saves it again, `homelab drill` proves it."
    return Finding("error", f"backup of {row.item} at {row.target}", f"{row.state}: {row.why}", remedy)


def _backups(site: Site, resolved: ResolvedLab) -> tuple[Row, ...]:
    """What is saved and proven; nothing before the first apply has made a key."""
    from homelab_platform import paths
    from homelab_platform.operations.coverage import coverage
    from homelab_platform.sites.local import world_of

    if not paths.recovery_key_path(resolved.name).exists():
        return ()
    return tuple(coverage(world_of(resolved, site).protection()))


def _health(site: Site, resolved: ResolvedLab, up_for: timedelta) -> Health:
    from homelab_platform.plan.gather import desired_states
    from homelab_platform.sites.local import world_of

    return world_of(resolved, site).health(desired_states(resolved), up_for)


def _plan(resolved: ResolvedLab) -> Plan:
    from homelab_platform.cli.plan_commands import current_plan

    return current_plan(resolved, refresh=True, only=None)


def _streams(site: Site, resolved: ResolvedLab) -> tuple[StreamStatus, ...]:
    from homelab_platform.readings.query.run import run_query

    with run_query(site.lakehouse, REJECTED) as result:
        rejected: dict[str, int] = dict(result.rows)
    with run_query(site.lakehouse, STREAMS) as result:
        found = {name: StreamStatus(name, today, newest, rejected.get(name, 0)) for name, today, newest in result.rows}
    names = sorted({*found, *resolved.streams, *rejected})
    return tuple(found.get(name, StreamStatus(name, rejected=rejected.get(name, 0))) for name in names)
