"""Images of hosts as assets: files in the site's folder, made when what they say differs from the lab.

Belongs here: probe and change. Not here: how an image is made (build.py), who flashes it (a person).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.files import write_whole
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.images.base import fetch_base
from homelab_platform.layers.images.build import Built, HostKey, build_raspios, host_key
from homelab_platform.layers.images.first_contact import is_known, learn_host_key
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import name_of
from homelab_platform.secrets.values import reveal
from homelab_platform.tools.disks.source import Image

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document


class _Record(BaseModel):
    """What is known of an image: which state of the lab it was made for, its file's size and time of change."""

    model_config = ConfigDict(frozen=True)
    fingerprint: str
    size: int
    changed_ns: int
    sha256: str


class ImageAdapter:
    """The images of a lab's Raspberry Pi OS hosts in the folder `images`; `lab_folder` holds lab file and secrets."""

    def __init__(self, lab: ResolvedLab, lab_folder: Path, images: Path, known_hosts: Path) -> None:
        self._lab, self._lab_folder = lab, lab_folder
        self.images, self.known_hosts = images, known_hosts

    def file(self, host: str) -> Path:
        """Where the image of a host lies."""
        return self.images / f"{host}.img"

    def probe(self, desired: DesiredState) -> Observation:
        """Look at the file and what is known of it; a file of another size or time is another image."""
        file = self.file(name_of(desired.key))
        record = self._record(file)
        if not file.is_file():
            return Observation(exists=False)
        if record is None:
            return Observation(True, differences=("it was made for something else",))
        found = file.stat()
        same = (found.st_size, found.st_mtime_ns) == (record.size, record.changed_ns)
        facts: Document = {"file": str(file), "size": found.st_size, "sha256": record.sha256}
        return Observation(True, record.fingerprint, () if same else (f"{file} was changed",), facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make the image anew."""
        host = name_of(desired.key)
        self.key(host)  # what is missing is found out before anything is downloaded
        base = fetch_base(self._lab, self._lab.hosts[host], self._lab_folder, say)
        self.make(host, base, self.file(host), say, fingerprint=desired.fingerprint)

    def make(self, host: str, base: Image, file: Path, say: Say, *, fingerprint: str = "") -> tuple[Built, str, bool]:
        """Make the image of a host into `file`: what was made, its public key, whether that is new in `known_hosts`.

        `fingerprint` is the state of the lab that it stands for; empty where it was made from another image.
        Raises HomelabError, before anything is written, for what is missing.
        """
        known, key = self._lab.hosts[host], self.key(host)
        self._forget(file)
        built = build_raspios(self._lab, known, base=base, file=file, key=key, reveal=self._secret, say=say)
        learned = learn_host_key(self.known_hosts, host, key.public)
        if fingerprint:
            found = file.stat()
            record = _Record(
                fingerprint=fingerprint, size=found.st_size, changed_ns=found.st_mtime_ns, sha256=built.sha256
            )
            write_whole(_record_of(file), record.model_dump_json())
        return built, key.public, learned

    def key(self, host: str) -> HostKey:
        """The SSH key that the host will show. Raises HomelabError without one, or if `known_hosts` has another."""
        key = host_key(self._lab.hosts[host], self._secret)
        is_known(self.known_hosts, host, key.public)
        return key

    def _secret(self, text: str) -> str:
        return reveal(text, self._lab_folder)

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Delete the image and what is known of it."""
        file = self.file(name_of(key))
        self._forget(file)
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.sha256").unlink(missing_ok=True)

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Where it lies, and how it gets to a card."""
        host = name_of(desired.key)
        facts = self.probe(desired).facts
        yield Exhibit("image", "text", str(facts.get("file", "")))
        yield Exhibit("sha256", "text", str(facts.get("sha256", "")))
        yield Exhibit("next", "text", f"homelab flash {host} DEVICE")

    @staticmethod
    def _record(file: Path) -> _Record | None:
        try:
            return _Record.model_validate(json.loads(_record_of(file).read_text()))
        except (OSError, ValueError, ValidationError):
            return None

    @staticmethod
    def _forget(file: Path) -> None:
        _record_of(file).unlink(missing_ok=True)


def _record_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
