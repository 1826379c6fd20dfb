"""What can go wrong between us and an S3 server, one type per cause.

Belongs here: types that callers catch. Not here: how an answer is told apart (client.py).
"""

from __future__ import annotations

from homelab_platform.errors import HomelabError


class ObjectsError(HomelabError):
    """An S3 server refused or failed; the problem names endpoint, bucket and key."""


class ObjectsUnreachable(ObjectsError):
    """Nothing answers at the endpoint, or it broke off after all retries."""


class CredentialsRefused(ObjectsError):
    """The server refused the key; the message names the key id, never the secret."""


class NotFound(ObjectsError):
    """No such bucket or key."""


class AlreadyExists(ObjectsError):
    """A write with `if_none_match` found an object under the key: somebody else's write won."""


class StorageFull(ObjectsError):
    """The server has no room left: nothing was written, and nothing will be until somebody makes room."""


class Truncated(ObjectsError):
    """The body is shorter than, or differs from, what the server announced."""
