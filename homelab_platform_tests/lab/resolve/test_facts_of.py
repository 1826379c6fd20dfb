"""A section of the lab as data is what pydantic would make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from homelab_platform.lab.load import load_lab
from homelab_platform.lab.resolve.chosen import facts_of, plain
from homelab_platform.paths import project_path

EXAMPLES = sorted(project_path("examples").glob("*/lab.yaml"))


def _sections(value: Any) -> Iterator[BaseModel]:
    below: Iterable[Any] = value if isinstance(value, (list, tuple)) else ()
    if isinstance(value, BaseModel):
        yield value
        below = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict):
        below = value.values()
    for part in below:
        yield from _sections(part)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
@pytest.mark.parametrize("exclude_none", [False, True])
def test_every_section_of_the_examples(file: Path, exclude_none: bool) -> None:
    for section in _sections(load_lab(file).lab):
        expected = plain(section.model_dump(exclude_none=exclude_none))
        assert facts_of(section, exclude_none=exclude_none) == expected, type(section).__name__
