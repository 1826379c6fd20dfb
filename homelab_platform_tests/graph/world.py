"""A world made of files, so that every layer can be applied, observed, broken and lost in a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY, Answering, Exhibit, Observation
from homelab_platform.apply.readings_world import Inbox
from homelab_platform.errors import HomelabError
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.documents import TABLE_CHECKS
from homelab_platform.plan.health import Health
from homelab_platform.plan.layers import EVERYTHING, Capabilities
from homelab_platform.plan.reconcile import back_off
from homelab_platform.plan.state import AppliedState
from homelab_platform.readings.marts import MARTS
from homelab_platform.readings.marts.checks import test_names
from homelab_platform.readings.quality.verdicts import CheckResult


class MemoryStore:
    """A state store in memory, with the rules of the real one."""

    def __init__(self) -> None:
        self.states: dict[str, AppliedState] = {}
        self.turns = 0
        self.began: dict[str, int] = {}
        self.outdated: dict[str, int] = {}
        self.consents: set[tuple[str, str, str]] = set()

    def load(self) -> dict[str, AppliedState]:
        return dict(self.states)

    def held(self, key: str, purpose: str, say: object) -> AbstractContextManager[None]:
        return nullcontext()

    def turn(self) -> int:
        self.turns += 1
        return self.turns

    def applied(
        self,
        key: str,
        fingerprint: str,
        document: Mapping[str, Any],
        *,
        turn: int,
        followers: Iterable[str] = (),
        run_id: str = "",
    ) -> None:
        now = datetime.now(UTC)
        stale = self.outdated.get(key, 0) > turn
        self.began[key] = turn
        self.states[key] = AppliedState(
            key, fingerprint, document, now, now, "drifted" if stale else "ok", attempted=fingerprint, run_id=run_id
        )
        self.consents = {one for one in self.consents if one[0] != key}
        for follower in followers:
            self.outdated[follower] = self.turn()
            if follower in self.states:
                self.states[follower] = replace(self.states[follower], status="drifted", reason=f"follows {key}")

    def failed(self, key: str, attempted: str, reason: str, *, run_id: str = "") -> None:
        old = self.states.get(key, AppliedState(key))
        failures = (old.failures if old.attempted == attempted else 0) + 1
        retry = datetime.now(UTC) + back_off(key, failures)
        self.states[key] = replace(
            old, status="failed", failures=failures, next_retry_at=retry, attempted=attempted, reason=reason
        )

    def observed(
        self,
        key: str,
        status: str,
        *,
        turn: int,
        reason: str = "",
        fingerprint: str = "",
        document: Mapping[str, Any] | None = None,
    ) -> None:
        old = self.states.get(key, AppliedState(key, fingerprint, document or {}, attempted=fingerprint))
        if old.status == "failed" or turn < self.began.get(key, 0):
            return
        stale = status == "ok" and self.outdated.get(key, 0) > self.began.get(key, 0)
        found: Any = "drifted" if stale else status
        self.states[key] = replace(old, status=found, reason=reason, observed_at=datetime.now(UTC))

    def forget(self, key: str) -> None:
        self.states.pop(key, None)

    def consent(self, key: str, before: str, after: str) -> None:
        self.consents.add((key, before, after))

    def consented(self, key: str, before: str, after: str) -> bool:
        return (key, before, after) in self.consents


class FolderAdapter:
    """Each asset is a file with its fingerprint and document."""

    def __init__(self, world: FolderWorld) -> None:
        self.world = world

    def path(self, key: str) -> Path:
        return self.world.root / f"{key}.json"

    def probe(self, desired: DesiredState) -> Observation:
        path = self.path(desired.key)
        if not path.exists():
            return Observation(exists=False)
        found = json.loads(path.read_text())
        return Observation(exists=True, fingerprint=found["fingerprint"], facts={"file": path.name})

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        self.world.changed.append(desired.key)
        if desired.key in self.world.broken:
            raise HomelabError.of(desired.key, "the test broke it", "Mend it.")
        if desired.key in self.world.lying:
            return
        path = self.path(desired.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"fingerprint": desired.fingerprint, "document": desired.document}))

    def remove(self, key: str, document: Mapping[str, Any], say: Say) -> None:
        self.path(key).unlink(missing_ok=True)

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        self.world.worked.append((desired.key, dict(request)))
        shown = [Exhibit("rows", "number", 3)]
        if desired.layer == "mart" and "dates" in request:
            shown.append(Exhibit("days", "partitions", dict.fromkeys(request["dates"].split(","), 3)))
        return shown

    def check(self, desired: DesiredState) -> list[CheckResult]:
        mart = MARTS[str(desired.document["name"])]
        return [CheckResult(name, True, "error", demand) for name, demand in test_names(mart).items()]


class ListedInbox:
    """Pending objects as a list of names, a kilobyte each."""

    def __init__(self, pending: list[str]) -> None:
        self.pending = pending

    def __enter__(self) -> ListedInbox:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def recent(self, start: Callable[[str], str]) -> list[str]:
        return list(self.pending)

    def everything(self) -> tuple[list[str], float]:
        return list(self.pending), 0.0

    def bytes_of(self, keys: Iterable[str]) -> int:
        return 1024 * len(list(keys))


class FolderWorld:
    """A site that reaches every layer. `broken` assets cannot be changed; `lying` ones claim to be and are not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = MemoryStore()
        self.broken: set[str] = set()
        self.lying: set[str] = set()
        self.changed: list[str] = []
        self.worked: list[tuple[str, dict[str, str]]] = []
        self.reloads = 0
        self.answers: dict[str, Answering] = {}
        self.pending: list[str] = []
        self.commits: list[int] = []
        self.applied_by = ""
        self.is_well = Health()
        self.begins: date | None = date(2026, 11, 20)

    @property
    def capabilities(self) -> Capabilities:
        return EVERYTHING

    @property
    def store(self) -> MemoryStore:
        return self.memory

    def adapter(self, layer: str) -> FolderAdapter:
        return FolderAdapter(self)

    def reload_code(self) -> None:
        self.reloads += 1

    def upkeep(self, task: str, desired: Mapping[str, DesiredState], say: Say) -> Iterable[Exhibit]:
        return [Exhibit(task, "number", len(desired))]

    def inbox(self) -> Inbox:
        return ListedInbox(self.pending)

    def answering(self, hosts: Iterable[DesiredState]) -> dict[str, Answering]:
        return {state.key: self.answers.get(state.key, Answering(True)) for state in hosts}

    def health(self, desired: Mapping[str, DesiredState], up_for: timedelta) -> Health:
        return self.is_well

    def applying(self) -> str:
        return self.applied_by

    def take_in(self, keys: Iterable[str]) -> None:
        if "ingest" in self.broken:
            raise HomelabError.of("ingest", "the test broke it", "Mend it.")
        self.pending = [key for key in self.pending if key not in set(keys)]
        self.commits.append(len(list(keys)))

    def arrivals(self, since: int) -> tuple[int, list[Exhibit]]:
        new = self.commits[since:]
        return len(self.commits), [Exhibit("objects", "number", sum(new))] if new else []

    def changed_dates(self, since: int) -> tuple[tuple[date, ...], int]:
        return (date(2026, 11, 20), date(2026, 11, 21))[since:], 2

    def first_day(self) -> date | None:
        return self.begins

    def quality(self) -> list[CheckResult]:
        facts = {"series": 2, "worst": [{"series": "attic/temperature", "share": "3 %"}]}
        return [CheckResult(name, name != "gaps", "warn", f"{name} was looked at", facts) for name in TABLE_CHECKS]

    def integrity(self, everything: bool) -> Iterator[CheckResult]:
        self.worked.append(("integrity", {"everything": str(everything)}))
        yield from (CheckResult(name, name != "files_exist", "error", f"{name} was looked at") for name in INTEGRITY)

    def foundations(self) -> Iterator[CheckResult]:
        yield from (CheckResult(name, True, "error", f"{name} was looked at") for name in FOUNDATIONS)

    def flow_health(self, stream: str) -> CheckResult:
        return CheckResult("flows_on", True, "error", f"{stream} flows on")

    def pictures(self) -> Iterable[Exhibit]:
        return [Exhibit("temperature, last day", "png", b"picture")]
