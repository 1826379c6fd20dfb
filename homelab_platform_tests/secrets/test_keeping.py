"""Making, recipients, rotation: what exists is never replaced, whoever left can read nothing, plain sops agrees."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.secrets import keeping, sops
from homelab_platform.secrets.audit import problems_of, rows_of
from homelab_platform.secrets.generated import generated_by, make, public_half
from homelab_platform.secrets.recipients import audience_of, make_key, ssh_to_age
from homelab_platform.secrets.reference import parse
from homelab_platform.secrets.values import reveal
from homelab_platform.wire import bech32
from homelab_platform_tests.secrets.conftest import Scene


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content."""
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def made_scene(scene: Scene) -> Scene:
    """The scene after what `homelab secrets init` does."""
    keeping.make_missing(scene.lab(), scene.folder)
    keeping.align_recipients(scene.lab(), scene.folder)
    return scene


def test_a_second_run_changes_no_byte(scene: Scene) -> None:
    made_scene(scene)
    before = tree(scene.folder)
    assert keeping.make_missing(scene.lab(), scene.folder) == []
    assert keeping.align_recipients(scene.lab(), scene.folder) == []
    assert tree(scene.folder) == before


def test_public_halves_reach_the_resolved_lab_and_private_ones_do_not(scene: Scene) -> None:
    made_scene(scene)
    lab = scene.lab()
    star = lab.network.vpn["wireguard"]
    private = reveal("sops:secrets/hosts/pi-2.yaml#wireguard", scene.folder)
    assert star["peers"]["pi-2"]["public_key"] == public_half("wireguard", private)
    assert star["hub_public_key"] == (scene.folder / "keys/wireguard/pi-1.pub").read_text().strip()
    text = lab.to_json().decode()
    for secret in generated_by(lab):
        assert reveal(str(secret.reference), scene.folder).splitlines()[-2:][0] not in text


def test_each_host_lists_what_is_to_be_delivered_to_it(scene: Scene) -> None:
    made_scene(scene)
    first, second = scene.lab().hosts["pi-1"].secrets, scene.lab().hosts["pi-2"].secrets
    assert first["k3s-token"].reference == "sops:secrets/k3s.yaml#token"
    assert first["wireguard"].units == ("systemd-networkd.service",)
    assert second["app"].model_dump() == {
        "name": "app",
        "reference": "sops:secrets/app.yaml#token",
        "path": "/var/lib/homelab/secrets/app",
        "owner": "www-data",
        "group": "www-data",
        "mode": "0440",
        "units": ("app.service",),
    }


def decrypts(file: Path, **environment: str) -> bool:
    """Whether plain sops opens a file with nothing but these keys."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SOPS_")}
    done = subprocess.run(
        [sops.program(), "decrypt", str(file)],
        env={**kept, "HOME": "/nonexistent", **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def test_a_host_opens_its_own_file_with_its_ssh_key_and_nothing_else(scene: Scene, tmp_path: Path) -> None:
    made_scene(scene)
    key = tmp_path / "host_key"
    key.write_text(reveal("sops:secrets/hosts/pi-2.yaml#ssh_host_ed25519_key", scene.folder) + "\n")
    key.chmod(0o600)
    own, other = (scene.folder / "secrets" / "hosts" / f"pi-{n}.yaml" for n in (2, 1))
    assert decrypts(own, SOPS_AGE_SSH_PRIVATE_KEY_FILE=str(key))
    assert not decrypts(other, SOPS_AGE_SSH_PRIVATE_KEY_FILE=str(key))
    assert not decrypts(scene.folder / "secrets" / "k3s.yaml", SOPS_AGE_SSH_PRIVATE_KEY_FILE=str(key))
    listed = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert listed.split()[1] == (scene.folder / "keys/hosts/pi-2.pub").read_text().split()[1]


def test_the_recovery_key_alone_opens_everything(scene: Scene) -> None:
    made_scene(scene)
    for file in (scene.folder / "secrets").rglob("*.yaml"):
        assert decrypts(file, SOPS_AGE_KEY=scene.recovery)


def test_whoever_leaves_reads_nothing_from_then_on(scene: Scene) -> None:
    private, public = make_key()
    lab_file = scene.folder / "lab.yaml"
    text = lab_file.read_text()
    lab_file.write_text(text.replace(f"recipients: {scene.own}", f"recipients: [{scene.own}, {public}]"))
    made_scene(scene)
    file = scene.folder / "secrets" / "k3s.yaml"
    assert decrypts(file, SOPS_AGE_KEY=private)
    lab_file.write_text(text)
    assert {p.rule for p in problems_of(scene.lab(), scene.folder)} == {"recipients", "dead-reference"}
    keeping.align_recipients(scene.lab(), scene.folder)
    assert not decrypts(file, SOPS_AGE_KEY=private)
    assert {p.rule for p in problems_of(scene.lab(), scene.folder)} == {"dead-reference"}


def test_a_rotated_pair_matches_and_the_others_stay(scene: Scene) -> None:
    made_scene(scene)
    before = tree(scene.folder)
    (chosen,) = (s for s in generated_by(scene.lab()) if s.host == "pi-2" and s.kind == "wireguard")
    keeping.rotate_generated(scene.lab(), scene.folder, [chosen])
    after = tree(scene.folder)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"secrets/hosts/pi-2.yaml", "keys/wireguard/pi-2.pub"}
    assert [p for p in problems_of(scene.lab(), scene.folder) if p.rule != "dead-reference"] == []


@pytest.mark.parametrize("lost", ["keys/wireguard/pi-1.pub", "keys/wireguard/pi-2.pub"])
def test_a_public_half_that_was_lost_or_confused_is_found_and_restored(scene: Scene, lost: str) -> None:
    made_scene(scene)
    file = scene.folder / lost
    right = file.read_text()
    file.write_text(make("wireguard")[1] + "\n")
    assert [p.where for p in problems_of(scene.lab(), scene.folder) if p.rule == "host-key"] == [lost]
    file.unlink()
    keeping.make_missing(scene.lab(), scene.folder)
    assert file.read_text() == right


def test_a_host_that_is_known_keeps_its_key(scene: Scene) -> None:
    known = make("ssh-host-key")[1]
    (scene.folder / "known_hosts").write_text(f"pi-1 {known}\n")
    made_scene(scene)
    assert (scene.folder / "keys/hosts/pi-1.pub").read_text().strip() == known
    rows = {row.reference: row.state for row in rows_of(scene.lab(), scene.folder)}
    assert "sops:secrets/hosts/pi-1.yaml#ssh_host_ed25519_key" not in rows
    assert " ".join(known.split()) in audience_of(scene.lab()).of("secrets/hosts/pi-1.yaml")


def test_plain_sops_encrypts_for_the_same_people(scene: Scene) -> None:
    made_scene(scene)
    new = scene.folder / "secrets" / "new.yaml"
    new.write_text("a: b\n")
    subprocess.run([sops.program(), "encrypt", "-i", "secrets/new.yaml"], cwd=scene.folder, check=True)
    assert set(sops.recipients_of(new)) == set(audience_of(scene.lab()).of("secrets/new.yaml"))


def test_a_value_changes_its_own_line_and_no_other(scene: Scene) -> None:
    lab, folder = scene.lab(), scene.folder
    for name in ("a", "b", "c"):
        keeping.set_value(lab, folder, parse(f"sops:secrets/x.yaml#{name}"), name)
    before = sops.read_names(folder / "secrets" / "x.yaml").ciphertext
    keeping.set_value(lab, folder, parse("sops:secrets/x.yaml#b"), "other")
    after = sops.read_names(folder / "secrets" / "x.yaml").ciphertext
    assert {key for key in after if after[key] != before[key]} == {("b",)}


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=25)
def test_the_recipient_of_a_host_key_is_the_one_that_its_private_half_opens(seed: bytes) -> None:
    """ssh-to-age by the other way: the clamped hash of the seed is the X25519 key (RFC 8032, RFC 7748)."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    scalar = hashlib.sha512(seed).digest()[:32]
    identity = pyrage.x25519.Identity.from_str(bech32.encode("age-secret-key-", scalar).upper())
    assert str(identity.to_public()) == ssh_to_age(public)


def test_rules_that_somebody_else_wrote_are_left(scene: Scene) -> None:
    (scene.folder / ".sops.yaml").write_text("creation_rules: []\n")
    with pytest.raises(Exception, match="was not written by homelab"):
        keeping.align_recipients(scene.lab(), scene.folder)
    assert (scene.folder / ".sops.yaml").read_text() == "creation_rules: []\n"
