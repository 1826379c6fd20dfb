"""Where the shared cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform import paths


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "/home/ada/.cache/homelab-platform"),
        ({"XDG_CACHE_HOME": "/big/cache"}, "/big/cache/homelab-platform"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/ada/.cache/homelab-platform"),
        ({"XDG_CACHE_HOME": ""}, "/home/ada/.cache/homelab-platform"),
        ({"XDG_CACHE_HOME": "/big/cache", "HOMELAB_CACHE": "/own"}, "/own"),
    ],
)
def test_the_cache_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], expected: str
) -> None:
    for name in ("HOMELAB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert paths.cache_home() == Path(expected)
