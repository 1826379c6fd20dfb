"""kill -9 around any step, then once more: each step took effect once, and nothing is half done. A second operator is
told who works there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.targets import FolderTarget
from homelab_platform.names import silent
from homelab_platform.operations.journal import DATABASE, Journal, write_copy
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform.tools.postgres import drop_database

pytestmark = pytest.mark.servers

STEPS = ("pin", "copy", "save", "release")
POINTS = [(when, step) for step in STEPS for when in ("before intent", "before", "within", "before outcome", "after")]


@pytest.fixture
def journal(postgres_endpoint: PostgresEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal in a database of its own."""
    name = f"{DATABASE}_{os.urandom(4).hex()}"
    monkeypatch.setattr("homelab_platform.operations.journal.DATABASE", name)
    yield Journal(postgres_endpoint)
    drop_database(postgres_endpoint, name)


def procedure_in(folder: Path, kill: str = "") -> Procedure:
    """A procedure whose steps each write a file named after the run; `kill` names where its process dies."""

    def step(name: str, run: str) -> Step:
        def work(outcomes: Outcomes) -> dict[str, str | int]:
            assert list(outcomes) == list(STEPS[: STEPS.index(name)])
            die(f"before {name}")
            (folder / f"{name}-{run}").write_text("half")
            die(f"within {name}")
            (folder / f"{name}-{run}").write_text("whole")
            die(f"before outcome {name}")
            return {"file": f"{name}-{run}"}

        return Step(name, work)

    def die(point: str) -> None:
        if point == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def undo(run: str) -> None:
        for file in folder.glob(f"*-{run}"):
            file.unlink()

    at = FolderTarget("site", folder, "attic", "")
    return Procedure(
        "backup",
        "lake",
        lambda run: [step(name, run) for name in STEPS],
        undo,
        lambda r: write_copy(r, at),
    )


def in_a_process_that_dies(journal: Journal, folder: Path, when: str, step: str) -> None:
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            procedure = procedure_in(folder, f"{when} {step}")
            if when in ("before intent", "after"):
                name = "intend" if when == "before intent" else "record"
                real = getattr(Journal, name)

                def dying(self: Journal, run: str, at: str, more: object) -> None:
                    if when == "after":
                        real(self, run, at, more)
                    if at == step:
                        os.kill(os.getpid(), signal.SIGKILL)
                    if when != "after":
                        real(self, run, at, more)

                setattr(Journal, name, dying)
            carry_out(journal, procedure, silent)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process was to be killed"


@pytest.mark.parametrize(("when", "step"), POINTS)
def test_a_killed_procedure_is_gone_on_with(journal: Journal, tmp_path: Path, when: str, step: str) -> None:
    in_a_process_that_dies(journal, tmp_path, when, step)
    (left,) = journal.unfinished("backup", "lake")
    done = carry_out(journal, procedure_in(tmp_path), silent)
    assert done.run == left.run
    assert done.state == "done"
    assert {f.name: f.read_text() for f in tmp_path.glob("*-*") if f.is_file()} == {
        f"{name}-{done.run}": "whole" for name in STEPS
    }
    attempts = {record.name: record.attempts for record in done.records}
    again = {step} if when in ("before", "within", "before outcome") else set()
    assert attempts == {name: 2 if name in again else 1 for name in STEPS}
    assert journal.unfinished("backup", "lake") == []
    assert '"state": "done"' in (tmp_path / "journal" / f"{done.run}.json").read_text()


def test_a_failed_step_undoes_the_run_and_says_why(journal: Journal, tmp_path: Path) -> None:
    def fail(_outcomes: Outcomes) -> dict[str, str]:
        raise HomelabError.of("bucket raw", "is gone")

    procedure = procedure_in(tmp_path)
    broken = Procedure(
        "backup", "lake", lambda run: [*procedure.steps(run)[:2], Step("fail", fail)], procedure.undo, procedure.copy
    )
    with pytest.raises(HomelabError, match="is gone"):
        carry_out(journal, broken, silent)
    newest = journal.newest("backup", "lake")
    assert newest is not None
    assert (newest.state, newest.problem) == ("failed", "bucket raw: is gone")
    assert [file for file in tmp_path.glob("*-*") if file.is_file()] == []
    assert carry_out(journal, procedure, silent).run != newest.run


def test_a_second_operator_is_told_who_works_there(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMELAB_OPERATOR", "ada")
    with (
        journal.held("lake", "backup"),
        pytest.raises(HomelabError, match=rf"backup of ada on .*process {os.getpid()}"),
    ):
        carry_out(journal, procedure_in(tmp_path), silent)
    assert journal.newest("backup", "lake") is None
