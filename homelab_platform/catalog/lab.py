"""A lab file with the catalogue that belongs to it: the project's, and the workloads that lie beside the file.

Belongs here: the one way in which everybody loads a lab. Not here: what a catalogue is (load.py), or what is checked
(lab/check.py).
"""

from __future__ import annotations

from pathlib import Path

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab

OWN_FOLDER = "helm"
"""The folder beside a lab file that holds a person's own entries and values."""


def catalogue_of(lab_file: Path) -> Catalogue:
    """The catalogue of a lab: the project's and what lies beside the lab file, which wins.

    Raises HomelabError with file, line and column of everything that is wrong in any entry.
    """
    own = lab_file.parent / OWN_FOLDER
    return load_catalogue(own if own.is_dir() else None)


def read_lab(lab_file: Path) -> ResolvedLab:
    """The lab of a file, checked and resolved. Raises HomelabError with every problem."""
    return load_resolved(lab_file, catalogue_of(lab_file))
