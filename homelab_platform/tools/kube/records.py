"""Helm's own record of a revision, as it lies in a Secret: JSON, gzip, base64, and base64 once more by Kubernetes.

Belongs here: packing and unpacking (https://helm.sh/docs/topics/advanced/#storage-backends). Not here: what stands in a
record (releases.py, volumes.py).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any


def unpacked(secret: Mapping[str, Any]) -> dict[str, Any]:
    """The record in a Secret of Helm's, as the API server gives it."""
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    return found


def packed(record: Mapping[str, object]) -> str:
    """The value of a Secret's key `release` for this record, as the API server takes it."""
    return base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode()))).decode()
