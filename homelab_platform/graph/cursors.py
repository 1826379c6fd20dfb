"""The arithmetic of the sensors' cursors: pure, so that it is tested without Dagster, servers or time.

Belongs here: what a sensor remembers between ticks and what follows from it. A cursor may be lost at any time: then the
next tick looks at everything once.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import orjson

from homelab_platform.plan.reconcile import back_off

SWEEP_AT_MOST_EVERY = timedelta(seconds=60)
SWEEP_SHARE = 50
"""A whole listing is repeated after this many times its own duration, so that it costs 2 % at most."""
GRACE = timedelta(seconds=45)
"""How long an ingest that was asked for may take to show, before the same objects count as tried in vain."""
MOST_DATES = 60


@dataclass(frozen=True)
class InboxCursor:
    """What the sensor on new objects remembers.

    `swept` is when the whole bucket was last listed and `took` for how many seconds. `digest` stands for the objects
    that the last request was for, `asked` says when that was and `tries` how often in a row. `reported` is the number
    of the last commit that the table's page was told of.
    """

    swept: datetime | None = None
    took: float = 0.0
    digest: str = ""
    asked: datetime | None = None
    tries: int = 0
    reported: int = 0

    def dump(self) -> str:
        """The cursor as text."""
        return orjson.dumps(self).decode()


def load_cursor(text: str | None) -> InboxCursor:
    """The cursor of a text that dump() made; a fresh one for anything else."""
    try:
        raw = orjson.loads(text or "{}")
        moments = {n: datetime.fromisoformat(raw[n]) for n in ("swept", "asked") if raw.get(n)}
        return InboxCursor(
            moments.get("swept"), float(raw.get("took", 0)), str(raw.get("digest", "")), moments.get("asked"),
            int(raw.get("tries", 0)), int(raw.get("reported", 0)),
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError):
        return InboxCursor()


def sweep_due(cursor: InboxCursor, now: datetime) -> bool:
    """Whether the whole bucket is to be listed now: for objects under old names, which the usual look passes by."""
    if cursor.swept is None or cursor.swept > now:
        return True
    return now - cursor.swept >= max(SWEEP_AT_MOST_EVERY, timedelta(seconds=cursor.took * SWEEP_SHARE))


def swept(cursor: InboxCursor, now: datetime, took: float) -> InboxCursor:
    """The cursor after a whole listing that took so many seconds."""
    return replace(cursor, swept=now, took=took)


def recent_from(folder: str, now: datetime) -> str:
    """The key after which a folder's recent objects lie: since yesterday in UTC, for keys `folder/yyyy-mm-dd/…`."""
    return f"{folder}{(now.astimezone(UTC) - timedelta(days=1)).date().isoformat()}"


def digest_of(keys: Iterable[str]) -> str:
    """A short name for a set of objects."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def ask(cursor: InboxCursor, pending: Iterable[str], now: datetime) -> tuple[bool, InboxCursor]:
    """Whether to request an ingest of `pending` now, and the cursor after that.

    New objects are asked for at once. The same ones again only when an ingest has had the time to take them, and then
    less and less often: an object that cannot be read must not keep the platform busy.
    """
    found = digest_of(pending)
    if found == digest_of(()):
        return False, replace(cursor, digest="", asked=None, tries=0)
    if found != cursor.digest or cursor.asked is None:
        return True, replace(cursor, digest=found, asked=now, tries=1)
    if cursor.asked <= now < cursor.asked + GRACE + back_off(found, cursor.tries):
        return False, cursor
    return True, replace(cursor, asked=now, tries=cursor.tries + 1)


def days_to_name(dates: Iterable[date]) -> list[str]:
    """Days as a run's configuration names them; none, which means every day, when there are many."""
    found = sorted(set(dates))
    return [] if len(found) > MOST_DATES else [day.isoformat() for day in found]
