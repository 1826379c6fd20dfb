"""`homelab image` and `homelab flash`: the first start of a host.

Belongs here: options, prompts, progress. Not here: what is refused (layers/images) or how a disk is written
(tools/disks).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
    from homelab_platform.layers.images.adapter import ImageAdapter
    from homelab_platform.plan.desired import DesiredState
    from homelab_platform.tools.disks.probe import Disk
    from homelab_platform.tools.disks.source import Image

_LINES_EVERY_SECONDS = (0.5, 10.0)
"""How often progress is said on a terminal, and elsewhere."""


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(image)
    app.command()(flash)


def image(
    host: Annotated[str, typer.Argument(help="A host of the lab.")],
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Another Raspberry Pi OS than the lab names (.img, .img.xz …)."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="SUM", help="SHA-256 of FILE; else FILE.sha256 counts.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it there (NixOS: a folder), not into the site's images/."),
    ] = None,
    builder: Annotated[
        str, typer.Option("--builder", help="NixOS: auto, local, docker or ssh://USER@MACHINE.")
    ] = "auto",
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Make the image that HOST starts from the first time; `homelab flash HOST DEVICE` writes it to a card.

    Raspberry Pi OS: from the image that the lab names, with name, account, network, and the SSH key that the lab knows
    it by. NixOS: built by nix.
    """
    from homelab_platform.layers.images.base import fetch_base

    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    known, adapter = _check_host(resolved, host), _adapter(resolved, path)
    if known.os == "nixos" and base is None:
        _build_nixos(known, path, file or adapter.images, builder, quiet=as_json)
        return
    target = file or adapter.file(host)
    with output.steps(quiet=as_json) as say:
        start = _given_base(known, base, sha256) if base else fetch_base(resolved, known, path.parent, say)
        fingerprint = "" if base or file else _state(resolved, host).fingerprint
        built, key, learned = adapter.make(host, start, target, say, fingerprint=fingerprint)
    if as_json:
        output.write_json({"host": host, "image": str(built.file), "sha256": built.sha256, "host_key": key})
        return
    output.say(f"{built.file}: made from {start.path.name}. It holds {host}'s private key: keep it to yourself.")
    if learned:
        output.say(f"Added {host} to {adapter.known_hosts}: {key}")
    output.say(f"Next: homelab flash {host} DEVICE")


def _build_nixos(host: ResolvedHost, lab_file: Path, folder: Path, builder: str, *, quiet: bool) -> None:
    """Build the image of a NixOS host into `folder` and say what comes next."""
    from homelab_platform.layers.images.nixos import build_nixos
    from homelab_platform.tools.disks.source import SUFFIXES, written_sum

    with output.steps(quiet=quiet) as say:
        file = build_nixos(host.name, lab_file, folder, builder, say)
    if quiet:
        output.write_json({"host": host.name, "image": str(file), "sha256": written_sum(file), "host_key": None})
        return
    output.say(f"{file}: built. Its host makes its own SSH key at the first start.")
    on_card = file.name.endswith(SUFFIXES)
    output.say(f"Next: {f'homelab flash {host.name} DEVICE' if on_card else 'give it to the hypervisor'}")


def _given_base(host: ResolvedHost, base: Path, sha256: str | None) -> Image:
    """The image to start from, read once and compared with its sum. Raises HomelabError if it cannot serve the host."""
    from homelab_platform.layers.images.base import check_kind
    from homelab_platform.tools.disks.source import survey, written_sum

    check_kind(host)
    if not (sha256 or written_sum(base)):
        remedy = "Add --sha256 SUM, from where the image comes from."
        raise HomelabError.of(str(base), "its SHA-256 is not known", remedy)
    return survey(base, sha256)


def _state(lab: ResolvedLab, host: str) -> DesiredState:
    """What the graph knows the host's image by."""
    from homelab_platform.plan.gather import desired_states
    from homelab_platform.plan.layers import make_key

    return desired_states(lab)[make_key("image", host)]


def flash(
    host: Annotated[str, typer.Argument(help="A host of the lab.")],
    device: Annotated[str, typer.Argument(help="The card or disk: /dev/sdb, /dev/mmcblk0.")],
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="Another image than the one that `homelab image` made."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="SUM", help="SHA-256 of FILE; else FILE.sha256 counts.")
    ] = None,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="DEVICE", help="Give up what DEVICE holds, without a prompt.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing about a blank disk.")] = False,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Write the image that HOST starts from to a card, read it back and compare it.

    Everything on the card is lost. Refused for a disk that is in use, write-protected or too small.
    """
    from homelab_platform.layers.images.flash import check_disk
    from homelab_platform.layers.images.flash import flash as write
    from homelab_platform.tools.disks.probe import look
    from homelab_platform.tools.disks.source import survey

    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    _check_host(resolved, host)
    source = image or _made_image(resolved, path, host)
    disk = look(device)
    with output.steps(quiet=as_json) as say:
        say(f"reading {source}")
        whole = survey(source, sha256)
    check_disk(disk, whole)
    _confirm(disk, whole, named=confirm, yes=yes, quiet=as_json)
    began = time.monotonic()
    with output.steps(quiet=as_json) as say:
        written = write(disk, whole, _progress(say))
    seconds = time.monotonic() - began
    if as_json:
        output.write_json(
            {
                "host": host,
                "device": device,
                "image": str(source),
                "bytes": written.size,
                "sha256": written.sha256,
                "capacity_blocks": written.capacity_blocks,
                "compared": True,
                "seconds": round(seconds, 1),
            }
        )
        return
    output.say(f"{device}: {source.name} written, {output.size(written.size)} in {output.duration(seconds)}")
    output.say(f"Read back and compared: SHA-256 {written.sha256}. The disk has the size that it says.")
    output.say(f"Next: put it into {host} and switch it on.")


def _made_image(lab: ResolvedLab, lab_file: Path, host: str) -> Path:
    """The image that was made for the host; notes if the lab was edited since. Raises HomelabError without one."""
    from homelab_platform.layers.images.nixos import built_image

    adapter, wanted = _adapter(lab, lab_file), _state(lab, host)
    file = built_image(adapter.images, host)
    found = adapter.probe(wanted)
    if found.fingerprint and not found.matches(wanted):
        output.note(f"{file.name} was made for the lab as it was before. Made anew: homelab image {host}")
    return file


def _adapter(lab: ResolvedLab, lab_file: Path) -> ImageAdapter:
    """What makes the images of this lab on this machine."""
    from homelab_platform.layers.images.adapter import ImageAdapter
    from homelab_platform.paths import site_path
    from homelab_platform.sites.lab import IMAGES
    from homelab_platform.sites.reach import KNOWN_HOSTS

    folder = lab_file.parent
    return ImageAdapter(lab, folder, site_path(lab.name) / IMAGES, folder / KNOWN_HOSTS)


def _check_host(lab: ResolvedLab, host: str) -> ResolvedHost:
    """The host of this name. Raises HomelabError if the lab has none, or its system is somebody else's."""
    known = lab.hosts.get(host)
    if known is None:
        listed = ", ".join(sorted(lab.hosts)) or "none yet"
        raise HomelabError.of(f"host {host}", "the lab has no host of this name", f"There are: {listed}.")
    if known.os == "external":
        what = "its system is not looked after by the platform (os: external)"
        raise HomelabError.of(f"host {host}", what, "Install it by hand.")
    return known


def _confirm(disk: Disk, image: Image, *, named: str | None, yes: bool, quiet: bool) -> None:
    """Ask what has to be asked. Raises HomelabError where nobody answers, or the answer is another disk."""
    from homelab_platform.layers.images.flash import holdings, needs_typed_confirmation

    words = ", ".join(word for word in (disk.model, output.size(disk.size), disk.transport.upper()) if word)
    if not quiet:
        output.note(f"{disk.path} ({words}) holds: {holdings(disk)}")
        output.note(f"It gets {image.path.name}, {output.size(image.size)}. Everything on it is lost.")
    interactive = sys.stdin.isatty() and not quiet
    typed = needs_typed_confirmation(disk)
    if named is None and typed and not interactive:
        what = f"holds {holdings(disk)}, which would be lost"
        raise HomelabError.of(disk.path, what, f"If that is meant: add --confirm {disk.path}")
    if named is None and typed:
        named = typer.prompt(f"Type {disk.path} to go on").strip()
    if named is not None and named != disk.path:
        raise HomelabError.of(disk.path, f"{named} is not its name; nothing was changed", "")
    if named is None and not yes:
        if not interactive:
            raise HomelabError.of(disk.path, "writing to it has to be agreed to", "If that is meant: add --yes")
        if not typer.confirm(f"Write to {disk.path}?"):
            raise typer.Exit(0)


def _progress(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Progress in bytes as lines for people, not more often than they can be read."""
    pause = _LINES_EVERY_SECONDS[0 if sys.stderr.isatty() else 1]
    began = last = time.monotonic()
    doing = ""

    def told(what: str, done: int, of: int) -> None:
        nonlocal began, last, doing
        now = time.monotonic()
        if what != doing:
            began, doing = now, what
            say(f"{what} the size of the disk: blocks all over it" if what == "checking" else f"{what} …")
        elif now - last >= pause or done >= of:
            rate = done / max(now - began, 1e-3)
            left = output.duration(max(of - done, 0) / max(rate, 1))
            say(f"{what} {output.size(done)} of {output.size(of)}, {output.size(rate)}/s, {left} left")
        else:
            return
        last = now

    return told
