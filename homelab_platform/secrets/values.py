"""The only place that turns a reference into a secret.

Belongs here: `env:`, `file:` and `sops:`. `vault:` is refused: nothing resolves it in this version. Callers keep a
value for no longer than its use; errors name the reference and never a value.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.secrets import sops
from homelab_platform.secrets.reference import Reference, parse

LONGEST = 1 << 20
"""Most bytes of a secret that lies in a file."""


def lab_folder(root: Path) -> Path:
    """The folder that references start from, for a process of the site in `root`: that of its lab file."""
    lab = Path(os.environ.get("HOMELAB_LAB") or root / "lab.yaml")
    return lab if lab.is_dir() else lab.parent


def reveal(text: str, folder: Path) -> str:
    """The secret behind the reference `text` of the lab file in `folder`, without white space at its end.

    Raises HomelabError if it cannot be had: the reference, what is wrong with it, what to do.
    """
    reference = parse(text)
    if reference.kind == "env":
        value = _of_environment(reference)
    elif reference.kind == "file":
        value = _of_file(reference, folder)
    elif reference.kind == "sops":
        value = sops.decrypt(reference, folder)
    else:
        remedy = "Write sops:secrets/NAME.yaml#key instead."
        raise HomelabError.of(text, "vault: is not resolved by this version", remedy, "vault-reference")
    value = value.rstrip()
    if not value:
        raise HomelabError.of(text, "is empty", f"Give it a value: {_cure(reference)}", "secret-missing")
    return value


def variables_of(lab_file: Path) -> tuple[str, ...]:
    """The variables that `env:` references of the lab file name, sorted; none for a file that is no lab."""
    from homelab_platform.lab.load import load_lab
    from homelab_platform.lab.quantities import SECRET_REFERENCE

    try:
        marks = load_lab(lab_file).positions.marks.values()
    except (HomelabError, OSError):
        return ()
    texts = {mark.raw for mark in marks if mark.raw and mark.raw.startswith("env:")}
    return tuple(sorted(text.partition(":")[2] for text in texts if SECRET_REFERENCE.fullmatch(text)))


def change_mark(text: str, folder: Path, salt: bytes) -> str:
    """What changes with the secret behind `text` and tells nothing of it; empty if it cannot be had.

    Of a `sops:` reference the ciphertext is hashed, so that looking needs no private key. Others are hashed with
    `salt`, which must be secret itself: a short password could be guessed from a plain hash.
    """
    reference = parse(text)
    if reference.kind == "sops":
        try:
            cipher = sops.read_names(folder / reference.place).ciphertext.get(reference.parts, "")
        except HomelabError:
            return ""
        return hashlib.sha256(cipher.encode()).hexdigest()[:16] if cipher else ""
    try:
        value = reveal(text, folder)
    except HomelabError:
        return ""
    return hashlib.blake2b(value.encode(), key=salt[:64], digest_size=8).hexdigest()


def _of_environment(reference: Reference) -> str:
    if reference.place not in os.environ:
        what = f"the variable {reference.place} is not set in this process"
        raise HomelabError.of(str(reference), what, _cure(reference), "secret-missing")
    return os.environ[reference.place]


def _of_file(reference: Reference, folder: Path) -> str:
    file = folder / reference.place
    try:
        with file.open("rb") as stream:
            data = stream.read(LONGEST + 1)
    except OSError as error:
        what = f"{file} cannot be read: {error.strerror}"
        raise HomelabError.of(str(reference), what, _cure(reference), "secret-missing") from None
    if len(data) > LONGEST:
        raise HomelabError.of(str(reference), f"{file} is larger than {LONGEST} bytes", "Name the right file.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise HomelabError.of(str(reference), f"{file} is not text", "Save the secret as UTF-8 text.") from None


def _cure(reference: Reference) -> str:
    cures = {
        "env": f"Set {reference.place} where the site is started, then homelab up.",
        "file": f"Write the secret to {reference.place} beside the lab file, mode 0600.",
    }
    return cures.get(reference.kind, f"homelab secrets edit {reference}.")
