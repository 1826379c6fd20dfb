"""Trino as a process that the supervisor can run: its folder, its secrets, its command.

Belongs here: what one Trino on this machine needs. Not here: fetching it (servers/install/trino.py), what its
settings are (plan/trino/config.py), talking to it (tools/trino/client.py). It binds 127.0.0.1 only; people come over
TLS with a password.

Secrets are filled in when the files are written, for the owner's eyes only. What Trino needs beyond what the caller
gives (accounts in PostgreSQL, first passwords of people) is made here once and kept in the server's own folder.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.names import LOOPBACK
from homelab_platform.plan.trino import config as trino_config
from homelab_platform.plan.trino.config import PLATFORM_USER, TrinoPlaces, TrinoSources
from homelab_platform.servers.install import trino
from homelab_platform.servers.install.java import java_binary
from homelab_platform.servers.supervise import ports
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

ADDRESS = LOOPBACK
VERSION = trino.VERSION
RECIPE = trino.RECIPE
HEAP = 1 << 30
HEALTH_PATH = "/v1/info"
PEOPLE, ACCOUNTS = "people.json", "accounts.json"
KEYSTORE = "trino.pem"
_REFERENCE = re.compile(r"\$\{ENV:(\w+)\}")

installed = trino.installed


@dataclass(frozen=True)
class TrinoPorts:
    """`https` is where people come in; `http` serves its own traffic and says whether it is up."""

    http: int
    https: int

    @classmethod
    def choose(cls) -> TrinoPorts:
        """Two free ports."""
        return cls(*ports.choose(2))


def sources(lakehouse: Lakehouse) -> TrinoSources:
    """The lakehouse as Trino's catalogs name it."""
    database, objects = lakehouse.postgres, lakehouse.objects
    return TrinoSources(
        f"{database.host}:{database.port}", database.database, objects.url, lakehouse.lake_bucket, objects.region
    )


def prepare(
    folder: Path,
    chosen: TrinoPorts,
    lakehouse: Lakehouse,
    *,
    password: str,
    shared_secret: str,
    lab: ResolvedLab | None = None,
    passwords: Mapping[str, str] | None = None,
    dynamic: bool = False,
) -> None:
    """Write the settings, the password file and the certificate. Safe to repeat; a running server sees new people.

    `password` is the platform's own (user `homelab`); `passwords` are people's, by name; who has none there gets a
    random one, which `person_password` tells. `dynamic` lets tests make catalogs by SQL. Raises HomelabError for a
    setting of the lab that makes no sense.
    """
    config = trino_config.config_of(lab, sources(lakehouse), heap=HEAP, dynamic=dynamic)
    etc = folder / "etc"
    for place in (folder, etc, folder / "data"):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.chmod(0o700)
    names = ["localhost", ADDRESS, *([f"trino.{lab.network.domain}"] if lab is not None else [])]
    from homelab_platform.tools import certificates
    from homelab_platform.tools.trino import people

    certificates.ensure_certificate(folder, names, etc / KEYSTORE, subject="trino")
    known = _kept(folder / PEOPLE, [a.name for a in config.accounts if a.name != PLATFORM_USER])
    logins = {**known, **{n: p for n, p in (passwords or {}).items() if n in known}, PLATFORM_USER: password}
    hashes = etc / "password.db"
    write_whole(hashes, people.password_file(logins, hashes.read_text() if hashes.exists() else ""))
    values = secret_values(folder, lakehouse, shared_secret)
    files = trino_config.render(config, TrinoPlaces(str(etc), str(folder / "data"), chosen.http, chosen.https))
    for stale in (etc / "catalog").glob("*.properties"):
        if f"catalog/{stale.name}" not in files:
            stale.unlink()
    for name, text in files.items():
        write_whole(etc / name, _filled(text, values))


def secret_values(folder: Path, lakehouse: Lakehouse, shared_secret: str) -> dict[str, str]:
    """What stands behind each name of trino_config.SECRETS for this server."""
    roles = _kept(folder / ACCOUNTS, [trino_config.CATALOG_ROLE, trino_config.READER_ROLE])
    return {
        "TRINO_CATALOG_PASSWORD": roles[trino_config.CATALOG_ROLE],
        "TRINO_READER_PASSWORD": roles[trino_config.READER_ROLE],
        "TRINO_S3_KEY": lakehouse.objects.access_key,
        "TRINO_S3_SECRET": lakehouse.objects.secret_key,
        "TRINO_SHARED_SECRET": shared_secret,
    }


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda found: trino_config.escape(values[found[1]]), text)


def _kept(file: Path, names: list[str]) -> dict[str, str]:
    """Random passwords by name, made once and kept in `file`; of names that are gone none is kept."""
    try:
        known = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    wanted = {name: str(known.get(name) or secrets.token_urlsafe(18)) for name in names}
    if wanted != known:
        write_whole(file, json.dumps(wanted, indent=1) + "\n")
    return wanted


def person_password(folder: Path, name: str) -> str:
    """The random password of a person of the lab. Raises HomelabError when this Trino knows no such person."""
    try:
        known = json.loads((folder / PEOPLE).read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    if name not in known:
        listed = ", ".join(sorted(known)) or "nobody"
        raise HomelabError.of(name, "is no person of this lab", f"`people:` has {listed}.")
    return str(known[name])


def prepare_catalog(folder: Path, lakehouse: Lakehouse) -> None:
    """Make the Iceberg catalog's tables, and Trino's accounts in PostgreSQL with no right beyond what each needs.

    PostgreSQL must answer and `prepare` have been called. Safe to repeat: rights on tables that came later are given
    then. Raises HomelabError when PostgreSQL refuses.
    """
    from homelab_platform.tools.iceberg.tables import open_catalog
    from homelab_platform.tools.postgres import connect
    from homelab_platform.tools.trino.grants import grant

    open_catalog(lakehouse, light=True).engine.dispose()
    roles = _kept(folder / ACCOUNTS, [trino_config.CATALOG_ROLE, trino_config.READER_ROLE])
    with closing(connect(lakehouse.postgres, application="homelab trino")) as connection, connection.transaction():
        grant(connection, roles)


def process(folder: Path, chosen: TrinoPorts, *, after: tuple[str, ...] = (), gate: str | None = None) -> ProcessSpec:
    """The server as the supervisor runs it; it must be installed and prepared. `after` and `gate`: see ProcessSpec.

    Its working folder is `folder`: Trino looks for its files in `etc` below that.
    """
    home, etc = RECIPE.folder, folder / "etc"
    options = [line for line in (etc / "jvm.config").read_text().splitlines() if line]
    settings: dict[str, object] = {
        "node.bind-ip": ADDRESS,
        "config": etc / "config.properties",
        "log.levels-file": etc / "log.properties",
        "plugin.dir": home / "plugin",
        "java.io.tmpdir": folder / "tmp",
    }
    (folder / "tmp").mkdir(exist_ok=True, mode=0o700)
    given = (f"-D{name}={value}" for name, value in (_node(etc) | settings).items())
    return ProcessSpec(
        name="trino",
        command=(str(java_binary()), *options, *given, "-cp", f"{home / 'lib'}/*", "io.trino.server.TrinoServer"),
        folder=str(folder),
        port=chosen.https,
        health=Health((Answer(chosen.http, HEALTH_PATH, '"starting":false'), Answer(chosen.https, ""))),
        after=after,
        gate=gate,
        start_timeout=300,
        stop_timeout=20,
    )


def _node(etc: Path) -> dict[str, object]:
    """The node's properties as system properties, which is how Trino's own launcher hands them over."""
    lines = (etc / "node.properties").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def endpoint(folder: Path, chosen: TrinoPorts, password: str, user: str = PLATFORM_USER) -> TrinoEndpoint:
    """How to reach this server as `user`."""
    return TrinoEndpoint(f"https://localhost:{chosen.https}", user, password, folder / "ca.pem")
