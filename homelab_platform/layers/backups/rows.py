"""Rows of Iceberg tables: how many, and a checksum that does not depend on their order.

Belongs here: counting the files of a copy once each, and tables through a catalog. A row's hash is 64 bits of the MD5
of its text; a checksum is the sum of hashes, so that of the readings is the sum over their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.layers.backups.manifest import FileEntry, LakeTable, Manifest, Rows
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile

    from homelab_platform.tools.duckdb import TablePointer

MOST_ROWS = 5_000_000
"""Rows up to which a table other than the readings has a checksum: it is read as a whole at each backup."""
_READING = "concat_ws('|', epoch_us(ts), device, sensor, coalesce(value::VARCHAR, ''))"
_SUM = "count(*), coalesce(sum(md5_number_lower({text})::HUGEINT), 0)::VARCHAR"


def engine_version() -> str:
    """Which engine's text of a row the checksums are of."""
    import duckdb as engine

    return f"duckdb {engine.__version__}"


def rows_of(sql: DuckDBPyConnection, pointer: TablePointer, *, checksum: bool = True) -> Rows:
    """Rows of a table that the connection shows in its catalog `hive`."""
    table = f'hive."{pointer.namespace}"."{pointer.name}"'
    if pointer.identifier == READINGS:
        statement = f"SELECT {_SUM.format(text=_READING)} FROM {table}"  # noqa: S608 (names of a catalog)
    elif checksum:
        statement = f"SELECT {_SUM.format(text='t::VARCHAR')} FROM {table} t"  # noqa: S608 (names of a catalog)
    else:
        statement = f"SELECT count(*), '' FROM {table}"  # noqa: S608 (names of a catalog)
    row = sql.execute(statement).fetchone()
    return Rows(count=int(row[0]), checksum=str(row[1])) if row else Rows(count=0)


def lake_rows(lakehouse: Lakehouse, expected: Mapping[str, LakeTable]) -> dict[str, Rows]:
    """Rows of those of the `expected` tables that the lake has, read through its catalog."""
    pointers = [p for p in duckdb.table_pointers(lakehouse) if p.identifier in expected]
    with closing(duckdb.connect(lakehouse, pointers=pointers)) as sql:
        return {p.identifier: rows_of(sql, p, checksum=bool(expected[p.identifier].rows.checksum)) for p in pointers}


def table_rows(lakehouse: Lakehouse, pointer: TablePointer, files: Sequence[DataFile]) -> Rows:
    """Rows of a table as of one metadata file, read as a whole; without a checksum where it is large."""
    counted = sum(file.record_count for file in files)
    with closing(duckdb.connect(lakehouse, pointers=[pointer])) as sql:
        return rows_of(sql, pointer, checksum=counted <= MOST_ROWS)


def reading_files(folder: Path, entries: Sequence[FileEntry], before: Manifest | None) -> dict[str, Rows]:
    """Rows of each data file of the readings, by address; those of the copy `before` are not read again."""
    known = (
        before.lake[READINGS].files if before and before.engine == engine_version() and READINGS in before.lake else {}
    )
    found = {entry.name: known[entry.name] for entry in entries if entry.name in known}
    fresh = {str(folder / entry.path): entry.name for entry in entries if entry.name not in found}
    if fresh:
        found |= {fresh[path]: rows for path, rows in _of_files(fresh)}
    return found


def _of_files(paths: Iterable[str]) -> Iterable[tuple[str, Rows]]:
    statement = f"SELECT filename, {_SUM.format(text=_READING)} FROM read_parquet($files, filename=true) GROUP BY 1"  # noqa: S608 (constants)
    with closing(duckdb.open_offline()) as sql:
        for path, count, checksum in sql.execute(statement, {"files": sorted(paths)}).fetchall():
            yield str(path), Rows(count=int(count), checksum=str(checksum))


def total(files: Mapping[str, Rows]) -> Rows:
    """Rows of all files together."""
    return Rows(
        count=sum(rows.count for rows in files.values()),
        checksum=str(sum(int(rows.checksum or 0) for rows in files.values())),
    )
