"""The image of a NixOS host, by scripts/build-image.sh: nix here, in Docker, or at another machine.

Belongs here: starting the script, what it says, which file it made. Not here: what is in the image (nix/).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.names import Say

SUFFIXES = (".img", ".img.zst", ".iso", ".qcow2", ".ova", ".vhdx")
"""What the image of a host is called after its name."""
_MARK = "build-image: "


def build_nixos(host: str, lab_file: Path, folder: Path, builder: str, say: Say) -> Path:
    """Build the image of a host into `folder`; the file. `builder` is auto, local, docker or ssh://USER@MACHINE.

    Raises HomelabError with what the script says cannot be done here, before anything is built, or why a build failed.
    """
    command = [str(paths.project_path("scripts", "build-image.sh")), host]
    command += ["--lab", str(lab_file.resolve()), "--builder", builder, "--output", str(folder.resolve())]
    said: list[str] = []
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr or ():
                said.append(line.rstrip())
                if line.startswith(_MARK):
                    say(line.removeprefix(_MARK).strip())
    except OSError as error:
        raise HomelabError.of(command[0], f"cannot be started: {error.strerror}", "") from None
    if process.returncode:
        raise _failure(host, said)
    return built_image(folder, host)


def built_image(folder: Path, host: str) -> Path:
    """The newest image of a host in `folder`. Raises HomelabError if there is none."""
    found = [file for suffix in SUFFIXES if (file := folder / f"{host}{suffix}").is_file()]
    if not found:
        raise HomelabError.of(f"image/{host}", "was not made yet", f"homelab image {host}, or add --image FILE.")
    return max(found, key=lambda file: file.stat().st_mtime_ns)


def _failure(host: str, said: list[str]) -> HomelabError:
    """The script's own words: the fault in its last marked line, the remedy indented below it."""
    at = max((number for number, line in enumerate(said) if line.startswith(_MARK)), default=None)
    if at is None:
        last = said[-1] if said else "no error message"
        return HomelabError.of(f"image/{host}", f"was not built: {last}", "scripts/build-image.sh shows all of it.")
    below = [line.strip() for line in said[at + 1 :]]
    remedy = "\n".join(below[-8:])
    return HomelabError.of(f"image/{host}", said[at].removeprefix(_MARK), remedy)
