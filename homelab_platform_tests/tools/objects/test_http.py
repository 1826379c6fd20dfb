"""The seam below the `minio` library, and why it is there."""

from __future__ import annotations

import inspect

from minio import Minio
from minio.helpers import genheaders


def test_the_library_cannot_send_the_condition_of_a_write_yet() -> None:
    """Once it can, `tools/objects/http.py` has no reason to be: put_object takes the header, and the pool goes."""
    made = genheaders({"If-None-Match": "*"}, None, None, None, False)
    assert "if-none-match" not in {name.lower() for name in made}, "a write's own header: use it, and drop the pool"
    taken = set(inspect.signature(Minio.put_object).parameters)
    assert not {name for name in taken if "match" in name or "header" in name}, taken
