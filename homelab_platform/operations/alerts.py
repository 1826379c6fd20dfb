"""When somebody is told of trouble, and of its end: once, grouped, and not at night where a push would wake them.

Belongs here: the decision as pure functions of what was found and of what was told before. Not here: what counts as
trouble (health.py), or how a message is sent (tools/notify.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from pydantic import BaseModel, ConfigDict

from homelab_platform.plan.health import Finding

SETTLE = timedelta(minutes=2)
"""How long trouble must last before anybody is told: what is gone by then needs nobody."""
AGAIN = timedelta(hours=24)
"""After which trouble that lasts is told again."""
SHOWN = 12
"""Findings that a message spells out; the rest is counted."""


class Trouble(BaseModel):
    """One thing that is broken: since when, and when it was told; `over` once it is well again and nobody knows yet."""

    model_config = ConfigDict(frozen=True)

    what: str
    remedy: str
    since: datetime
    told: datetime | None = None
    over: bool = False


Known = Mapping[str, Trouble]
"""What a channel knows, by where the trouble is."""


@dataclass(frozen=True)
class Notice:
    """One message: what broke (new, or told a day ago and still broken), what is well again. By where it is."""

    lab: str
    broken: Mapping[str, Trouble]
    over: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line: the lab, how many, the first of them."""
        if not self.broken:
            return f"{self.lab}: well again: {_named(self.over)}"
        return f"{self.lab}: {len(self.broken)} broken: {_named(tuple(self.broken))}"

    @property
    def text(self) -> str:
        """A line for each, and below it what to do."""
        lines: list[str] = []
        for where, trouble in list(self.broken.items())[:SHOWN]:
            lines += [f"{where}: {trouble.what}", f"    {trouble.remedy}"] if trouble.remedy else [
                f"{where}: {trouble.what}"
            ]  # fmt: skip
        if len(self.broken) > SHOWN:
            lines.append(f"and {len(self.broken) - SHOWN} more: homelab status")
        lines += [f"well again: {where}" for where in self.over]
        return "\n".join(lines)


def seen(known: Known, findings: Iterable[Finding], now: datetime) -> dict[str, Trouble]:
    """What a channel knows after a look: trouble that began, goes on, or is over. What nobody was told of just goes."""
    broken: dict[str, Finding] = {}
    for finding in findings:
        if finding.level == "error":
            broken.setdefault(finding.where, finding)
    found: dict[str, Trouble] = {}
    for where, finding in broken.items():
        before = known.get(where)
        goes_on = before is not None and not before.over
        found[where] = Trouble(
            what=finding.what,
            remedy=finding.remedy,
            since=before.since if before is not None and goes_on else now,
            told=before.told if before is not None else None,
        )
    over = {where: trouble for where, trouble in known.items() if where not in broken and trouble.told is not None}
    return found | {where: trouble.model_copy(update={"over": True}) for where, trouble in over.items()}


def due(lab: str, known: Known, now: datetime) -> Notice | None:
    """The message that a channel is due; None when there is nothing to say."""
    broken = {
        where: trouble
        for where, trouble in sorted(known.items())
        if not trouble.over and now - trouble.since >= SETTLE and (trouble.told is None or now - trouble.told >= AGAIN)
    }
    over = tuple(sorted(where for where, trouble in known.items() if trouble.over))
    return Notice(lab, broken, over) if broken or over else None


def delivered(known: Known, notice: Notice, now: datetime) -> dict[str, Trouble]:
    """What a channel knows once the message is out."""
    return {
        where: trouble.model_copy(update={"told": now}) if where in notice.broken else trouble
        for where, trouble in known.items()
        if where not in notice.over
    }


def is_quiet(hours: str | None, now: datetime) -> bool:
    """Whether `now`, in the lab's zone, lies within quiet hours such as `22:00-07:00`; both ends as the clock shows."""
    if not hours:
        return False
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    clock = now.time()
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
