"""Iceberg's metadata files through our own S3 client: bounded retries, errors that name the server, a light import.

Belongs here: PyIceberg's file interface on ObjectStore, whole small files at a time. Not here: data files (readings
writes Parquet itself) or what the metadata means (tables.py). PyIceberg's own PyArrow interface costs two CPU-seconds
to import, more than a whole small ingest.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from pyiceberg.io import (
    S3_ACCESS_KEY_ID,
    S3_ENDPOINT,
    S3_REGION,
    S3_SECRET_ACCESS_KEY,
    FileIO,
    InputFile,
    InputStream,
    OutputFile,
    OutputStream,
)

from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.client import NotFound, ObjectStore
from homelab_platform.tools.objects.durability import settle

OBJECTS_FOLDER = "homelab.objects-folder"
"""The property that names the folder of an S3 server on this machine, whose file system is flushed before a commit."""


def split_location(location: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    parts = urlsplit(location)
    return parts.netloc, parts.path.lstrip("/")


class _Input(InputFile):
    def __init__(self, location: str, store: ObjectStore) -> None:
        super().__init__(location)
        self._store = store

    def __len__(self) -> int:
        found = self._store.head(*split_location(self.location))
        if found is None:
            raise FileNotFoundError(self.location)
        return found.size

    def exists(self) -> bool:
        """Whether the object is there."""
        return self._store.head(*split_location(self.location)) is not None

    def open(self, seekable: bool = True) -> InputStream:
        """The whole object as a stream."""
        try:
            return io.BytesIO(self._store.get(*split_location(self.location)))
        except NotFound:
            raise FileNotFoundError(self.location) from None


class _Stream(io.BytesIO):
    """Bytes that become the object when the stream is closed without an error."""

    def __init__(self, owner: _Output) -> None:
        super().__init__()
        self._owner = owner

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            super().close()

    def close(self) -> None:
        if not self.closed:
            self._owner.send(self.getvalue())
        super().close()


class _Output(OutputFile):
    def __init__(self, location: str, store: ObjectStore) -> None:
        super().__init__(location)
        self._store = store
        self._size = -1

    def send(self, data: bytes) -> None:
        self._store.put(*split_location(self.location), data)
        self._size = len(data)

    def __len__(self) -> int:
        return self._size if self._size >= 0 else len(self.to_input_file())

    def exists(self) -> bool:
        """Whether the object is there."""
        return self._store.head(*split_location(self.location)) is not None

    def create(self, overwrite: bool = False) -> OutputStream:
        """A stream whose content becomes the object when it is closed."""
        return _Stream(self)

    def to_input_file(self) -> InputFile:
        """The same object to read."""
        return _Input(self.location, self._store)


class StoreFileIO(FileIO):
    """PyIceberg's FileIO on ObjectStore; made from the catalog's `s3.*` properties, as PyIceberg makes any FileIO."""

    def __init__(self, properties: Any = None, store: ObjectStore | None = None) -> None:
        super().__init__(properties or {})
        self.store = store or ObjectStore(
            ObjectsEndpoint(
                url=self.properties[S3_ENDPOINT],
                access_key=self.properties[S3_ACCESS_KEY_ID],
                secret_key=self.properties[S3_SECRET_ACCESS_KEY],
                region=self.properties.get(S3_REGION, "us-east-1"),
            )
        )

    def settle(self) -> None:
        """Have everything written so far on the disk, where the S3 server leaves that to the operating system."""
        folder = self.properties.get(OBJECTS_FOLDER)
        settle(Path(folder) if folder else None)

    def new_input(self, location: str) -> InputFile:
        """An object to read."""
        return _Input(location, self.store)

    def new_output(self, location: str) -> OutputFile:
        """An object to write."""
        return _Output(location, self.store)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete an object."""
        bucket, key = split_location(location if isinstance(location, str) else location.location)
        self.store.delete(bucket, [key])
