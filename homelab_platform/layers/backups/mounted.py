"""Where a share or a stick that a lab names by its address is mounted on this machine.

Belongs here: reading the kernel's table of mounts. Not here: mounting, which is the owner's (fstab, automount).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, urlsplit

MOUNTS = Path("/proc/self/mounts")
LABELS = Path("/dev/disk/by-label")
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def mounted_at(url: str, mounts: Path = MOUNTS, labels: Path = LABELS) -> Path | None:
    """The folder of `nfs://host/path`, `smb://host/share` or `usb://LABEL` on this machine; None if it is not mounted.

    A folder below what is mounted counts too: `smb://nas/backup/lab` lies below the mount of `//nas/backup`.
    """
    parts = urlsplit(url)
    for line in reversed(mounts.read_text().splitlines()):  # the later mount hides the earlier one
        source, place, kind, *_ = map(_plain, line.split(" "))
        below = _below(parts, url, source, kind, labels)
        if below is not None:
            return Path(place) / below if below else Path(place)
    return None


def _below(parts: SplitResult, url: str, source: str, kind: str, labels: Path) -> str | None:
    """The path of the address below what is mounted from `source`; None if it is something else."""
    if parts.scheme == "usb":
        wanted = labels / url.removeprefix("usb://").strip("/")
        return "" if wanted.exists() and str(wanted.resolve()) == source else None
    host = parts.hostname or ""
    if parts.scheme == "nfs" and kind.startswith("nfs"):
        wanted_path, known = parts.path, source.removeprefix(f"{host}:")
    elif parts.scheme == "smb" and kind in ("cifs", "smb3"):
        wanted_path, known = parts.path, source.removeprefix(f"//{host}")
    else:
        return None
    if known == source:
        return None
    wanted_path, known = wanted_path.rstrip("/"), known.rstrip("/")
    return wanted_path.removeprefix(known).strip("/") if f"{wanted_path}/".startswith(f"{known}/") else None


def _plain(field: str) -> str:
    for code, character in _ESCAPES:
        field = field.replace(code, character)
    return field
