"""Where targets on other machines keep their small files, and how restic reaches them: over SFTP, or in an S3 bucket.

Belongs here: one class for each way. Not here: what the files mean (remote.py, records.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.client import CredentialsRefused, ObjectStore, ObjectsUnreachable
from homelab_platform.tools.ssh.errors import AuthFailed, UnknownHostKey
from homelab_platform.tools.ssh.sftp import Sftp


class Depot(Protocol):
    """A place on another machine. Every method raises Unreachable when it does not answer."""

    @property
    def place(self) -> str:
        """Its address, as a message names it."""

    @property
    def options(self) -> tuple[str, ...]:
        """Extended options of restic that lead there."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables with the credentials for restic."""
        ...

    def location(self, path: str) -> str:
        """A repository there, as restic writes it."""

    def names(self) -> Sequence[str]:
        """What lies there at the top; HomelabError if the place itself is not there."""
        ...

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """Copy files, and folders with all that is in them, into `into`; what is not there is left out."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def remove(self, name: str) -> None:
        """Delete a file; no error if there is none."""

    def room(self) -> int | None:
        """Bytes that are free; None where the place does not say."""


@dataclass(frozen=True)
class SftpDepot:
    """A folder on another machine."""

    sftp: Sftp

    @property
    def place(self) -> str:
        """Login, machine and folder."""
        target = self.sftp.target
        port = f":{target.port}" if target.port != 22 else ""
        return f"{target.user}@{target.address}{port}:{self.sftp.folder}"

    @property
    def options(self) -> tuple[str, ...]:
        """The same connection for restic."""
        return (f"sftp.command={self.sftp.transport()}",)

    @property
    def environment(self) -> Mapping[str, str]:
        """None: the key is the connection's."""
        return {}

    def location(self, path: str) -> str:
        """`sftp:` with an absolute path, or one below the login's home."""
        target, folder = self.sftp.target, self.sftp.folder.rstrip("/")
        if target.port != 22:
            return f"sftp://{target.user}@{target.address}:{target.port}/{folder}/{path}"
        return f"sftp:{target.user}@{target.address}:{folder}/{path}"

    def names(self) -> Sequence[str]:
        """Names in the folder."""
        with _let_in():
            return self.sftp.listing()

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """All of them in one connection."""
        with _let_in():
            self.sftp.fetch(names, into)

    def put(self, name: str, data: bytes) -> None:
        """Under another name first, then renamed."""
        with _let_in():
            self.sftp.put(name, data)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with _let_in():
            self.sftp.remove(name)

    def room(self) -> int | None:
        """What the server's `statvfs` says."""
        with _let_in():
            return self.sftp.room()


@contextmanager
def _let_in() -> Iterator[None]:
    """A machine that was never met, or that does not know our key yet, is out of reach until its owner acts."""
    try:
        yield
    except (UnknownHostKey, AuthFailed) as error:
        raise Unreachable(error.problems) from error


@dataclass(frozen=True)
class S3Depot:
    """A bucket of an S3 server, below `prefix` (empty, or ending in a slash)."""

    endpoint: ObjectsEndpoint
    bucket: str
    prefix: str = ""
    environment: Mapping[str, str] = field(init=False, repr=False)
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """The credentials as restic takes them."""
        keys = {
            "AWS_ACCESS_KEY_ID": self.endpoint.access_key,
            "AWS_SECRET_ACCESS_KEY": self.endpoint.secret_key,
            "AWS_DEFAULT_REGION": self.endpoint.region,
        }
        object.__setattr__(self, "environment", keys)

    @property
    def place(self) -> str:
        """Bucket and server."""
        return f"s3://{self.bucket}/{self.prefix} at {self.endpoint.url}".replace("/ at", " at")

    def location(self, path: str) -> str:
        """`s3:` with the server's address."""
        return f"s3:{self.endpoint.url.rstrip('/')}/{self.bucket}/{self.prefix}{path}"

    def names(self) -> Sequence[str]:
        """The first part of each key below the prefix."""
        with self._store() as store:
            keys = (info.key.removeprefix(self.prefix) for info in store.list(self.bucket, self.prefix))
            return sorted({key.partition("/")[0] for key in keys})

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """One object after the other; an object is taken as long as it is there."""
        with self._store() as store:
            for name in names:
                for info in store.list(self.bucket, self.prefix + name):
                    key = info.key.removeprefix(self.prefix)
                    if key == name or key.startswith(f"{name}/"):
                        file = into / key
                        file.parent.mkdir(parents=True, exist_ok=True)
                        file.write_bytes(store.get(self.bucket, info.key))

    def put(self, name: str, data: bytes) -> None:
        """One object."""
        with self._store() as store:
            store.put(self.bucket, self.prefix + name, data)

    def remove(self, name: str) -> None:
        """Delete an object."""
        with self._store() as store:
            store.delete(self.bucket, [self.prefix + name])

    def room(self) -> int | None:
        """An S3 server does not say."""
        return None

    @contextmanager
    def _store(self) -> Iterator[ObjectStore]:
        try:
            with ObjectStore(self.endpoint, retries=2, timeout=20) as store:
                if not store.bucket_exists(self.bucket):
                    raise HomelabError.of(self.place, "there is no such bucket", "Make it at the provider.")
                yield store
        except ObjectsUnreachable as error:
            raise Unreachable.of(self.place, error.problems[0].what, "Is the line up, and the address right?") from None
        except CredentialsRefused as error:
            raise Unreachable.of(
                self.place, f"does not let us in: {error.problems[0].what}", "Look at key and secret of the target."
            ) from None
