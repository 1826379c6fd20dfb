"""What JSON can say, as a type.

Belongs here: the type of a decoded value, read-only, for whatever has not become a typed model yet or never does (a
chart's values, what another program answered). Not here: readers of one format (payload.py, poll.py).

A value is narrowed with `isinstance` before it is used; str first, because a str is a sequence too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A value of JSON. Read-only, so that a `dict[str, str]` is one too."""

Document: TypeAlias = "Mapping[str, Json]"
"""A JSON object: the desired state of an asset, facts of an observation, the settings of a source."""
