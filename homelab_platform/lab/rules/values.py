"""Walking through Helm values and other plain data with the path of every leaf.

Belongs here: the walk, and reading references. Not here: rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from homelab_platform.lab.positions import Path

SECRET_WAYS = "sops:secrets/NAME.yaml#key, env:NAME, file:path or vault:path#key"  # noqa: S105 - how to write one
REFERENCE = re.compile(r"(?:sops|vault):[^#\s]+#\S+|env:[A-Za-z_][A-Za-z0-9_]*|file:\S+")


def leaves(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, value) of everything that is not a mapping or a list, in order."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(data, (list, tuple)):
        for index, value in enumerate(data):
            yield from leaves(value, (*path, index))
    else:
        yield path, data


def is_reference(value: Any) -> bool:
    """Whether a value leads to a secret instead of being one: sops:…, env:…, file:…, vault:…, or ${…} of the lab."""
    return isinstance(value, str) and (bool(REFERENCE.fullmatch(value.strip())) or "${" in value or "$(" in value)
