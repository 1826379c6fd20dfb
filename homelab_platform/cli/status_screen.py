"""`homelab status`: the whole lab in a few lines, and what needs attention.

Belongs here: gathering what the screen shows and its words. Not here: how anything is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from homelab_platform.cli import output
from homelab_platform.errors import HomelabError

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.operations.coverage import Row
    from homelab_platform.plan.plan import Plan
    from homelab_platform.servers.site.site import Site, SiteStatus

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
    """Everything that the screen shows. `exit_code`: 0 as it should be, 1 something is broken, 2 changes pending."""

    lab: ResolvedLab
    site: SiteStatus
    plan: Plan | None = None
    streams: tuple[StreamStatus, ...] = ()
    attention: tuple[str, ...] = field(default=())
    backups: tuple[Row, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of `homelab status`."""
        if self.attention or not self.site.running:
            return 1
        return 2 if self.plan and self.plan.pending else 0

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
            "attention": self.attention,
        }

    def lines(self) -> list[str]:
        """The screen."""
        now = datetime.now(UTC)
        rows = [("site", self._site_line())]
        if self.site.supervised:
            rows.extend(("servers" if i == 0 else "", line) for i, line in enumerate(self._server_lines()))
        if self.plan:
            rows.append(("in sync", self._sync_line(self.plan)))
            rows.append(("elsewhere", self._elsewhere_line(self.plan)))
        rows.extend(("streams" if i == 0 else "", stream.line(now)) for i, stream in enumerate(self.streams))
        rows.append(("backups", self._backup_line()))
        rows.extend(("attention" if i == 0 else "", text) for i, text in enumerate(self.attention))
        return [f"  {label:<10} {text}" for label, text in rows]

    def _site_line(self) -> str:
        servers = self.site.servers
        up = sum(server.state == "running" for server in servers)
        if not servers or not up:
            return f"{self.lab.name} is down; start it with `homelab up`"
        oldest = max(server.uptime for server in servers)
        return (
            f"{up} of {len(servers)} servers up for {output.duration(oldest)}, {output.size(self.site.rss)} in memory"
        )

    def _server_lines(self) -> list[str]:
        """Each server: its name, how it is, its memory, where it listens and what to open."""
        return [
            f"{server.name:<9} {server.state:<9} {output.size(server.rss):>9}  "
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
        count = len(plan.external or {})
        return (
            f"{output.count(count, 'asset')} that only a site with hosts and a cluster reaches; not applied from here"
        )

    def _backup_line(self) -> str:
        elsewhere = len(self.lab.backups) - len({row.item for row in self.backups})
        away = f"; {elsewhere} more only a site with hosts and a cluster reaches" if elsewhere else ""
        if not self.backups:
            return f"{len(self.lab.backups)} planned, none looked at{away}" if self.lab.backups else "none planned"
        wrong = [row for row in self.backups if row.state != "proven"]
        said = "".join(f"; {row.item} at {row.target}: {row.state}, {row.why}" for row in wrong[:3])
        return f"{len(self.backups) - len(wrong)} of {len(self.backups)} saved and proven{said}{away}"


def gather(resolved: ResolvedLab) -> StatusReport:
    """Look at the site, the plan and the streams; what cannot be read becomes a line of attention, not an error."""
    from homelab_platform.paths import site_path
    from homelab_platform.servers.site.site import running, status

    state = status(site_path(resolved.name))
    attention = [
        f"{server.name} is {server.state}: {server.detail or 'see its log in ' + str(state.root / 'logs')}"
        for server in state.servers
        if state.supervised and server.state != "running"
    ]
    site = running(resolved.name)
    if site is None:
        return StatusReport(resolved, state, attention=tuple(attention))
    plan: Plan | None = None
    streams: tuple[StreamStatus, ...] = ()
    try:
        plan, streams = _plan(resolved), _streams(site, resolved)
    except HomelabError as error:
        attention.extend(f"{p.where}: {p.what}. {p.remedy}" for p in error.problems)
    try:
        rows = _backups(site, resolved)
    except HomelabError as error:
        rows = ()
        attention.extend(f"{p.where}: {p.what}. {p.remedy}" for p in error.problems)
    attention.extend(f"{r.item} at {r.target} is {r.state}: {r.why}" for r in rows if r.state in ("failed", "overdue"))
    return StatusReport(resolved, state, plan, streams, tuple(attention), rows)


def _backups(site: Site, resolved: ResolvedLab) -> tuple[Row, ...]:
    """What is saved and proven; nothing before the first apply has made a key."""
    from homelab_platform import paths
    from homelab_platform.operations.coverage import coverage
    from homelab_platform.sites.local import world_of

    if not paths.recovery_key_path(resolved.name).exists():
        return ()
    return tuple(coverage(world_of(resolved, site).protection()))


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
