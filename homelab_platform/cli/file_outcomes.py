"""What became of each file that somebody brought, whoever ingested it.

Belongs here: asking the ledger for the files' objects and saying it. The site's own sensor may take an object in before
the command does, so the command's own count would often be nought.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homelab_platform.cli import output
from homelab_platform.errors import HomelabError, Problem

if TYPE_CHECKING:
    from homelab_platform.readings.ledger import LedgerEntry
    from homelab_platform.readings.sources.files import UploadedFile
    from homelab_platform.tools.endpoints import Lakehouse

DEFAULT_STREAM = "files"
"""The stream of files for which nobody names one; no lab need have it."""
PATIENCE_SECONDS = 600.0
"""How long another process may take over an object before the command stops waiting for it."""


@dataclass(frozen=True)
class FileOutcome:
    """A file and its entry in the ledger."""

    file: UploadedFile
    entry: LedgerEntry

    @property
    def quarantined(self) -> bool:
        """Whether the file could not be read at all."""
        return self.entry.status == "quarantined"

    @property
    def refused(self) -> int:
        """Lines that were refused, kept or only counted."""
        return self.entry.rejected + self.entry.unkept

    @property
    def nothing(self) -> bool:
        """Whether every line of it was refused."""
        return not self.quarantined and self.entry.rejected > 0 and self.entry.rows + self.entry.duplicates == 0

    @property
    def failed(self) -> bool:
        """Whether somebody must look at it: it gave nothing, or lines of it contradict each other."""
        return self.quarantined or self.nothing or self.entry.conflicts > 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        entry = self.entry
        return self.file.to_dict() | {
            "status": entry.status,
            "problem": entry.problem,
            "rows": entry.rows,
            "duplicates": entry.duplicates,
            "rejected": self.refused,
            "conflicts": entry.conflicts,
            "differing": entry.differing,
            "left_out": entry.left_out,
            "replaced": entry.replaced,
            "dates": entry.dates,
        }

    def line(self) -> str:
        """One line for people."""
        entry = self.entry
        counts = f"{output.count(entry.rows, 'reading')}, {entry.duplicates:,} already there, {self.refused:,} rejected"
        if entry.replaced:
            counts += f", {output.count(entry.replaced, 'value')} replaced"
        if entry.left_out:
            counts += f", {output.count(entry.left_out, 'field')} left out (its stream has no column left)"
        return (
            f"{self.file.path}: was ingested before ({counts})" if self.file.existed else f"{self.file.path}: {counts}"
        )


def await_entries(
    lakehouse: Lakehouse, names: Mapping[str, str], progress: Callable[[str], None]
) -> dict[str, LedgerEntry]:
    """The ledger's entries of the objects in `names` (key → what people call it); waits for those still in hand.

    Raises HomelabError that names what nobody finished in ten minutes.
    """
    from homelab_platform.readings import ledger

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = {e.key: e for e in ledger.entries(lakehouse, keys=list(names)) if e.status != ledger.AGAIN}
        missing = [name for key, name in names.items() if key not in found]
        if not missing:
            return found
        if time.monotonic() > deadline:
            raise HomelabError(
                Problem(name, "is uploaded, but not ingested yet", "Look at `homelab status`; nothing is lost.")
                for name in missing
            )
        progress(f"the site's sensor has {output.count(len(missing), 'object')} in hand; waiting for it")
        time.sleep(0.5)


def await_outcomes(
    lakehouse: Lakehouse, files: Sequence[UploadedFile], progress: Callable[[str], None]
) -> list[FileOutcome]:
    """The outcome of each file, in order; see await_entries."""
    found = await_entries(lakehouse, {file.key: str(file.path) for file in files}, progress) if files else {}
    return [FileOutcome(file, found[file.key]) for file in files]


def say_outcomes(outcomes: Sequence[FileOutcome]) -> None:
    """Print what became of the files."""
    for outcome in outcomes:
        if outcome.quarantined:
            remedy = "Nothing of it was taken in. Mend the file and ingest it again."
            output.print_problems([Problem(str(outcome.file.path), outcome.entry.problem or "cannot be read", remedy)])
        else:
            output.say(outcome.line())
            output.print_problems(_problems(outcome))
    if any(outcome.entry.rejected for outcome in outcomes):
        output.say("See why: homelab readings rejected")


def _problems(outcome: FileOutcome) -> list[Problem]:
    """What somebody must know of a file that was read."""
    entry, place = outcome.entry, str(outcome.file.path)
    found = []
    if outcome.nothing:
        remedy = "See why: homelab readings rejected; homelab ingest --dry-run shows how the file is read."
        found.append(Problem(place, f"nothing was taken: all {outcome.refused:,} lines were refused", remedy))
    if entry.conflicts:
        lines = output.count(entry.conflicts, "line")
        found.append(
            Problem(
                place,
                f"{lines} contradict an earlier one: another value for the same device, sensor and time",
                "The earlier stays. If a column tells them apart, take the file back (homelab readings undo) and\n"
                "ingest it again with --map device=COLUMN.",
            )
        )
    if entry.differing:
        found.append(
            Problem(
                place,
                f"{output.count(entry.differing, 'reading')} already there with another value, which stays",
                "homelab ingest --replace replaces values by those of the file.",
            )
        )
    return found


def confirm_stream(stream: str, known: Mapping[str, object]) -> None:
    """Ask whether a stream that the lab does not have is meant. Raises HomelabError when it is not, or when no
    terminal can be asked.
    """
    import sys

    from homelab_platform.lab.quantities import nearest

    if stream == DEFAULT_STREAM:
        return
    near = nearest(stream, known)
    hint = f"did you mean {near}?" if near else f"it has: {', '.join(known) or 'none'}"
    if sys.stdin.isatty() and sys.stdout.isatty():
        import typer

        if typer.confirm(f"The lab has no stream {stream!r} ({hint}) Bring the files in under this new name?"):
            return
        raise HomelabError.of(f"--stream {stream}", "nothing was sent", "Name the stream that you meant.")
    raise HomelabError.of(
        f"--stream {stream}", f"the lab has no such stream; {hint}", "Add --new-stream if it is a new one."
    )
