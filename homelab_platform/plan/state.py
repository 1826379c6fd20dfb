"""What is known of an asset that was applied before.

Belongs here: the value type that plans and the reconciler read. Where it is stored is apply/state_store.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document

Status = Literal["ok", "failed", "drifted", "missing", "unreachable"]
"""`unreachable`: it does not answer, so nothing newer is known than what was applied."""


@dataclass(frozen=True, slots=True)
class AppliedState:
    """What was last applied to and observed of one asset.

    `fingerprint` and `document` are those of the last state that was observed after it was applied; empty if none ever
    was. `attempted` is the fingerprint of the last attempt, whatever came of it. `failures` counts attempts that failed
    in a row; after one, `next_retry_at` says when the next may start. `reason` is a line for people.
    """

    key: str
    fingerprint: str = ""
    document: Document = field(default_factory=dict)
    applied_at: datetime | None = None
    observed_at: datetime | None = None
    status: Status = "ok"
    failures: int = 0
    next_retry_at: datetime | None = None
    attempted: str = ""
    reason: str = ""
    run_id: str = ""
