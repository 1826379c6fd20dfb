"""Files that people drop, into the raw bucket as they are, with a mapping of their columns beside them.

Belongs here: looking at all files before the first byte is sent, naming the objects, uploading. Not here: what a file
holds (sampling.py, guess.py) or reading it (the ingest).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.names import silent
from homelab_platform.readings.decode.mapping import METADATA_KEY, Mapping
from homelab_platform.readings.decode.record import Row
from homelab_platform.readings.sources.guess import guess
from homelab_platform.readings.sources.sampling import CannotRead, plain_name, take_sample
from homelab_platform.readings.sources.trial import SHOWN, Trial, told_apart
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import AlreadyExists, ObjectStore
from homelab_platform.wire.reading import safe_name
from homelab_platform.wire.tabular import Options

MOST_METADATA = 1800  # bytes; S3 allows 2 KB of user metadata in all
READ = 1 << 20
Progress = Callable[[str], None]
_SUFFIXES = {"influx-csv": "csv", "line-protocol": "lp", "prometheus": "prom", "zigbee2mqtt-log": "log"}


@dataclass(frozen=True)
class FilePlan:
    """How one file will be read. `mapping` is None when its columns are the contract's own."""

    path: Path
    format: str
    compressed: bool
    size: int
    columns: tuple[str, ...]
    mapping: Mapping | None
    notes: tuple[str, ...]
    trial: Trial
    shape: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "path": str(self.path),
            "format": self.format,
            "compressed": self.compressed,
            "size": self.size,
            "columns": list(self.columns),
            "mapping": None if self.mapping is None else orjson.loads(self.mapping.to_json()),
            "notes": list(self.notes),
            "shape": self.shape,
            "sample": self.trial.to_dict(),
        }

    def __str__(self) -> str:
        kind = f"{self.format}{', gzip' if self.compressed else ''}, {self.size:,} bytes"
        notes = (f"  note: {note}" for note in self.notes)
        return "\n".join([f"{self.path}: {kind}", *_explain(self.mapping), *notes, *_foresee(self.trial)])


@dataclass(frozen=True)
class UploadedFile:
    """One file in the bucket. `existed`: the same content with the same mapping was there before."""

    path: Path
    key: str
    size: int
    existed: bool
    mapping: Mapping | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        mapping = None if self.mapping is None else orjson.loads(self.mapping.to_json())
        return asdict(self) | {"path": str(self.path), "mapping": mapping}


def describe(paths: Iterable[Path], *, mapping: Mapping | None = None, zone: str | None = None) -> list[FilePlan]:
    """How each file would be read, and what would become of its first lines; nothing is sent.

    `mapping` holds what is known, the rest is guessed; `zone` is that of times without one (UTC if nobody says it).

    Raises HomelabError with the problems of all files at once.
    """
    plans: list[FilePlan] = []
    problems: list[Problem] = []
    for path in dict.fromkeys(paths):
        try:
            plans.append(_plan(path, mapping, zone))
        except CannotRead as error:
            problems.append(Problem(str(path), str(error), "", "file"))
        except PermissionError:
            problems.append(Problem(str(path), "may not be read by you", "Change its permissions.", "file"))
        except OSError as error:
            problems.append(Problem(str(path), f"cannot be read: {error.strerror or error}", "", "file"))
    if problems:
        raise HomelabError(problems)
    return plans


def put_files(
    lakehouse: Lakehouse,
    paths: Iterable[Path],
    *,
    stream: str,
    mapping: Mapping | None = None,
    zone: str | None = None,
    progress: Progress | None = None,
) -> list[UploadedFile]:
    """Upload files as objects `<stream>/files/<hash>-<name>`; the same file with the same mapping is one object.

    All files are looked at first: if one cannot be ingested nothing is sent. Raises HomelabError with every problem.
    """
    plans = describe(paths, mapping=mapping, zone=zone)
    say = progress or silent
    if not plans:
        return []
    with ObjectStore(lakehouse.objects) as store:
        return [_put(store, lakehouse.raw_bucket, stream, plan, say) for plan in plans]


def _plan(path: Path, given: Mapping | None, zone: str | None) -> FilePlan:
    if path.is_dir():
        raise CannotRead(f"is a folder; name its files, e.g. {path}/*.csv")
    if not path.exists():
        raise CannotRead("does not exist" + _near(path))
    if not path.is_file():
        raise CannotRead("is not a regular file")
    sample = take_sample(path, given.text if given else Options())
    found, trial = told_apart(sample, guess(sample, given, zone), given, zone)
    if found.mapping is not None and len(_metadata(found.mapping)) > MOST_METADATA:
        raise CannotRead(
            f"has too many columns to describe ({len(sample.columns)}); choose some with --melt COLUMN, or split it"
        )
    notes = list(found.notes)
    if trial.second_pass:
        notes.append(f"{trial.second_pass} times of the hour that comes twice are taken to be of its second pass")
    size = path.stat().st_size
    return FilePlan(path, sample.format, sample.compressed, size, sample.columns, found.mapping, tuple(notes), trial,
                    found.shape)  # fmt: skip


def _near(path: Path) -> str:
    from rapidfuzz import process

    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    found = process.extractOne(path.name, [other.name for other in path.parent.iterdir()], score_cutoff=75)
    return f"; did you mean {path.parent / found[0]}?" if found else ""


def _put(store: ObjectStore, bucket: str, stream: str, plan: FilePlan, say: Progress) -> UploadedFile:
    metadata = {} if plan.mapping is None else {METADATA_KEY: _metadata(plan.mapping)}
    say(f"reading {plan.path.name}")
    digest = _digest(plan.path)
    key = _key(stream, plan, hashlib.sha256(digest + "".join(metadata.values()).encode()).hexdigest())
    existed = store.head(bucket, key) is not None
    if not existed:
        with plan.path.open("rb") as file:
            body = _Watched(file, plan, digest, say)
            try:
                store.put(bucket, key, io.BufferedReader(body, READ), if_none_match=True, metadata=metadata)
            except AlreadyExists:
                existed = True  # somebody else sent the same file in this moment
    say(f"{plan.path.name} {'was there already' if existed else 'uploaded'}")
    return UploadedFile(plan.path, key, plan.size, existed, plan.mapping)


def _key(stream: str, plan: FilePlan, digest: str) -> str:
    """The suffix tells the format as it was found, whatever the file is called."""
    suffix = _SUFFIXES.get(plan.format, plan.format)
    return f"{stream}/files/{digest[:24]}-{safe_name(plain_name(plan.path))}.{suffix}{'.gz' if plan.compressed else ''}"


def _metadata(mapping: Mapping) -> str:
    """The mapping's JSON in ASCII, as headers need it."""
    return json.dumps(orjson.loads(mapping.to_json()), separators=(",", ":"), ensure_ascii=True)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class _Watched(io.RawIOBase):
    """The file while it is sent: says how far it is, and fails at the end if it is not the file that was looked at."""

    def __init__(self, file: IO[bytes], plan: FilePlan, digest: bytes, say: Progress) -> None:
        super().__init__()
        self._file = file
        self._plan = plan
        self._digest = digest
        self._say = say
        self._hash = hashlib.sha256()
        self._seen = 0
        self._said = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on. Raises HomelabError at the end of a file that changed meanwhile: then no object is made."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self._seen += len(data)
        if not data and self._hash.digest() != self._digest:
            raise HomelabError.of(str(self._plan.path), "changed while it was read", "Try again when it is complete.")
        done = 100 * self._seen // max(1, self._plan.size)
        if done >= self._said + 5 or not data:
            self._said = done
            self._say(f"uploading {self._plan.path.name}, {min(done, 100)} %")
        return len(data)


def _explain(mapping: Mapping | None) -> Sequence[str]:
    if mapping is None:
        return ["  columns are ts, device, sensor, value as they stand"]
    lines = ["  each field of a point is a sensor; tags tell series apart"] if mapping.series else []
    for name, source in mapping.fields.items():
        what = f"column {source.column!r}" if source.column is not None else f"always {source.const!r}"
        what += f" and {source.also!r}" if source.also else ""
        lines.append(f"  {name} ← {what}" + (f", zone {source.tz}" if source.tz else ""))
    if mapping.melt:
        lines.append(f"  a sensor each: {', '.join(mapping.melt)}")
    if mapping.keep:
        lines.append(f"  kept as they are: {', '.join(mapping.keep)}")
    return lines


def _foresee(trial: Trial) -> list[str]:
    """What would become of the sample, with its first readings and refusals."""
    lines = [f"  of the first lines: {len(trial.rows)} readings, {len(trial.refused)} refused"]
    lines += [f"    line {line}: {_spelled(row)}" for line, row in trial.rows[:SHOWN]]
    lines += [f"    line {one.line} refused: {one.reason}" for one in trial.refused[:SHOWN]]
    return lines


def _spelled(row: Row) -> str:
    moment = datetime.fromtimestamp(row.ts / 1e6, UTC).isoformat(timespec="auto").replace("+00:00", "Z")
    unit = f" {row.unit}" if row.unit else ""
    return f"{moment}  {row.device}  {row.sensor}  {row.value:g}{unit}"
