"""The data folder of an embedded site: where its files lie, and reading and writing the two that describe it.

Belongs here: layout, `site.json`, `secrets.json`. Not here: processes (processes.py) or refusing a bad machine
(checks.py).
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.plan.sites import ON_THIS_MACHINE, SiteKind
from homelab_platform.servers.supervise.spec import write_json

FORMAT = 2
"""What a site runs: PostgreSQL and SeaweedFS with the graph; the engines of a lab besides; or it steers the lab's own
hosts and cluster."""
OBJECT_SERVERS = ("seaweedfs", "minio")


@dataclass(frozen=True)
class Layout:
    """The paths below a site's root."""

    root: Path

    @property
    def site_file(self) -> Path:
        """Ports, versions, which lab."""
        return self.root / "site.json"

    @property
    def secrets_file(self) -> Path:
        """Random credentials, readable by the owner only."""
        return self.root / "secrets.json"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data."""
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """SeaweedFS's data."""
        return self.root / "objects"

    @property
    def minio(self) -> Path:
        """MinIO's data, where a site runs it instead of SeaweedFS."""
        return self.root / "minio"

    @property
    def trino(self) -> Path:
        """Trino's settings."""
        return self.root / "trino"

    @property
    def nifi(self) -> Path:
        """NiFi's settings, flows and queues."""
        return self.root / "nifi"

    @property
    def mqtt(self) -> Path:
        """The broker's settings, sessions and queues."""
        return self.root / "mqtt"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def logs(self) -> Path:
        """One log for each process, rolled by size."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What the supervisor is told and says."""
        return self.root / "run"

    @property
    def drop(self) -> Path:
        """Files that a user drops for ingest."""
        return self.root / "drop"

    @property
    def up_lock(self) -> Path:
        """Held while somebody starts or stops the site."""
        return self.run / "up.lock"

    @property
    def prepared(self) -> Path:
        """Exists once databases and buckets do: the processes of the graph wait for it."""
        return self.run / "prepared"

    @property
    def mark(self) -> str:
        """In the environment of each process of this site."""
        return f"HOMELAB_SUPERVISED={self.root}"

    def make(self) -> None:
        """Make the folders. Raises HomelabError when that is not possible here."""
        try:
            for folder in (self.root, self.objects, self.dagster_home, self.logs, self.run, self.drop):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HomelabError.of(
                str(self.root),
                f"cannot make the site's data folder: {error.strerror}",
                "Set HOMELAB_DATA to a folder that you may write to.",
            ) from None


@dataclass
class SiteFile:
    """What `site.json` holds; `ports` by name of the server, `created` a Unix time.

    `profile` is one of ON_THIS_MACHINE, `objects` (who serves S3) one of OBJECT_SERVERS. `reach` is how a site of
    kind lab gets at its hosts and cluster: the names are those of sites/reach.py.
    """

    lab: str
    lab_path: str
    ports: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    format: int = FORMAT
    profile: SiteKind = SiteKind.SMALL
    objects: str = "seaweedfs"
    reach: dict[str, str] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether the site runs the engines of a lab."""
        return self.profile is SiteKind.FULL

    def save(self, layout: Layout) -> None:
        """Write it, at once or not at all."""
        write_json(layout.site_file, asdict(self))


def load_site_file(layout: Layout) -> SiteFile | None:
    """The site's file; None when there is none. Raises HomelabError when it cannot be understood."""
    try:
        raw = json.loads(layout.site_file.read_text())
        found = SiteFile(**raw)
        if not isinstance(found.ports, dict) or not all(isinstance(p, int) for p in found.ports.values()):
            raise ValueError("ports are no numbers")
        if found.profile not in ON_THIS_MACHINE or found.objects not in OBJECT_SERVERS:
            raise ValueError(f"no such profile or S3 server: {found.profile}, {found.objects}")
        found.profile = SiteKind(found.profile)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise HomelabError.of(
            str(layout.site_file), "belongs to another user", "Use the account that made the site, or set HOMELAB_DATA."
        ) from None
    except (ValueError, TypeError) as error:
        raise HomelabError.of(
            str(layout.site_file),
            f"cannot be read: {error}",
            "Move this one file away and run `homelab up`: it is made anew, and no data is touched.",
        ) from None
    if found.format > FORMAT:
        raise HomelabError.of(
            str(layout.site_file), "was written by a newer homelab", "Update the project and run this again."
        )
    return found


@dataclass(frozen=True)
class Secrets:
    """The random credentials of a site."""

    postgres_password: str = field(repr=False)
    objects_access_key: str
    objects_secret_key: str = field(repr=False)
    objects_signing_key: str = field(repr=False)
    trino_password: str = field(repr=False)
    trino_shared_secret: str = field(repr=False)
    nifi_key: str = field(repr=False)
    mqtt_password: str = field(repr=False)

    @classmethod
    def fresh(cls) -> Secrets:
        """New ones."""
        made = {entry.name: secrets.token_urlsafe(24) for entry in fields(cls)}
        return cls(**made | {"objects_access_key": f"site-{secrets.token_hex(6)}"})

    def completed(self) -> Secrets:
        """The same, with new ones where one is empty."""
        known = {name: value for name, value in asdict(self).items() if value}
        return Secrets(**asdict(Secrets.fresh()) | known)

    def save(self, layout: Layout) -> None:
        """Write them for the owner's eyes only."""
        write_json(layout.secrets_file, asdict(self), 0o600)


FIRST_SECRETS = {"postgres_password", "objects_access_key", "objects_secret_key", "objects_signing_key"}
"""What a site has had from the start: without one of these the file counts as damaged."""


def load_secrets(layout: Layout) -> Secrets | None:
    """The site's credentials, or None when the file is missing or cannot be understood.

    What the file of an older site does not have yet is empty until the next start makes it.
    """
    try:
        known = json.loads(layout.secrets_file.read_text())
        if not isinstance(known, dict) or not known.keys() >= FIRST_SECRETS:
            return None
        return Secrets(**dict.fromkeys((entry.name for entry in fields(Secrets)), "") | known)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except PermissionError:
        raise HomelabError.of(
            str(layout.secrets_file), "belongs to another user", "Use the account that made the site."
        ) from None
