"""Two sites that start at once do not choose one port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homelab_platform.servers.site.checks import UI_PORT, choose_ports
from homelab_platform.servers.supervise import ports

CLAIM = (
    "import sys; from homelab_platform.servers.supervise import ports; print(ports.claim(int(sys.argv[1])), flush=True)"
)


def test_a_port_that_another_process_claims_is_not_chosen_until_that_process_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: True)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    other = subprocess.Popen(
        [sys.executable, "-c", f"{CLAIM}; input()", str(UI_PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline().strip() == "True"
    assert choose_ports({}, None, print, ("ui",))["ui"] != UI_PORT
    other.communicate("\n")
    assert choose_ports({}, None, print, ("ui",)) == {"ui": UI_PORT}
    assert choose_ports({}, None, print, ("ui",)) == {"ui": UI_PORT}, "a process may claim its own port again"
