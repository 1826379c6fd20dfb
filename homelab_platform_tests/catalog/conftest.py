"""A small catalogue of a test's own, and the cache kept out of the user's home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ENTRY = """\
title: Thing
description: Does things.
tier: extras
kind: app
home: https://example.org
licence: MIT
image: example.org/thing:1.0
arm64: {runs: 'yes', evidence: a test}
requests: {cpu: 100m, memory: 64Mi, basis: estimate}
namespace: things
ports: {http: 8080}
backup: {method: none, note: it holds nothing}
"""

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a cache folder of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HOMELAB_CACHE", str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder instead of the real one."""
    folder = tmp_path / "project"
    (folder / "helm").mkdir(parents=True)
    monkeypatch.setenv("HOMELAB_PROJECT", str(folder))
    return folder


@pytest.fixture
def write(project: Path) -> Write:
    """Writes `helm/<name>/workload.yaml` of the test's project, or below another folder."""

    def writer(name: str, text: str = ENTRY, root: Path | None = None) -> Path:
        path = (root or project / "helm") / name / "workload.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return writer
