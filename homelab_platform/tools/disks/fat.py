"""Files in a FAT partition of an image, by mtools: nothing is mounted, and no root is needed.

Belongs here: listing, reading, writing files at the top of the partition. Contents pass through pipes and appear in no
process arguments.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.tools.disks.partitions import Partition


class FatPartition:
    """The FAT file system in `partition` of the file `image`."""

    def __init__(self, image: Path, partition: Partition) -> None:
        self.image = image
        self._drive = ["-i", f"{image}@@{partition.begin}"]

    def names(self) -> frozenset[str]:
        """Names of the files and folders at its top, in lower case: FAT does not tell cases apart."""
        lines = self._run("mdir", "-b", "::/").decode("utf-8", "replace").splitlines()
        return frozenset(line.removeprefix("::/").rstrip("/").lower() for line in lines if line.startswith("::/"))

    def read(self, name: str) -> bytes:
        """The content of a file. Raises HomelabError if it is not there."""
        return self._run("mcopy", f"::/{name}", "-")

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file, and see that it is there. Raises HomelabError, as for a partition that is full."""
        self._run("mcopy", "-o", "-", f"::/{name}", data=content)
        if self.read(name) != content:
            raise HomelabError.of(str(self.image), f"{name} in its boot partition is not what was written", "")

    def _run(self, program: str, *words: str, data: bytes = b"") -> bytes:
        command = [program, *self._drive, *words]
        environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull}
        try:
            done = subprocess.run(command, input=data, capture_output=True, env=environment, check=False)
        except FileNotFoundError:
            raise HomelabError.of(program, "is not installed here", "sudo apt-get install mtools") from None
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no error message"]
            raise HomelabError.of(str(self.image), f"its boot partition: {last[0]}", "Is the image whole?")
        return done.stdout
