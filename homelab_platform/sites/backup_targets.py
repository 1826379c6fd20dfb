"""The lab's backup targets as this machine reaches them: folders, mounted shares, SFTP, S3.

Belongs here: from a target's address and references to something that can be written to, or why it cannot. Not here:
what a target does (layers/backups).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.lab.resolved import ResolvedTarget
from homelab_platform.layers.backups.depots import S3Depot, SftpDepot
from homelab_platform.layers.backups.mounted import mounted_at
from homelab_platform.layers.backups.remote import RemoteTarget
from homelab_platform.layers.backups.targets import FolderTarget, Target
from homelab_platform.secrets.values import reveal
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.ssh.sftp import Sftp
from homelab_platform.tools.ssh.target import SshAccess
from homelab_platform.tools.ssh.target import Target as Machine

KNOWN_HOSTS = "known_hosts"
PROVIDERS = {
    "b2": "https://s3.{region}.backblazeb2.com",
    "aws": "https://s3.{region}.amazonaws.com",
    "wasabi": "https://s3.{region}.wasabisys.com",
    "scaleway": "https://s3.{region}.scw.cloud",
    "hetzner": "https://{region}.your-objectstorage.com",
}
"""Where S3 storage is asked that a lab names by its provider. Others are their own host name, or say `endpoint:`."""
MOUNTED = ("nfs", "smb", "usb")


class BackupMachine(Machine):
    """A machine that takes backups; the lab's `known_hosts` knows it as `target.NAME`."""

    @property
    def where(self) -> str:
        """The target as a message names it."""
        return f"target {self.name.removeprefix('target.')} ({self.address})"


def lab_target(target: ResolvedTarget, lab: str, folder: Path, work: Path, key: str) -> Target:
    """The target of a lab whose file lies in `folder`; `work` is for its mirror, `key` where it has none of its own.

    Raises HomelabError that says why this machine cannot reach it.
    """
    parts = urlsplit(target.url)
    secret = _revealed(target, "password", folder) or key
    if parts.scheme == "file":
        return FolderTarget(target.name, Path(unquote(parts.path)), lab, secret)
    if parts.scheme in MOUNTED:
        place = mounted_at(target.url)
        if place is None:
            raise HomelabError.of(
                f"target {target.name}", f"{target.url} is not mounted on this machine", "Mount it (fstab, automount)."
            )
        return FolderTarget(target.name, place, lab, secret)
    mirror = work / "targets" / target.name
    if parts.scheme == "ssh":
        depot: SftpDepot | S3Depot = SftpDepot(_sftp(target, folder, mirror.with_name(f"{target.name}.key")))
    elif parts.scheme in ("s3", "b2"):
        depot = _bucket(target, folder)
    else:
        raise HomelabError.of(
            f"target {target.name}",
            f"{parts.scheme}:// targets are not written to by this version",
            "Use ssh://, s3://, or a mounted folder.",
        )
    return RemoteTarget(target.name, depot, mirror, lab, secret)


def machine_of(target: ResolvedTarget) -> BackupMachine:
    """The machine of an ssh:// target, under the name by which its host key is known."""
    parts = urlsplit(target.url)
    return BackupMachine(f"target.{target.name}", parts.hostname or "", parts.username or "root", parts.port or 22)


def _sftp(target: ResolvedTarget, folder: Path, key_file: Path) -> Sftp:
    key = _revealed(target, "key", folder)
    if key:
        write_whole(key_file, key.rstrip("\n") + "\n")
    access = SshAccess(folder / KNOWN_HOSTS, key=key_file.absolute() if key else None)
    return Sftp(machine_of(target), access, unquote(urlsplit(target.url).path) or "/")


def _bucket(target: ResolvedTarget, folder: Path) -> S3Depot:
    text, _, provider = target.url.partition("://")[2].partition("@")
    provider, _, path = provider.partition("/")
    bucket, _, below = text.partition("/")
    prefix = "/".join(part for part in (below, path) if part).strip("/")
    region = str(target.settings.get("region") or "")
    address = str(target.settings.get("endpoint") or "") or PROVIDERS.get(provider, f"https://{provider}")
    if "{region}" in address and not region:
        raise HomelabError.of(
            f"target {target.name}", f"{provider} is asked in a region, and the lab says none", "Add region: to it."
        )
    if not provider and not target.settings.get("endpoint"):
        raise HomelabError.of(f"target {target.name}", "no S3 server is said", "Add endpoint: or @PROVIDER to it.")
    url = address.format(region=region) if "://" in address else f"https://{address}"
    access, secret = (_revealed(target, name, folder) for name in ("key", "secret"))
    if not access or not secret:
        raise HomelabError.of(f"target {target.name}", "has no key and secret", "Add key: and secret: as references.")
    return S3Depot(ObjectsEndpoint(url, access, secret, region or "us-east-1"), bucket, f"{prefix}/" if prefix else "")


def _revealed(target: ResolvedTarget, name: str, folder: Path) -> str:
    reference = target.credentials.get(name)
    return reveal(reference, folder) if reference else ""
