"""MinIO, the other S3 server of a site: built once from its locked source, run as the supervisor's process.

Belongs here: how it is built, its folder and its settings. Not here: running it (supervisor.py), its users and policies
(tools/objects/access_minio.py). Upstream is archived and publishes no programs any more, so it is built by Go; who has
no Go takes SeaweedFS, which is the default and needs none.

`minio.lock` is a Go module that names every module of the build (go.mod) and its checksum (go.sum): Go refuses
anything else, whatever a mirror serves. Settings: MinIO's `docs/` and `cmd/common-main.go` of that version.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.names import LOOPBACK, Say, silent
from homelab_platform.servers.install import shared
from homelab_platform.servers.install.build_process import BuildStalled, run_build
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec

ADDRESS = LOOPBACK
MODULE = "github.com/minio/minio"
VERSION = "2026-02-12T20:18:48Z"
COMMIT = "7aac2a2c5b7c"
OLDEST_GO = (1, 24)
LOCK = Path(__file__).with_name("minio.lock")
LOCKED = ("go.mod", "go.sum")
PROGRAM, ENVIRONMENT_FILE, KEY_FILE = "minio", "minio.env", "encryption.key"

_RELEASE = f"RELEASE.{VERSION.replace(':', '-')}"
_NAMES = f"-X {MODULE}/cmd.Version={VERSION} -X {MODULE}/cmd.ReleaseTag={_RELEASE} -X {MODULE}/cmd.CommitID={COMMIT}"
_BUILD = ("build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-p=2", f"-ldflags=-s -w {_NAMES}")


def _recipe() -> shared.Recipe:
    texts = [(LOCK / name).read_text() for name in LOCKED]
    return shared.Recipe("minio", VERSION[:10], "\n".join([*texts, *_BUILD]))


RECIPE = _recipe()


def installed(progress: Say = silent) -> Path:
    """The program, built first if need be (5 CPU-minutes, once for this user).

    Raises HomelabError when there is no Go, when a module is not the locked one, or when the build fails.
    """
    return shared.install(RECIPE, _build, progress) / PROGRAM


def _build(folder: Path, progress: Say) -> None:
    go = _go()
    progress(f"building MinIO of {VERSION[:10]} from its source (some minutes, once)")
    work = folder / "build"
    work.mkdir()
    for name in LOCKED:
        shutil.copyfile(LOCK / name, work / name)
    environment = os.environ | {"GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = (go, *_BUILD, "-o", str(folder / PROGRAM), MODULE)
    try:
        done = run_build(command, cwd=work, env=environment)
    except BuildStalled as error:
        raise HomelabError.of("MinIO", f"its build {error}", "Try again, or keep SeaweedFS, the default.") from None
    if done.returncode:
        end = "\n      ".join(done.stderr.strip().splitlines()[-6:])
        raise HomelabError.of("MinIO", "could not be built from its source", f"Go says:\n      {end}")
    shutil.rmtree(work)


def _go() -> str:
    """Go's command. Raises HomelabError when it is missing or too old."""
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    remedy = "Install Go from your distribution, or leave MinIO out: SeaweedFS, the default, needs no Go."
    wanted = ".".join(map(str, OLDEST_GO))
    if found is None:
        raise HomelabError.of("MinIO", f"is built from source, which takes Go {wanted}, and there is no Go", remedy)
    said = subprocess.run(
        (found, "env", "GOVERSION"),
        capture_output=True,
        text=True,
        env=os.environ | {"GOTOOLCHAIN": "local"},
        check=False,
    ).stdout.strip()
    numbers = [int("".join(c for c in part if c.isdigit()) or 0) for part in said.removeprefix("go").split(".")[:2]]
    if tuple(numbers) < OLDEST_GO:
        raise HomelabError.of("MinIO", f"takes Go {wanted} to build, and this one is {said or 'of no version'}", remedy)
    return found


def prepare(folder: Path, access_key: str, secret_key: str) -> None:
    """Make the data folder, the file with the root credentials, and the key that objects are encrypted with.

    Safe to repeat. That key is made once and never again: without it nothing that it encrypted can be read. Raises
    HomelabError when it is gone while there is data.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "data").mkdir(exist_ok=True)
    key = folder / KEY_FILE
    if not key.exists():
        if (folder / "data" / ".minio.sys").exists():
            raise HomelabError.of(
                str(key),
                "the key that objects are encrypted with is gone, but their data is here",
                "Put the file back from a backup of this folder. Only to give up what is encrypted: empty the folder "
                f"{folder}.",
            )
        write_whole(key, f"site:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    lines = {
        "MINIO_ROOT_USER": access_key,
        "MINIO_ROOT_PASSWORD": secret_key,
        "MINIO_KMS_SECRET_KEY": key.read_text().strip(),
    }
    write_whole(folder / ENVIRONMENT_FILE, "".join(f"{name}={value}\n" for name, value in lines.items()))


def process(folder: Path, port: int, console: int | None = None) -> ProcessSpec:
    """The server as the supervisor runs it; it must be installed. `console` is the port of its web page, None for none.

    No question for updates, no call home. Root credentials and key come from a file (see `prepare`).
    HOME and certificates lie in the data folder, so that no settings of the user's own MinIO are picked up.
    """
    page = () if console is None else ("--console-address", f"{ADDRESS}:{console}")
    places = ("--address", f"{ADDRESS}:{port}", *page, "--certs-dir", str(folder / "certs"), str(folder / "data"))
    return ProcessSpec(
        name="objects",
        command=(str(RECIPE.folder / PROGRAM), "server", "--quiet", *places),
        folder=str(folder),
        environment={
            "HOME": str(folder),
            "MINIO_CONFIG_ENV_FILE": str(folder / ENVIRONMENT_FILE),
            "MINIO_BROWSER": "on" if console else "off",
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
            "MINIO_API_DELETE_CLEANUP_INTERVAL": "10s",  # else what is deleted keeps its room for five minutes
            "GOGC": "50",
            "GOMEMLIMIT": "400MiB",
        },
        port=port,
        # `ready` answers seconds before users and buckets are loaded, and requests are refused until then
        health=Health((Answer(port, "/minio/health/cluster"),)),
    )
