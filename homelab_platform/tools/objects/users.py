"""The users of an S3 server, whichever server it is.

Belongs here: choosing the administrative interface by what answers. Not here: the interfaces (access_minio.py,
access_seaweedfs.py), or what each user may do (access.py).
"""

from __future__ import annotations

from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.access import NoUsers, ObjectAccess
from homelab_platform.tools.objects.access_minio import MinioAccess
from homelab_platform.tools.objects.access_seaweedfs import SeaweedAccess
from homelab_platform.tools.objects.client import ObjectStore


def open_access(endpoint: ObjectsEndpoint) -> ObjectAccess:
    """The users of the server at this endpoint, whose key must be its administrator's.

    Raises HomelabError when nothing answers, and NoUsers for a server that is neither MinIO nor SeaweedFS.
    """
    with ObjectStore(endpoint, retries=2, timeout=10) as store:
        kind = store.server()
    if kind.startswith("minio"):
        return MinioAccess(endpoint)
    if kind.startswith("seaweedfs"):
        return SeaweedAccess(endpoint)
    raise NoUsers.of(
        endpoint.url,
        f"users and keys cannot be made on this S3 server ({kind or 'it does not say what it is'})",
        "Use MinIO or SeaweedFS, or leave the rights to that server's own administration.",
    )
