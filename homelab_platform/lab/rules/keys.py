"""Rules about keys: SSH public keys of people, age recipients.

Belongs here: whether a key is a public one, of a kind that is still good, and in one piece. Secrets in plain text are
in secrets.py.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from pathlib import Path as FilePath

from homelab_platform.errors import Position, Problem
from homelab_platform.lab import beside
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.wire import bech32

GOOD = (
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
LEAST_RSA_BITS = 2048
MAX_BYTES = 16_384
NEW_KEY = "Make a new one: ssh-keygen -t ed25519."
Complaint = tuple[str, str]  # what is wrong, what to do


def ssh_key(ctx: RuleContext) -> Iterable[Problem]:
    """A key that is missing, private, outdated or damaged is found out when nobody can log in any more."""
    for name, person in ctx.lab.people.items():
        for index, key in enumerate(person.ssh):
            path: Path = ("people", name, "ssh", index)
            inline = " " in key.strip() or key.startswith(("-----BEGIN", *GOOD, "ssh-"))
            found = key_complaint(key) if inline else _file_complaint(ctx.folder, key)
            if found:
                what, remedy = found
                yield ctx.problem(path, f"{name}: {'this key' if inline else q.shown(key)} {what}", remedy, "ssh-key")


def _file_complaint(folder: FilePath, key: str) -> Complaint | None:
    if "\\" in key or "\x00" in key:
        return None  # windows_path speaks of it
    file = folder / FilePath(key).expanduser()
    try:
        status = file.stat()
        text = file.read_bytes()[:MAX_BYTES].decode("utf-8-sig")
    except FileNotFoundError:
        near = q.nearest(file.name, [p.name for p in file.parent.glob("*.pub")]) if file.parent.is_dir() else None
        hint = f"Did you mean {(FilePath(key).parent / near).as_posix()}?" if near else "Copy the public key there."
        return "is not there", hint
    except IsADirectoryError:
        return "is a folder", "Name the file of one public key, such as keys/ada.pub."
    except (OSError, ValueError):
        return "cannot be read", "Check its rights: chmod 644."
    if status.st_mode & 0o002:
        return "may be changed by everybody on this machine", f"Run chmod 644 {key}."
    return key_complaint(text)


def key_complaint(text: str) -> Complaint | None:
    """What is wrong with the text of a public key; None when it is a good one. The key is never repeated."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if "PRIVATE KEY" in text or "AGE-SECRET-KEY" in text:
        return "is a private key", "Name the public one (it ends in .pub), and keep the private one to yourself."
    if re.search("BEGIN (?:SSH2 |RSA )?PUBLIC KEY", text):
        return "is a public key in another form", "Convert it: ssh-keygen -i -f KEY, and save one line."
    if len(lines) > 1:
        return f"holds {len(lines)} keys", "Give one file for each key: ssh: [keys/ada.pub, keys/ada-laptop.pub]."
    return _line_complaint(lines[0]) if lines else ("is empty", NEW_KEY)


def _line_complaint(line: str) -> Complaint | None:
    kind, _, rest = line.partition(" ")
    if kind in ("ssh-dss", "ssh-dsa"):
        return "is a DSA key, which OpenSSH no longer accepts", NEW_KEY
    if kind not in GOOD:
        return (
            "is not an SSH public key",
            "It begins with ssh-ed25519, ssh-rsa or ecdsa-sha2-…, without options before.",
        )
    return _blob_complaint(kind, rest.split(" ")[0])


def _blob_complaint(kind: str, encoded: str) -> Complaint | None:
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return "is damaged", "Copy it again as one line; a piece is missing or a character too many."
    fields = _fields(blob)
    if not fields or fields[0] != kind.encode():
        return "is damaged", "Copy it again as one line; a piece is missing or a character too many."
    if kind == "ssh-ed25519" and (len(fields) < 2 or len(fields[1]) != 32):
        return "is damaged", "Copy it again as one line; a piece is missing or a character too many."
    if kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length() if len(fields) > 2 else 0
        if bits < LEAST_RSA_BITS:
            return f"is an RSA key of {bits} bits, which is too short", NEW_KEY
    return None


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed fields of a key (RFC 4253, section 6.6); empty when they do not add up."""
    found, at = [], 0
    while at + 4 <= len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        if at + 4 + size > len(blob):
            return []
        found.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return found if at == len(blob) else []


def age_recipient(ctx: RuleContext) -> Iterable[Problem]:
    """SOPS encrypts for its recipients: with none, nobody can read the secrets; with a damaged one, nobody writes."""
    secrets = ctx.lab.secrets
    for index, key in enumerate(secrets.recipients):
        if complaint := recipient_complaint(key):
            yield ctx.problem(("secrets", "recipients", index), *complaint, "age-recipient")
    if secrets.recovery and (complaint := recipient_complaint(secrets.recovery)):
        yield ctx.problem(("secrets", "recovery"), *complaint, "age-recipient")
    by_sops = ctx.positions.written("secrets", "backend") or any(
        mark.raw is not None and mark.raw.startswith("sops:") for mark in ctx.positions.marks.values()
    )
    if secrets.backend == "sops" and by_sops and ctx.positions.written("secrets") and not secrets.recipients:
        what = "secrets are kept by SOPS, but no age recipient may read them"
        remedy = "Run homelab secrets init; or add recipients: [age1…]."
        yield ctx.problem(("secrets",), what, remedy, "age-recipient", key=True)


def recipient_complaint(key: str) -> Complaint | None:
    """What is wrong with an age recipient (Bech32, BIP 173, of 32 bytes); None when it is good."""
    if key.upper().startswith("AGE-SECRET-KEY"):
        return (
            "a private age key stands here",
            "Write the public one (age1…), and make a new pair: this one is known now.",
        )
    if not key.startswith("age1"):
        found = key_complaint(key)
        return (f"this recipient {found[0]}", found[1]) if found else None
    if len(key) != 62 or not bech32.is_valid(key):
        return f"{key[:12]}… is not an age recipient", "Copy it again: a character is missing or wrong (62 in all)."
    return None


def host_key(ctx: RuleContext) -> Iterable[Problem]:
    """A damaged public half, or one that two hosts share, is found out when a tunnel stays silent."""
    seen: dict[str, str] = {}
    for name in ctx.lab.hosts:
        for place, complaint in ((beside.WIREGUARD, _wireguard_complaint), (beside.SSH, key_complaint)):
            file = place.format(name)
            key = ctx.loaded.texts.get(file)
            if key is None:
                continue
            found = complaint(key.strip())
            if found is None and key in seen:
                found = (f"is the key of {seen[key]} too", f"Make one for {name}: homelab secrets rotate {name}.")
            if found is not None:
                yield Problem(Position(file, 1, 1), f"{name}: this key {found[0]}", found[1], "host-key")
            seen.setdefault(key, name)


def _wireguard_complaint(key: str) -> Complaint | None:
    try:
        whole = len(base64.b64decode(key, validate=True)) == 32
    except (binascii.Error, ValueError):
        whole = False
    return None if whole else ("is no WireGuard key", "Restore it from git, or homelab secrets init makes it anew.")


RULES = (ssh_key, age_recipient, host_key)
