"""numpy to Arrow without copying, and without pandas.

Belongs here: making Arrow arrays from buffers. `pyarrow.array` imports pandas to look whether it was given a pandas
object: most of a CPU-second, which is longer than a small ingest takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def _validity(missing: NDArray[np.bool_] | None) -> tuple[object, int]:
    if missing is None or not missing.any():
        return None, 0
    return pa.py_buffer(np.packbits(~missing, bitorder="little")), int(missing.sum())


def fixed(values: NDArray[Any], kind: pa.DataType, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array of a fixed-width type; `values` holds its physical form (microseconds, days, numbers)."""
    bitmap, nulls = _validity(missing)
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))], nulls)


def booleans(values: NDArray[np.bool_], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array of truth values."""
    bitmap, nulls = _validity(missing)
    packed = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [bitmap, packed], nulls)


def strings(values: Sequence[str]) -> pa.Array:
    """An array of texts."""
    encoded = [v.encode() for v in values]
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(e) for e in encoded], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers, 0)


def coded(codes: NDArray[np.int32], values: Sequence[str]) -> pa.Array:
    """An array of texts given as codes into `values`; -1 is none."""
    indices = fixed(codes, pa.int32(), codes < 0)
    return pa.DictionaryArray.from_arrays(indices, strings(values))
