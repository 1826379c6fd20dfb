"""The patch night: hosts one after the other in the lab's order; the first failure leaves the rest untouched.

Belongs here: the night as a procedure over hosts, its window, what dead runs left. Not here: one host (patch.py), when
a window opens (windows.py).

A night in a window is on record with the day of each host's opening: that is how a window is used exactly once, by
whichever process looks first. A window that a power cut covers as a whole is not used; the next one is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from pydantic import JsonValue

from homelab_platform.errors import HomelabError
from homelab_platform.layers.patches.facts import HostFacts
from homelab_platform.names import Say
from homelab_platform.operations import patch
from homelab_platform.operations.journal import Outcome, ProcedureRecord
from homelab_platform.operations.patch import patch_host
from homelab_platform.operations.patch_plan import Slot, Turn, due_hosts, timetable
from homelab_platform.operations.patch_site import Fleet
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out

NIGHT, NOW = "patch window", "patch now"
"""Kinds of nights: in the window of the lab, and when a person says so."""
SUBJECT = "patching"
TIMETABLE = "make the timetable"
State = Literal["patched", "nothing due", "left", "failed", "untouched"]


@dataclass(frozen=True)
class HostResult:
    """What came of one host in a night. `why` says in a line why it was left, failed, or what it still lacks."""

    host: str
    state: State
    updates: int = 0
    rebooted: bool = False
    seconds: float = 0.0
    why: str = ""
    run: str = ""

    def to_dict(self) -> dict[str, object]:
        """The result as JSON-ready data."""
        return {
            "host": self.host,
            "state": self.state,
            "updates": self.updates,
            "rebooted": self.rebooted,
            "seconds": round(self.seconds, 1),
            "why": self.why,
            "run": self.run,
        }


@dataclass(frozen=True)
class NightReport:
    """What came of a night: its hosts in order, and what stopped it (None if nothing did)."""

    hosts: tuple[HostResult, ...]
    error: HomelabError | None = None


@dataclass(frozen=True)
class Preview:
    """A host before it is patched: its turn, when, and what would change; `why` says why that is not known."""

    slot: Slot
    facts: HostFacts | None
    obstacles: tuple[str, ...] = ()
    why: str = ""

    @property
    def pending(self) -> bool:
        """Whether there is something to do."""
        facts = self.facts
        wanted = self.slot.turn.reboot
        return facts is not None and (
            bool(facts.updates) or wanted == "always" or (bool(facts.reboot) and wanted != "never")
        )

    def to_dict(self) -> dict[str, object]:
        """The preview as JSON-ready data; times are ISO 8601 in UTC."""
        opening, facts = self.slot.opening, self.facts
        return {
            "host": self.slot.turn.host,
            "group": self.slot.turn.group,
            "window": str(self.slot.turn.window or ""),
            "begins": opening.begin.isoformat() if opening else None,
            "ends": opening.end.isoformat() if opening else None,
            "updates": [update.model_dump() for update in facts.updates] if facts else None,
            "held": list(facts.held) if facts else None,
            "reboot": list(facts.reboot) if facts else None,
            "obstacles": list(self.obstacles),
            "why": self.why,
        }


def preview(fleet: Fleet, turns: Sequence[Turn], say: Say) -> list[Preview]:
    """What patching these hosts would do and when, asked of each; changes nothing but apt's lists of packages."""
    unproven = fleet.unproven() if fleet.plan.backup_first else []
    found = []
    for slot in timetable(fleet.plan, turns, fleet.clock.now()):
        say(f"asks {slot.turn.host}")
        try:
            with fleet.machine(slot.turn.host) as machine:
                facts = machine.look(refresh=True)
            found.append(Preview(slot, facts, tuple(_obstacles(fleet, slot.turn, facts, unproven))))
        except HomelabError as error:
            found.append(Preview(slot, None, why=error.problems[0].what))
    return found


def _obstacles(fleet: Fleet, turn: Turn, facts: HostFacts, unproven: list[str]) -> Iterator[str]:
    if facts.refresh_problem:
        yield f"its package archives do not answer: {facts.refresh_problem}"
    if facts.deploy:
        yield f"is being deployed to: {facts.deploy}"
    yield from (f"backup: {line}" for line in unproven)
    if turn.node and fleet.nodes is not None:
        nodes = fleet.nodes()
        others = any(state.takes_pods for name, state in nodes.states().items() if name != turn.host)
        if others:
            yield from nodes.obstacles(turn.host, others=others)


def patch_now(fleet: Fleet, turns: Sequence[Turn], say: Say) -> NightReport:
    """Patch these hosts now, one after the other, whatever their windows are; or go on where a dead process stopped.

    What stopped it is in the report. Raises HomelabError if another process patches.
    """
    sweep(fleet, say)
    return _Night(fleet, NOW, [Slot(turn, None) for turn in turns], say).run()


def patch_due(fleet: Fleet, say: Say) -> NightReport:
    """Patch the hosts whose window is open and was not used yet; or go on with a night that was cut off in it.

    Raises HomelabError if another process patches.
    """
    sweep(fleet, say)
    cut_off = unfinished(fleet)
    now = fleet.clock.now()
    if cut_off is not None:
        slots = [slot for slot in _slots_of(fleet, cut_off) if slot.opening is not None and slot.opening.end > now]
        if slots:
            return _Night(fleet, NIGHT, _slots_of(fleet, cut_off), say).run()
        give_up(fleet, cut_off)
    slots = _due(fleet, now)
    return _Night(fleet, NIGHT, slots, say).run() if slots else NightReport(())


def due(fleet: Fleet) -> list[str]:
    """The hosts that `patch_due` would patch now, or go on with; empty while somebody patches."""
    if fleet.journal.holder(SUBJECT) is not None:
        return []
    cut_off = unfinished(fleet)
    if cut_off is not None:
        return [slot.turn.host for slot in _slots_of(fleet, cut_off)]
    return [slot.turn.host for slot in _due(fleet, fleet.clock.now())]


def _due(fleet: Fleet, now: datetime) -> list[Slot]:
    """The hosts whose window is open and was not used; those that nobody ever applied are left alone."""
    slots = due_hosts(fleet.plan, now, used(fleet))
    begun = fleet.begun() if slots and fleet.begun is not None else None
    return [slot for slot in slots if begun is None or slot.turn.host in begun]


def unfinished(fleet: Fleet) -> ProcedureRecord | None:
    """The night in a window that says it runs; its process is dead unless the journal knows a holder."""
    found = fleet.journal.unfinished(NIGHT, SUBJECT)
    return found[-1] if found else None


def give_up(fleet: Fleet, record: ProcedureRecord) -> None:
    """End a night whose window closed while nobody worked on it; nothing restarts outside a window."""
    with fleet.journal.held(SUBJECT, NIGHT):
        for host in _days(record):
            for one in fleet.journal.unfinished(patch.KIND, patch.subject_of(host)):
                fleet.journal.end(one.run, "given up", "its process died, and its window is closed")
        fleet.journal.end(record.run, "given up", "its process died, and its window is closed")


def used(fleet: Fleet) -> dict[str, date]:
    """The day of the opening that each host used last, by the journal."""
    found: dict[str, date] = {}
    for record in fleet.journal.of_kind(NIGHT):
        for host, day in _days(record).items():
            found[host] = max(found.get(host, day), day)
    return found


def _days(record: ProcedureRecord) -> dict[str, date]:
    days = record.outcomes.get(TIMETABLE, {}).get("days")
    return {host: date.fromisoformat(str(day)) for host, day in days.items()} if isinstance(days, dict) else {}


def _slots_of(fleet: Fleet, record: ProcedureRecord) -> list[Slot]:
    """The hosts of a night that was cut off, with the openings that it had; those that left the lab are left out."""
    known = {turn.host: turn for turn in fleet.plan.turns}
    days, hosts = _days(record), record.outcomes.get(TIMETABLE, {}).get("hosts")
    found = []
    for host in hosts if isinstance(hosts, list) else ():  # PostgreSQL keeps no order of names within `days`
        turn, day = known.get(str(host)), days.get(str(host))
        if turn is not None and turn.window is not None and day is not None:
            begin = datetime.combine(day, datetime.min.time(), tzinfo=fleet.clock.now().tzinfo)
            opening = next((s.opening for s in timetable(fleet.plan, [turn], begin) if s.opening), None)
            found.append(Slot(turn, opening if opening and opening.day == day else None))
    return found


def sweep(fleet: Fleet, say: Say) -> list[str]:
    """Take back the cordons of runs whose process is dead; the names of the nodes. Others' cordons stay.

    Raises ClusterUnreachable if the cluster does not answer.
    """
    if fleet.nodes is None:
        return []
    nodes = fleet.nodes()
    swept = []
    for name, run in _dead(fleet):
        if nodes.uncordon(name, run):
            say(f"uncordoned {name}, which run {run} had left")
            swept.append(name)
    return swept


def dead_cordons(fleet: Fleet) -> list[str]:
    """The nodes that the sweep would uncordon. Raises ClusterUnreachable if the cluster does not answer."""
    return [name for name, _ in _dead(fleet)]


def _dead(fleet: Fleet) -> list[tuple[str, str]]:
    """Nodes with the cordon of a run that no process works on, and that run."""
    states = fleet.nodes().states() if fleet.nodes is not None else {}
    return [(name, state.run) for name, state in states.items() if state.run and not is_alive(fleet, state.run)]


def is_alive(fleet: Fleet, run: str) -> bool:
    """Whether a process works on this run right now."""
    try:
        record = fleet.journal.load(run)
    except KeyError:
        return False
    return record.state == "running" and fleet.journal.holder(record.subject) is not None


class _Night:
    """The steps of a night: a timetable, then each host."""

    def __init__(self, fleet: Fleet, kind: str, slots: Sequence[Slot], say: Say) -> None:
        self.fleet, self.kind, self.slots, self.say = fleet, kind, slots, say

    def run(self) -> NightReport:
        """Carry it out; what stopped it is in the report. Raises HomelabError if another process patches."""
        journal = self.fleet.journal
        before = journal.newest(self.kind, SUBJECT)
        try:
            record = carry_out(
                journal, Procedure(self.kind, SUBJECT, self._steps), self.say, patience=self.fleet.patience
            )
        except HomelabError as error:
            record_failed = journal.newest(self.kind, SUBJECT)
            if record_failed is None or record_failed.state != "failed" or record_failed == before:
                raise
            return NightReport(tuple(self._results(record_failed)), error)
        return NightReport(tuple(self._results(record)))

    def _steps(self, _run: str) -> Sequence[Step]:
        return [Step(TIMETABLE, lambda _done: self._timetable()), *map(self._step, self.slots)]

    def _timetable(self) -> Outcome:
        days: dict[str, JsonValue] = {s.turn.host: s.opening.day.isoformat() for s in self.slots if s.opening}
        return {"hosts": [slot.turn.host for slot in self.slots], "days": days}

    def _step(self, slot: Slot) -> Step:
        def run(_done: Outcomes) -> Outcome:
            opening = slot.opening
            if opening is not None and self.fleet.clock.now() + slot.turn.longest > opening.end:
                return {"left": f"its window closes at {opening.end:%H:%M} UTC, and it may take longer"}
            began = self.fleet.clock.ticks()
            result = patch_host(self.fleet, slot.turn, lambda line: self.say(f"{slot.turn.host}: {line}"))
            return {**result.to_json(), "seconds": self.fleet.clock.ticks() - began}

        return Step(_step_name(slot.turn.host), run)

    def _results(self, record: ProcedureRecord) -> Iterator[HostResult]:
        outcomes: Mapping[str, Outcome] = record.outcomes
        begun = {step.name for step in record.records}
        for slot in self.slots:
            host, name = slot.turn.host, _step_name(slot.turn.host)
            if name in outcomes:
                yield _result(host, outcomes[name])
            elif name in begun:
                yield HostResult(host, "failed", why=record.problem.splitlines()[0] if record.problem else "")
            else:
                yield HostResult(host, "untouched")


def _step_name(host: str) -> str:
    return f"patch {host}"


def _result(host: str, outcome: Outcome) -> HostResult:
    if "left" in outcome:
        return HostResult(host, "left", why=str(outcome["left"]))
    updates, rebooted = int(str(outcome["updates"])), bool(outcome["rebooted"])
    return HostResult(
        host,
        "patched" if updates or rebooted else "nothing due",
        updates,
        rebooted,
        float(str(outcome["seconds"])),
        str(outcome["note"]),
        str(outcome["run"]),
    )
