"""Values of a correction that take the place of those in the table, inside the commit that brings them.

Belongs here: which readings go, and what is remembered of them. Not here: finding and rewriting files (withdraw.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from homelab_platform.readings import parquet
from homelab_platform.readings.commit.rejects import rejected_table
from homelab_platform.readings.commit.withdraw import Rewrite, replaced_lines, without_identities
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.tools.iceberg.metadata_io import split_location

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile

    from homelab_platform.readings.commit.parts import Part
    from homelab_platform.readings.commit.session import Session


@dataclass
class Correction:
    """Files to exchange, files of the replaced values, and by correcting object how many of each source it replaced."""

    rewrite: Rewrite = field(default_factory=Rewrite)
    rejected: list[DataFile] = field(default_factory=list)
    by_key: dict[str, dict[str, int]] = field(default_factory=dict)


def correct(session: Session, parts: Sequence[Part]) -> Correction:
    """Under the commit lock: take out of the table what these parts hold with another value, and remember it."""
    found = Correction()
    state = session.state(READINGS)
    for part in (p for p in parts if p.replaces):
        table = parquet.read(session.store.get(*split_location(part.file.file_path)))
        step = without_identities(session, state, part.day, [table])
        key = str(table["source"][0].as_py())
        found.rewrite.removed += step.removed
        found.rewrite.added += step.added
        mine = found.by_key.setdefault(key, {})
        for source, count in step.counts.items():
            mine[source] = mine.get(source, 0) + count
        lines = replaced_lines(step, key)
        if lines:
            keys = sorted({source for source, _ in lines})
            numbered = [(keys.index(source), line) for source, line in lines]
            rejects = session.state(REJECTED)
            made = rejected_table(rejects.schema(), numbered, keys)
            found.rejected.append(session.upload_part(rejects, made, None))
    return found
