"""`homelab secrets` as a person uses it: a lab without any, then with all of them, and no value where none belongs."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest

from homelab_platform.paths import PROJECT
from homelab_platform_tests.cli.conftest import Homelab

CANARY = "cAnArY-77e1b9"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3"
TOKEN = "sops:secrets/dns.yaml#cloudflare"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of an example that names recipients of others: they are taken out."""
    for name in ("XDG_CONFIG_HOME", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    folder = tmp_path / "lab"
    shutil.copytree(PROJECT / "examples" / "pi-cluster", folder)
    text = (folder / "lab.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("recipients: age1")]
    (folder / "lab.yaml").write_text("\n".join(lines) + "\n")
    return folder


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give standard input, which is no terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.slow
def test_from_nothing_to_every_secret(
    lab: Path, homelab: Homelab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = tmp_path / "paper"
    without = homelab("secrets", "init", lab)
    assert (without.code, (lab / "secrets").exists()) == (1, False)
    assert "--recovery-to" in without.err

    first = homelab("secrets", "init", lab, "--recovery-to", paper)
    assert first.code == 0, first.err
    assert paper.stat().st_mode & 0o777 == 0o600
    private = next(word for word in paper.read_text().split() if word.startswith("AGE-SECRET-KEY-"))
    assert private not in first.out + first.err
    assert homelab("check", lab).code == 0

    typed(monkeypatch, f"{CANARY}\n")
    assert homelab("secrets", "edit", "-l", lab, TOKEN).code == 0
    assert homelab("secrets", "show", "-l", lab, TOKEN, "--reveal").out == f"{CANARY}\n"

    rows = homelab("secrets", "show", "-l", lab, "--json")
    states = {row["reference"]: row["state"] for row in rows.json()}
    assert states[TOKEN] == "present"
    assert states["sops:secrets/oauth.yaml#github"] == "missing"
    audit = homelab("secrets", "audit", lab, "--json")
    assert audit.code == 1
    assert {p["rule"] for p in audit.json()["problems"]} == {"dead-reference"}

    for words in (("show", "--json", "-l", lab), ("show", "--why", "-l", lab), ("secrets", "show", "-l", lab)):
        said = homelab(*words)
        assert CANARY not in said.out + said.err
    everything = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file != paper)
    assert CANARY.encode() not in everything
    assert private.encode() not in everything


@pytest.mark.slow
def test_rotation_is_refused_where_a_service_would_not_follow(lab: Path, homelab: Homelab, tmp_path: Path) -> None:
    assert homelab("secrets", "init", lab, "--recovery-to", tmp_path / "paper").code == 0
    key = lab / "keys" / "wireguard" / "pi-worker-1.pub"
    before = key.read_text()
    assert homelab("secrets", "rotate", "pi-worker-1", "-l", lab).code == 0
    assert key.read_text() != before
    refused = homelab("secrets", "rotate", "sops:secrets/backup.yaml#password", "-l", lab)
    assert (refused.code, "must be given the new one first" in refused.err) == (1, True)
    assert homelab("secrets", "rotate", "--keys", "-l", lab).code == 0


def test_who_may_not_read_the_lab_makes_nothing(
    homelab: Homelab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ben"))
    monkeypatch.delenv("SOPS_AGE_KEY_FILE", raising=False)
    shutil.copytree(PROJECT / "examples" / "single-pi", tmp_path / "lab")
    said = homelab("secrets", "init", tmp_path / "lab", "--recovery-to", tmp_path / "paper")
    assert said.code == 1
    assert "none of this account's keys" in said.err
    assert not (tmp_path / "lab" / "secrets").exists()
    assert not (tmp_path / "paper").exists()


@pytest.mark.slow
def test_a_lab_whose_nixos_hosts_lack_their_tunnels_keys_is_furnished(
    homelab: Homelab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    monkeypatch.delenv("SOPS_AGE_KEY_FILE", raising=False)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.yaml").write_text(
        "lab: home\n"
        "network: {lan: 192.168.0.0/24, gateway: 192.168.0.1, vpn: {wireguard: {hub: pi, endpoint: vpn.example.org}}}\n"
        "hosts:\n"
        "  pi: {board: pi5-8gb, os: nixos, address: 192.168.0.11}\n"
        f"people: {{ada: {{role: admin, ssh: ssh-ed25519 {KEY}}}}}\n"
    )
    assert "nixos-tunnel-key" in homelab("check", tmp_path / "lab", "--json").out
    made = homelab("secrets", "init", tmp_path / "lab", "--recovery-to", tmp_path / "paper")
    assert made.code == 0, made.err
    assert homelab("check", tmp_path / "lab").code == 0
