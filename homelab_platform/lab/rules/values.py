"""Walking through Helm values and other plain data with the path of every leaf.

Belongs here: the walk, and reading references. Not here: rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from homelab_platform.lab import quantities as q
from homelab_platform.lab.positions import Path

REFERENCE = q.SECRET_REFERENCE
RESOLVED_WAYS = q.REFERENCES


def leaves(data: object, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything that is not a mapping or a list, in order."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(data, (list, tuple)):
        for index, value in enumerate(data):
            yield from leaves(value, (*path, index))
    else:
        yield path, data


def is_reference(value: object) -> bool:
    """Whether a value leads to a secret instead of being one: sops:…, env:…, file:…, vault:…, or ${…} of the lab."""
    return isinstance(value, str) and (bool(REFERENCE.fullmatch(value.strip())) or "${" in value or "$(" in value)
