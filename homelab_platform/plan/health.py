"""How a lab is, as a value: what its graph knows, and what needs a person.

Belongs here: the value types. Not here: how they are judged (operations/health.py) or shown (cli, graph/home.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "waits", "note"]
"""`error`: something is broken. `waits`: something is pending, or a check warns. `note`: good to know, no more."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at: `where` it is (a job, an asset, a stream, a server), `what` is wrong, what to do."""

    level: Level
    where: str
    what: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-ready data."""
        return {"level": self.level, "where": self.where, "what": self.what, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Health:
    """How a lab is as far as its graph knows.

    `in_sync` of `total` assets within reach are as they should be; `external` are out of reach. `running` and `queued`
    count runs; `passed`, `warned` and `failed` count checks, `unjudged` those that never came to a verdict.
    """

    in_sync: int = 0
    total: int = 0
    external: int = 0
    running: int = 0
    queued: int = 0
    passed: int = 0
    warned: int = 0
    failed: int = 0
    unjudged: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 nothing needs a person, 1 something is broken, 2 something waits."""
        levels = {finding.level for finding in self.findings}
        return 1 if "error" in levels else 2 if "waits" in levels else 0

    def of(self, *levels: Level) -> tuple[Finding, ...]:
        """The findings of these levels."""
        return tuple(finding for finding in self.findings if finding.level in levels)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready data."""
        return {
            "assets": {"in_sync": self.in_sync, "within_reach": self.total, "out_of_reach": self.external},
            "runs": {"running": self.running, "queued": self.queued},
            "checks": {
                "passed": self.passed, "warned": self.warned, "failed": self.failed, "without_verdict": self.unjudged
            },
            "findings": [finding.to_dict() for finding in self.findings],
        }  # fmt: skip
