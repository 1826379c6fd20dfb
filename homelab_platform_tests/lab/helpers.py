"""Small labs for tests: write one, load it, see its problems as the screen shows them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from homelab_platform.errors import HomelabError
from homelab_platform.lab.load import LoadedLab, load_lab
from homelab_platform.lab.resolve.lab import resolve
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform_tests.lab.strategies import catalogue


def write(folder: Path, text: str, name: str = "lab.yaml") -> Path:
    """A file of the lab folder; the text is dedented."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> LoadedLab:
    """The lab of this text."""
    return load_lab(write(folder, text))


def resolved(folder: Path, text: str) -> ResolvedLab:
    """The lab of this text with every derived fact, whatever the rules say of it."""
    return resolve(loaded(folder, text), catalogue())


def complaints(folder: Path, text: str | bytes) -> str:
    """What the loader says of this text, as people see it; empty when it is fine."""
    path = folder / "lab.yaml"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        write(folder, text)
    try:
        load_lab(path)
    except HomelabError as error:
        return str(error)
    return ""
