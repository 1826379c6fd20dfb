"""Making the image of a Raspberry Pi OS host out of one that was downloaded.

Belongs here: the steps, and what is refused. Not here: what the files in it say (raspios.py), NixOS (nixos.py).
A finished image alone gets its name. It holds the host's private key: it is its owner's alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.files import sync_folder, write_whole
from homelab_platform.lab.resolve.secrets import host_reference
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.images import raspios
from homelab_platform.names import Say
from homelab_platform.secrets.generated import SSH_HOST_KEY, public_half
from homelab_platform.tools.disks.fat import FatPartition
from homelab_platform.tools.disks.partitions import boot_partition
from homelab_platform.tools.disks.source import DAMAGED, Image, damaged, file_sum, fill, opened

_CHUNK = 4 << 20


@dataclass(frozen=True)
class Built:
    """A finished image: its file, and the SHA-256 of it."""

    file: Path
    sha256: str


@dataclass(frozen=True)
class HostKey:
    """The SSH key that a host shows, both halves as OpenSSH writes them."""

    public: str
    private: str = field(repr=False)


def build_raspios(
    lab: ResolvedLab, host: ResolvedHost, *, base: Image, file: Path, key: HostKey, reveal: raspios.Reveal, say: Say
) -> Built:
    """Unpack `base` into `file` and have it come up as `host`; `reveal` gives secrets of the lab.

    Raises HomelabError for secrets that are missing, an image of another system, or no room.
    """
    contents = {
        raspios.USER_DATA: raspios.user_data(lab, host),
        raspios.NETWORK: raspios.network_config(lab, host, reveal),
        raspios.HOST_KEY: key.private.encode(),
        raspios.SSH_SWITCH: b"",
    }
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(f".{file.name}.part")
    try:
        say(f"unpacking {base.path.name}")
        _unpack(base, part)
        say("setting it up")
        _set_up(part, host, contents)
        digest = file_sum(part)
        part.replace(file)
    except OSError as error:
        raise HomelabError.of(
            str(file), f"cannot be written: {error.strerror}", "Make room, or name another file."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    sync_folder(file.parent)
    write_whole(file.with_name(f"{file.name}.sha256"), f"{digest}  {file.name}\n")
    return Built(file, digest)


def host_key(host: ResolvedHost, reveal: raspios.Reveal) -> HostKey:
    """The host's SSH key, from the lab's secrets. Raises HomelabError if the lab has none of its own for it."""
    reference = host_reference(host.name, SSH_HOST_KEY)
    try:
        private = reveal(reference) + "\n"
        public = public_half("ssh-host-key", private)
    except ValueError:
        raise HomelabError.of(reference, "is no SSH key", "Restore it from git.") from None
    except HomelabError as error:
        raise HomelabError([*error.problems, _no_key(host)]) from None
    if host.ssh_host_key not in (None, public):
        raise HomelabError.of(reference, f"does not match keys/hosts/{host.name}.pub", "Restore one of them from git.")
    return HostKey(public, private)


def _no_key(host: ResolvedHost) -> Problem:
    """Why an image is not made without the key that its host is known by."""
    where = f"host/{host.name}"
    if host.ssh_host_key is None:
        return Problem(where, "has no SSH host key yet", "homelab secrets init makes it.")
    own = f"A key of its own making: remove keys/hosts/{host.name}.pub and {host.name} from known_hosts, then homelab"
    return Problem(where, "the lab has only the public half of its key", f"{own} secrets init makes a pair.")


def _unpack(base: Image, part: Path) -> None:
    """Write the image's content, blocks of zeros as holes, for the owner alone."""
    buffer = memoryview(bytearray(_CHUNK))
    zeros = bytes(_CHUNK)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target, base.path.open("rb", buffering=0) as raw:
        os.fchmod(target.fileno(), 0o600)
        content = opened(base.path, raw)
        size = 0
        while got := _next(base, content, buffer):
            data = buffer[:got]
            if data == zeros[:got]:
                target.seek(got, os.SEEK_CUR)
            else:
                target.write(data)
            size += got
        target.truncate(size)
        target.flush()
        os.fsync(target.fileno())
    if size != base.size:
        raise HomelabError.of(str(base.path), "changed while it was read", "Start again.")


def _next(base: Image, content: IO[bytes], buffer: memoryview) -> int:
    try:
        return fill(content, buffer)
    except DAMAGED as error:
        raise damaged(base.path, error) from None


def _set_up(part: Path, host: ResolvedHost, contents: dict[str, bytes]) -> None:
    """Put the files into the boot partition, each read back. Raises HomelabError for another system's image."""
    boot = FatPartition(part, boot_partition(part))
    there = boot.names()
    if raspios.COMMAND_LINE not in there:
        raise HomelabError.of(f"image/{host.name}", "is no image of Raspberry Pi OS", "Take one from raspberrypi.com.")
    if raspios.META_DATA not in there:
        raise HomelabError.of(
            f"image/{host.name}",
            "is an image of Raspberry Pi OS before October 2025, which is not set up by cloud-init",
            "Take a newer one (trixie) from raspberrypi.com.",
        )
    line = boot.read(raspios.COMMAND_LINE).decode("utf-8", "replace")
    for name, content in {**contents, raspios.COMMAND_LINE: raspios.command_line(line, host).encode()}.items():
        boot.write(name, content)
