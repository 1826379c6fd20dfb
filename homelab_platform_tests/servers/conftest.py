"""An empty folder for a site of the test's own; the lab is the module's `LAB`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform import paths
from homelab_platform.servers.site.files import Layout
from homelab_platform.servers.site.site import down
from homelab_platform.servers.supervise import processes


@pytest.fixture
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """An empty data folder of a site, on a path with a space; whatever runs there is ended after the test."""
    home = Path(tempfile.mkdtemp(prefix="homelab site "))
    monkeypatch.setenv("HOMELAB_DATA", str(home))
    made = Layout(paths.site_path(str(request.module.LAB)))
    yield made
    down(made.root)
    left = processes.carrying(made.mark)
    shutil.rmtree(home)
    assert left == []
