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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        entry = self.entry
        return self.file.to_dict() | {
            "status": entry.status,
            "problem": entry.problem,
            "rows": entry.rows,
            "duplicates": entry.duplicates,
            "rejected": entry.rejected,
            "dates": entry.dates,
        }

    def line(self) -> str:
        """One line for people."""
        entry = self.entry
        counts = (
            f"{output.count(entry.rows, 'reading')}, {entry.duplicates:,} already there, {entry.rejected:,} rejected"
        )
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
        found = {entry.key: entry for entry in ledger.entries(lakehouse, keys=list(names))}
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
    if any(outcome.entry.rejected for outcome in outcomes):
        output.say("See why: homelab readings rejected")
