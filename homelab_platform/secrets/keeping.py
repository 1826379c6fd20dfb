"""Keeping a lab's secrets: making what is missing, recipients as the lab says, rotation.

Belongs here: the steps of `homelab secrets init` and `rotate`, each safe to run again. Not here: screens
(cli/secrets_commands.py), or what a host does with a new value (layers/hosts).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.files import EVERYONE_READS, write_whole
from homelab_platform.lab.beside import SSH
from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.check import check_loaded
from homelab_platform.lab.load import load_lab
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.secrets import sops
from homelab_platform.secrets.generated import Generated, generated_by, make, public_half
from homelab_platform.secrets.recipients import Audience, audience_of, write_rules
from homelab_platform.secrets.reference import Reference, parse

MADE_RIGHT = frozenset({"nixos-tunnel-key", "age-recipient"})
"""Rules that are broken until keys are made."""


def lab_to_furnish(lab_file: Path, catalog: Catalogue) -> ResolvedLab:
    """The lab, checked but for what only its missing keys make wrong, which this folder is about to make.

    Raises HomelabError with every other problem.
    """
    problems, resolved = check_loaded(load_lab(lab_file), catalog)
    left = [problem for problem in problems if problem.rule not in MADE_RIGHT]
    if left or resolved is None:
        raise HomelabError(left)
    return resolved


def sops_places(lab: ResolvedLab) -> tuple[str, ...]:
    """The SOPS files that the lab leads to, relative to its folder, and those of its hosts."""
    named = {parse(text).place for text in lab.secrets.values() if text.startswith("sops:")}
    made = {secret.reference.place for secret in generated_by(lab)}
    return tuple(sorted(named | made))


def make_missing(lab: ResolvedLab, folder: Path) -> list[Generated]:
    """Make every secret that can be made and is missing, and public halves that are; which ones were written.

    A host whose key is in the lab's `known_hosts` has one already: its public half is recorded, no pair is made.
    """
    audience = audience_of(lab)
    recorded = record_host_keys(lab, folder)
    written = []
    for secret in generated_by(lab):
        if secret.kind == "ssh-host-key" and (secret.host in recorded or _has_public(folder, secret)):
            continue
        if _is_there(folder, secret.reference):
            written += [secret] if _restore_public(folder, secret) else []
        elif not _has_public(folder, secret):
            _write(folder, secret, audience)
            written.append(secret)
    return written


def record_host_keys(lab: ResolvedLab, folder: Path) -> tuple[str, ...]:
    """Write the public host keys that the lab's `known_hosts` has; the hosts that it names."""
    found = []
    try:
        lines = (folder / "known_hosts").read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        fields = line.split()
        if len(fields) >= 3 and fields[1] == "ssh-ed25519":
            for name in (n for n in fields[0].split(",") if n in lab.hosts and lab.hosts[n].os != "external"):
                write_whole(folder / SSH.format(name), f"ssh-ed25519 {fields[2]}\n", mode=EVERYONE_READS)
                found.append(name)
    return tuple(found)


def align_recipients(lab: ResolvedLab, folder: Path) -> list[str]:
    """Have every file readable by exactly whom the lab says, and `.sops.yaml` say the same; the files that changed."""
    audience = audience_of(lab)
    changed = [sops.CONFIG] if write_rules(folder, audience) else []
    places = {*sops_places(lab), *(f.relative_to(folder).as_posix() for f in folder.glob("secrets/**/*.yaml"))}
    for place in sorted(places):
        if (folder / place).is_file() and sops.set_recipients(folder / place, audience.of(place)):
            changed.append(place)
    return changed


def set_value(lab: ResolvedLab, folder: Path, reference: Reference, value: str) -> None:
    """Put a value that a person typed behind a `sops:` reference. Raises HomelabError for other references."""
    if reference.kind != "sops":
        raise HomelabError.of(str(reference), "only sops: references can be written", "Set it where it is.")
    place = (folder / reference.place).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise HomelabError.of(str(reference), "lies outside the lab's folder", "Keep secrets beside the lab file.")
    sops.put(folder, reference.place, {reference.parts: value}, audience_of(lab).of(reference.place))


def rotate_generated(lab: ResolvedLab, folder: Path, secrets: Sequence[Generated]) -> None:
    """Make these secrets anew, public halves with them."""
    audience = audience_of(lab)
    for secret in secrets:
        _write(folder, secret, audience)


def rotate_data_keys(folder: Path, places: Iterable[str]) -> list[str]:
    """Encrypt every file under a new data key; the files that exist."""
    done = []
    for place in places:
        if (folder / place).is_file():
            sops.rotate(folder / place)
            done.append(place)
    return done


def _write(folder: Path, secret: Generated, audience: Audience) -> None:
    private, public = make(secret.kind)
    place = secret.reference.place
    if secret.public:  # never an old public half beside a new private one, wherever this is cut off
        (folder / secret.public).unlink(missing_ok=True)
    sops.put(folder, place, {secret.reference.parts: private}, audience.of(place))
    if secret.public:
        write_whole(folder / secret.public, f"{public}\n", mode=EVERYONE_READS)


def _restore_public(folder: Path, secret: Generated) -> bool:
    if not secret.public or _has_public(folder, secret):
        return False
    private = sops.decrypt(secret.reference, folder)
    write_whole(folder / secret.public, f"{public_half(secret.kind, private)}\n", mode=EVERYONE_READS)
    return True


def _has_public(folder: Path, secret: Generated) -> bool:
    return bool(secret.public) and (folder / secret.public).is_file()


def _is_there(folder: Path, reference: Reference) -> bool:
    file = folder / reference.place
    return file.is_file() and reference.parts in sops.read_names(file).ciphertext
