"""The Raspberry Pi OS that cards are made from: the file that the lab names, downloaded if it is an address.

Belongs here: finding, downloading, checking it. Not here: what is made of it (build.py).
"""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from homelab_platform import paths
from homelab_platform.errors import HomelabError, Problem, Unreachable
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.names import Say
from homelab_platform.plan.cards import base_image
from homelab_platform.tools.disks.source import Image, survey

_PATIENCE_SECONDS = 60.0
_CHUNK = 1 << 20


def check_kind(host: ResolvedHost) -> None:
    """Raises HomelabError for a host whose image is not made from Raspberry Pi OS, with what to do instead."""
    where = f"host/{host.name}"
    if host.os == "nixos":
        raise HomelabError.of(where, "its image is built by nix, not made from another image", "Leave out --from.")
    if host.os != "raspios" or not host.board.startswith("pi"):
        what = f"images are made for Raspberry Pi OS and NixOS; this is {host.os} on {host.board}"
        raise HomelabError.of(where, what, "Install it by hand, with SSH and the key of somebody who may deploy.")
    if host.settings.get("image") != "sd":
        what = f"asks for another image than one of a card (image: {host.settings.get('image', 'none')})"
        raise HomelabError.of(where, what, f"Leave hosts.{host.name}.image out.")


def fetch_base(lab: ResolvedLab, host: ResolvedHost, folder: Path, say: Say) -> Image:
    """The image that the lab in `folder` names for a host, whole and with the right sum.

    Raises HomelabError if the lab names none, or it is absent or another one; Unreachable if nothing answers there.
    """
    check_kind(host)
    named = base_image(lab, host)
    if named is None:
        raise HomelabError(_not_named(host))
    where, wanted = str(named["image"]), str(named["sha256"]).lower()
    if not where.startswith(("http://", "https://")):
        say(f"reading {where}")
        return survey(folder / Path(where).expanduser(), wanted)
    file = paths.cache_home() / "raspios" / f"{wanted[:16]}-{Path(urlsplit(where).path).name or 'image.img.xz'}"
    if not file.exists():
        _download(where, file, say)
    say(f"reading {file.name}")
    try:
        return survey(file, wanted)
    except HomelabError:
        file.unlink(missing_ok=True)  # the next attempt downloads it anew
        raise


def _not_named(host: ResolvedHost) -> Problem:
    word = "arm64" if host.arch == "arm64" else "armhf"
    return Problem(
        f"host/{host.name}",
        "which image of Raspberry Pi OS shall it start from?",
        f"Download Raspberry Pi OS Lite ({word}) with its SHA-256 from raspberrypi.com, then name it in the lab file "
        f"(tooling.raspios.{word}: {{image: FILE, sha256: SUM}}) or by --from FILE.",
    )


def _download(address: str, file: Path, say: Say) -> None:
    """Download into `file`, which is there only when all of it came."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(f"{file.name}.part")
    say(f"downloading {address}")
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE_SECONDS) as answer, part.open("wb") as target:  # noqa: S310
            shutil.copyfileobj(answer, target, _CHUNK)
            expected = answer.headers.get("Content-Length")
            if expected is not None and target.tell() != int(expected):
                raise Unreachable.of(address, "the download broke off", "Try again.")
        part.replace(file)
    except urllib.error.HTTPError as error:
        remedy = "Is the address still right? raspberrypi.com lists the current one."
        raise HomelabError.of(address, f"answers {error.code}", remedy) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise Unreachable.of(address, f"cannot be downloaded: {reason}", "Download it by hand: --from FILE.") from None
    finally:
        part.unlink(missing_ok=True)
