"""The lab file as the graph reads it: again at every tick, cheaply, and never leaving the UI blank.

Belongs here: finding the lab file, noticing that it changed, and falling back to the last lab that was good. Not here:
reading or checking a lab (lab/).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.files import write_whole
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.paths import data_home, project_path, site_path

LAB_VARIABLE = "HOMELAB_LAB"
GOOD_LAB = "lab.json"
_READ = (".yaml", ".yml", ".pub", ".sql")
DEEPEST = 3
MOST_FILES = 5_000


def lab_path() -> Path:
    """The lab file of this code location: $HOMELAB_LAB (a file or its folder), else the pi-cluster example."""
    given = os.environ.get(LAB_VARIABLE)
    path = Path(given) if given else project_path("examples", "pi-cluster")
    return (path / "lab.yaml" if path.is_dir() else path).absolute()


def read_lab(path: Path) -> ResolvedLab:
    """The lab of a file, checked and resolved. Raises HomelabError with every problem."""
    from homelab_platform.catalog.lab import read_lab as read

    return read(path)


def keep_good(lab: ResolvedLab, path: Path) -> None:
    """Remember a good lab in its site's folder, if the site exists; replaced in one step, so never half written."""
    root = site_path(lab.name)
    if not root.is_dir():
        return
    target, text = root / GOOD_LAB, lab.to_json()
    if not write_whole(target, text):
        return
    (root / f"{GOOD_LAB}.source").write_text(str(path), encoding="utf-8")


def last_good(path: Path) -> ResolvedLab | None:
    """The lab that this file last described without an error, as far as a site on this machine remembers it."""
    home = data_home()
    for source in sorted(home.glob(f"*/{GOOD_LAB}.source")):
        if source.read_text(encoding="utf-8") == str(path):
            return ResolvedLab.model_validate_json((source.parent / GOOD_LAB).read_bytes())
    return None


@dataclass(frozen=True)
class LoadedFile:
    """What a reading of the lab file came to: the lab to show (the last good one if it is broken), and its problems."""

    path: Path
    lab: ResolvedLab | None
    problems: tuple[Problem, ...] = ()


def load_or_last_good(path: Path) -> LoadedFile:
    """Read the lab; if it is broken, say so beside the last good one."""
    try:
        lab = read_lab(path)
    except HomelabError as error:
        return LoadedFile(path, last_good(path), error.problems)
    keep_good(lab, path)
    return LoadedFile(path, lab)


def stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when the lab file or a file beside it changes: names, sizes, times of change.

    Looks at YAML files, SQL files and keys down to three folders below the lab file, at most 5,000 of them: the lab
    file may lie in somebody's home folder, and this is asked every five seconds.
    """
    found: list[tuple[str, int, int]] = []
    top = str(path.parent)
    for folder, below, names in os.walk(top):
        deep = folder.count(os.sep) - top.count(os.sep) >= DEEPEST
        below[:] = [] if deep else sorted(name for name in below if not name.startswith("."))
        for name in names:
            if name.endswith(_READ):
                info = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 (many files, every few seconds)
                found.append((os.path.join(folder, name), info.st_size, info.st_mtime_ns))  # noqa: PTH118
        if len(found) >= MOST_FILES:
            break
    return tuple(sorted(found))


class LabWatch:
    """The lab of a file, read again only when a file below its folder changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[tuple[str, int, int], ...] | None = None
        self._loaded: LoadedFile | None = None

    def current(self) -> LoadedFile:
        """The lab as it is now."""
        now = stamp(self.path)
        if self._loaded is None or now != self._stamp:
            self._loaded = load_or_last_good(self.path)
            self._stamp = now
        return self._loaded
