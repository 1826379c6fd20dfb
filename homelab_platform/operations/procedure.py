"""Carrying out a procedure: each step's intent before, its outcome after, and going on where a dead process stopped.

Belongs here: the order of journal and step. Not here: what any step does. A step may be repeated without harm: one
whose outcome is not on record runs again. A step that fails ends the procedure, and what it did is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say
from homelab_platform.operations.journal import Journal, Outcome, ProcedureRecord

LONGEST_PAUSE = timedelta(days=1)
"""How old an unfinished procedure may be for another process to go on with it; older ones are undone and given up."""
Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Step:
    """One step. `run` is handed what came of the steps before it and returns what came of it; it may be repeated
    without harm.
    """

    name: str
    run: Callable[[Outcomes], Outcome]


@dataclass(frozen=True)
class Procedure:
    """A procedure over one subject. `steps` makes the steps of a run, `undo` takes back what a run did to anything but
    its target; `copy` writes the record of a run to the target.
    """

    kind: str
    subject: str
    steps: Callable[[str], Sequence[Step]]
    undo: Callable[[str], None] = lambda _run: None
    copy: Callable[[ProcedureRecord], None] = lambda _record: None


def carry_out(journal: Journal, procedure: Procedure, say: Say, *, patience: float = 0) -> ProcedureRecord:
    """Carry out a procedure, or go on with the one that a dead process left; returns its record. Another process that
    works on the same subject is waited for, `patience` seconds at most.

    Raises HomelabError if another process works on the same subject (who, where, since when), or whatever a step
    raises; the procedure is then on record as failed, and undone.
    """
    with journal.held(procedure.subject, procedure.kind, wait=patience, say=say):
        record = _resumed(journal, procedure, say) or journal.begin(
            procedure.kind, procedure.subject, [step.name for step in procedure.steps("")]
        )
        try:
            _carry_out(journal, procedure, record, say)
        except Exception as error:
            text = str(error) if isinstance(error, HomelabError) else f"{type(error).__name__}: {error}"
            journal.end(record.run, "failed", text)
            with suppress(HomelabError):  # what could not be undone now is, by its run's name, at the next start
                procedure.undo(record.run)
                procedure.copy(journal.load(record.run))
            raise
        journal.end(record.run, "done")
        ended = journal.load(record.run)
        procedure.copy(ended)
        return ended


def _resumed(journal: Journal, procedure: Procedure, say: Say) -> ProcedureRecord | None:
    """The procedure to go on with: the newest that a dead process left, if it is young and consists of the same steps.
    Others are undone and given up.
    """
    found = journal.unfinished(procedure.kind, procedure.subject)
    names = tuple(step.name for step in procedure.steps(""))
    chosen = found[-1] if found else None
    if chosen is not None and (chosen.steps != names or datetime.now(UTC) - chosen.began > LONGEST_PAUSE):
        chosen = None
    for record in found:
        if record is not chosen:
            procedure.undo(record.run)
            journal.end(record.run, "given up", "its process died, and it was too old to go on with")
    if chosen is not None:
        done = len(chosen.outcomes)
        say(f"goes on with {chosen.run}, which {chosen.person} began; {done} of {len(names)} steps are done")
        journal.taken_over(chosen.run)
    return chosen


def _carry_out(journal: Journal, procedure: Procedure, record: ProcedureRecord, say: Say) -> None:
    outcomes = dict(record.outcomes)
    for number, step in enumerate(procedure.steps(record.run)):
        if step.name in outcomes:
            continue
        journal.intend(record.run, step.name, number)
        procedure.copy(journal.load(record.run))
        say(step.name)
        outcomes[step.name] = step.run(outcomes)
        journal.record(record.run, step.name, outcomes[step.name])
