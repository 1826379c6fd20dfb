"""What is wrong with a lab's secrets: references that lead nowhere, files that the wrong people can read, stale halves.

Belongs here: looking, without changing anything and without showing a value. Most of it needs no private key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.quantities import SECRET_REFERENCE
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.secrets import sops
from homelab_platform.secrets.generated import Generated, generated_by, public_half
from homelab_platform.secrets.keeping import sops_places
from homelab_platform.secrets.recipients import Audience, audience_of, own_recipients
from homelab_platform.secrets.reference import Reference, parse

State = Literal["present", "missing", "not set", "on the host", "refused"]


@dataclass(frozen=True)
class Row:
    """One reference of the lab: the keys of the lab file that name it, its state, whether the platform can make it."""

    reference: str
    used_by: tuple[str, ...]
    state: State
    generated: bool = False
    remedy: str = ""


def rows_of(lab: ResolvedLab, folder: Path) -> list[Row]:
    """Every reference of `lab`, by its text, with what there is behind it; no value is decrypted."""
    users: dict[str, list[str]] = {}
    for path, text in lab.secrets.items():
        users.setdefault(text, []).append(path)
    for name, host in lab.hosts.items():
        for secret in host.secrets.values():
            users.setdefault(secret.reference, []).append(f"host/{name}")
    made = {str(secret.reference): secret for secret in generated_by(lab) if not _only_recorded(secret, folder)}
    for text, one in made.items():
        users.setdefault(text, [f"host/{one.host}"])
    found = []
    for text, used_by in sorted(users.items()):
        reference = parse(text)
        state = state_of(reference, folder)
        remedy = "" if state in ("present", "on the host") else _remedy(reference, text in made)
        found.append(Row(text, tuple(dict.fromkeys(used_by)), state, text in made, remedy))
    return found


def _only_recorded(secret: Generated, folder: Path) -> bool:
    """Whether the host made this key itself: we have its public half and no private one, as it should be."""
    public = secret.kind == "ssh-host-key" and (folder / secret.public).is_file()
    return public and state_of(secret.reference, folder) == "missing"


def state_of(reference: Reference, folder: Path) -> State:
    """Whether there is a value behind a reference, as far as can be seen without a private key."""
    if reference.kind == "vault":
        return "refused"
    if reference.kind == "env":
        return "present" if os.environ.get(reference.place) else "not set"
    if reference.kind == "file":
        if Path(reference.place).is_absolute() and not Path(reference.place).exists():
            return "on the host"
        return "present" if (folder / reference.place).is_file() else "missing"
    try:
        keys = sops.read_names(folder / reference.place).ciphertext
    except HomelabError:
        return "missing"
    return "present" if reference.parts in keys else "missing"


def missing_values(loaded: LoadedLab) -> list[Problem]:
    """A warning for every reference of the lab file whose file or key does not exist, at its place.

    What depends on this machine is left out: variables, and files that lie on hosts.
    """
    found = []
    for path, mark in loaded.positions.marks.items():
        if mark.raw and mark.raw.startswith(("sops:", "file:")) and SECRET_REFERENCE.fullmatch(mark.raw):
            reference = parse(mark.raw)
            if state_of(reference, loaded.path.parent) == "missing":
                what, remedy = f"{reference} has no value yet", "homelab secrets init makes or lists what is missing."
                found.append(Problem(loaded.positions.at(*path), what, remedy, "dead-reference", "warning"))
    return found


def problems_of(lab: ResolvedLab, folder: Path) -> list[Problem]:
    """Everything that is wrong: dead references, recipients, plain text, rights of files, halves that do not match."""
    found = [
        Problem(row.reference, f"{row.state}: {', '.join(row.used_by)} has no secret", row.remedy, "dead-reference")
        for row in rows_of(lab, folder)
        if row.state not in ("present", "on the host")
    ]
    try:
        audience = audience_of(lab)
    except HomelabError as error:
        return [*error.problems, *found]
    places = {*sops_places(lab), *(f.relative_to(folder).as_posix() for f in folder.glob("secrets/**/*.yaml"))}
    for place in sorted(places):
        if (folder / place).exists():
            found += _file_problems(folder, place, audience)
    return [*found, *_own_key_problems(audience), *_mismatches(lab, folder), *_loose_files(lab, folder)]


def _file_problems(folder: Path, place: str, audience: Audience) -> Iterator[Problem]:
    try:
        content = sops.read_names(folder / place)
    except HomelabError as error:
        yield from error.problems
        return
    wanted, present = set(audience.of(place)), set(content.recipients)
    remedy = "Run homelab secrets init: it encrypts the file for those whom the lab names."
    if gone := sorted(present - wanted):
        what = f"{len(gone)} age keys can read it that the lab does not name: {_short(gone)}"
        yield Problem(place, what, f"{remedy} Then change its values: they are known to the holder.", "recipients")
    if lacking := sorted(wanted - present):
        yield Problem(place, f"{len(lacking)} recipients cannot read it: {_short(lacking)}", remedy, "recipients")
    plain = [".".join(path) for path, cipher in content.ciphertext.items() if not cipher and path]
    if plain:
        what = f"{', '.join(plain[:5])} not encrypted"
        yield Problem(place, what, "Set it again: homelab secrets edit.", "secrets-file-in-plain-text")


def _own_key_problems(audience: Audience) -> Iterator[Problem]:
    file = sops.key_file()
    if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        yield Problem(str(file), "other accounts can read the private age key", f"Run chmod 600 {file}.", "key-rights")
    own = own_recipients()
    if own and not set(own) & set(audience.everyone):
        what = "none of this account's age keys is a recipient of the lab"
        yield Problem(str(file), what, f"Add one to secrets.recipients: {own[0]}.", "age-recipient")


def _mismatches(lab: ResolvedLab, folder: Path) -> Iterator[Problem]:
    """Public halves that are not those of the private keys, where a private age key here opens the file."""
    for secret in generated_by(lab):
        file = folder / secret.public
        if not secret.public or not file.is_file() or state_of(secret.reference, folder) != "present":
            continue
        try:
            belongs = public_half(secret.kind, sops.decrypt(secret.reference, folder))
        except HomelabError:
            continue  # no key for it here
        except ValueError:
            yield Problem(str(secret.reference), "damaged private key", f"homelab secrets rotate {secret.reference}.")
            continue
        if belongs != file.read_text().strip():
            what = f"not the public half of {secret.reference}"
            yield Problem(secret.public, what, f"Remove {secret.public}; homelab secrets init writes it.", "host-key")


def _loose_files(lab: ResolvedLab, folder: Path) -> Iterator[Problem]:
    for text in sorted(set(lab.secrets.values())):
        reference = parse(text)
        file = folder / reference.place
        if reference.kind == "file" and file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o044:
            yield Problem(text, "other accounts of this machine can read it", f"Run chmod 600 {file}.", "key-rights")


def _remedy(reference: Reference, generated: bool) -> str:
    if reference.kind == "sops":
        return "Run homelab secrets init." if generated else f"Run homelab secrets edit {reference}."
    if reference.kind == "env":
        return f"Set {reference.place} where the site is started."
    if reference.kind == "file":
        return f"Write it to {reference.place} beside the lab file, mode 0600."
    return "Write sops:secrets/NAME.yaml#key instead."


def _short(keys: list[str]) -> str:
    return ", ".join(f"{key[:24]}…" for key in keys)
