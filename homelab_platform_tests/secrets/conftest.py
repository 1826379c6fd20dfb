"""A lab with secrets of its own, and an account that may read them.

Belongs here: what the tests of this folder share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.secrets import recipients
from homelab_platform.secrets.keeping import lab_to_furnish
from homelab_platform.secrets.sops import KEY_VARIABLES

LAB = """lab: home
network:
  lan: 192.168.0.0/24
  gateway: 192.168.0.1
  vpn: {{wireguard: {{hub: pi-1, endpoint: vpn.example.org}}}}
hosts:
  pi-1: {{board: pi5-8gb, os: nixos, address: 192.168.0.11, k3s: server}}
  pi-2:
    board: pi5-8gb
    os: nixos
    address: 192.168.0.12
    secrets:
      app: {{from: sops:secrets/app.yaml#token, owner: www-data, group: www-data, mode: "0440", units: app.service}}
people:
  ada: {{role: admin, ssh: ssh-ed25519 {key} ada}}
cluster: {{token: sops:secrets/k3s.yaml#token}}
secrets: {{recipients: {own}, recovery: {recovery}}}
"""
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3"


@dataclass(frozen=True)
class Scene:
    """A lab's folder and the account that works on it."""

    folder: Path
    own: str
    recovery: str  # private

    def lab(self) -> ResolvedLab:
        """The lab as it resolves now."""
        return lab_to_furnish(self.folder / "lab.yaml", load_catalogue())


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """An account with an age key, and a lab that names it and a recovery key."""
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    for name in ("XDG_CONFIG_HOME", "HOMELAB_LAB", *KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    own, _ = recipients.ensure_own_key()
    private, public = recipients.make_key()
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "lab.yaml").write_text(LAB.format(key=KEY, own=own, recovery=public))
    return Scene(folder, own, private)
