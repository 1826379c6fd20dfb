"""What would become of the first records of a file: readings, refused lines, contradictions. Nothing is sent.

Belongs here: a mapping tried on a sample, by the ingest's own code. Not here: finding the mapping (guess.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from homelab_platform.readings.decode.columns import RowBuffer
from homelab_platform.readings.decode.files import spelling_of
from homelab_platform.readings.decode.foreign import Found, is_series
from homelab_platform.readings.decode.mapping import Mapping, Source
from homelab_platform.readings.decode.ndjson import Decoder
from homelab_platform.readings.decode.record import PLAIN, ExtraColumns, Row, Spelling, read_record
from homelab_platform.readings.sources.guess import Guess
from homelab_platform.readings.sources.identity import Collision, collisions, telling_columns
from homelab_platform.readings.sources.sampling import CannotRead, Sample
from homelab_platform.wire.contract import FUTURE_TOLERANCE_SECONDS
from homelab_platform.wire.timestamps import LocalClock

SHOWN = 5


@dataclass(frozen=True)
class Trial:
    """The readings of a sample with the number of their line, its refused lines, its contradictions."""

    rows: tuple[tuple[int, Row], ...]
    refused: tuple[Found, ...]
    collisions: tuple[Collision, ...]
    second_pass: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data: counts, and the first of each."""
        return {
            "readings": len(self.rows),
            "refused": len(self.refused),
            "contradictions": len(self.collisions),
            "first": [row._asdict() | {"line": line} for line, row in self.rows[:SHOWN]],
            "reasons": [{"line": f.line, "reason": f.reason} for f in self.refused[:SHOWN]],
        }


def tried(sample: Sample, mapping: Mapping | None, zone: str | None = None) -> Trial:
    """What the ingest would make of the sample's records."""
    decoder = Decoder(RowBuffer({}), _latest(), ExtraColumns())
    content = sample.content
    if content is None:
        raise ValueError("a sample without its content")
    if is_series(sample.format):
        mapping = replace(mapping or Mapping(), series=True)
    own = mapping is None and sample.format == "ndjson"
    spelling: Spelling = PLAIN if own else spelling_of(zone, content, mapping)
    if own and zone is not None:
        spelling = Spelling(zone=zone, clock=LocalClock())
    rows: list[tuple[int, Row]] = []
    refused = list(sample.faults)
    for found in sample.raw:
        record = found.record or {}
        try:
            made = (
                [read_record(record, decoder.latest, decoder.extra, spelling)]
                if own
                else decoder.mapped(record, mapping, spelling)
            )
        except ValueError as error:
            refused.append(found._replace(reason=str(error)))
        else:
            rows += [(found.line, row) for row in made]
    refused.sort(key=lambda one: one.line)
    passed = spelling.clock.second_pass if spelling.clock else 0
    return Trial(tuple(rows), tuple(refused), tuple(collisions(rows)), passed)


def _latest() -> int:
    return int((time.time() + FUTURE_TOLERANCE_SECONDS) * 1_000_000)


def told_apart(sample: Sample, found: Guess, given: Mapping | None, zone: str | None) -> tuple[Guess, Trial]:
    """The guess, with the column that keeps devices apart if it needs one, and what becomes of the sample.

    Raises CannotRead when nothing of the sample is a reading, or when records contradict each other and no single
    column settles it.
    """
    trial = tried(sample, found.mapping, zone)
    if not trial.rows:
        first = trial.refused[0]
        raise CannotRead(f"holds no reading in its first {len(trial.refused)} lines; line {first.line}: {first.reason}")
    if not trial.collisions:
        return found, trial
    mapping = found.mapping or Mapping()
    free = (given is None or "device" not in given.fields) and mapping.fields.get("device", Source()).column is None
    used = {c for s in mapping.fields.values() for c in (s.column, s.also) if c} | {"ts", "value", "sensor", "device"}
    spare = [c for c in sample.columns if c not in used and c not in mapping.melt]

    def attempt(column: str) -> list[Collision]:
        return list(tried(sample, _with_device(mapping, column), zone).collisions)

    telling = telling_columns(sample.rows, spare, attempt) if not sample.series else []
    if free and len(telling) == 1:
        note = f"{telling[0]!r} is taken for the device, for it tells records of one time apart (see --map device=…)"
        changed = replace(found, mapping=_with_device(mapping, telling[0]), notes=(*found.notes, note))
        return changed, tried(sample, changed.mapping, zone)
    assumed = any("taken as UTC" in note for note in found.notes)
    raise CannotRead(_contradiction(trial.collisions[0], telling, sample.columns, assumed))


def _with_device(mapping: Mapping, column: str) -> Mapping:
    return replace(
        mapping,
        fields={**mapping.fields, "device": Source(column=column)},
        keep=tuple(name for name in mapping.keep if name != column),
    )


def _contradiction(found: Collision, telling: Sequence[str], columns: Sequence[str], assumed: bool) -> str:
    row = found.row
    where = f"lines {found.first} and {found.second}" if found.first != found.second else f"line {found.first}"
    offered = telling or columns
    return (
        f"gives two values ({found.other:g} and {row.value:g}) for device {row.device!r}, sensor {row.sensor!r} at one "
        f"time ({where}); say which column tells them apart, e.g. --map device=COLUMN ({', '.join(offered)})"
        + ("; or whose local times they are: --tz" if assumed else "")
    )
