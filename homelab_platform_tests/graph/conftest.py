"""What the tests of the graph share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

with warnings.catch_warnings():
    # Importing dagster itself, on this Python, warns of what its own dependencies will drop.
    warnings.simplefilter("ignore")
    from dagster import DagsterInstance


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """A Dagster instance that lives in memory."""
    with DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
