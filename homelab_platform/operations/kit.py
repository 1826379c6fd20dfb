"""The emergency kit of a lab: one page that brings everything back with restic alone, on a machine that has nothing.

Belongs here: what the page says of this lab (kit.html has the rest). It holds no secret: where the key lies, not the
key. Not here: when it is written (backup.py) or printed (cli/).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from homelab_platform.layers.backups.depots import SftpDepot
from homelab_platform.layers.backups.records import GOOD_TAG, KIT
from homelab_platform.layers.backups.remote import RemoteTarget
from homelab_platform.layers.backups.targets import Target
from homelab_platform.operations.site import Item, Protection
from homelab_platform.tools.restic.repository import Repository
from homelab_platform.tools.restic.version import OLDEST
from homelab_platform.tools.ssh.sftp import Sftp

INSIDE = {
    "lake": "<code>lake.dump</code> (the database: tables and ledger) and the objects of both buckets",
    "postgres": "<code>database.dump</code>, the whole database (<code>createdb restored; "
    "pg_restore --no-owner --dbname restored database.dump</code>)",
    "s3": "the objects of the bucket",
    "host-files": "the archives <code>files.tar</code> and <code>databases.tar</code> (<code>tar -xpf</code>, as root, "
    "in an empty folder; then move each folder into its place with its service stopped) and <code>sha256sums</code>",
    "k3s-sqlite": "the archives <code>files.tar</code> and <code>databases.tar</code> (<code>tar -xpf</code> both, as "
    "root, in <code>/</code> of the new server, before k3s starts there for the first time)",
    "files": "the files, below <code>files/</code>",
}
"""What lies in a restored folder, by the item's method."""
BY_NAME = """python3 -c "
import json, pathlib, shutil
for file in json.load(open('manifest.json'))['files']:
    place = pathlib.Path('by-name') / file['name'].replace('://', '/')
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file['path'], place)
"
"""
KEY_FILE, KNOWN_HOSTS = "private-key", "known_hosts"
"""Files beside the person who restores by SFTP: the private key, and the machine's host key."""
TEMPLATE = Path(__file__).with_name("kit.html")


@dataclass(frozen=True)
class Kit:
    """What the page is made of beside the protection: references to credentials by target, the place of the key."""

    credentials: Mapping[str, Mapping[str, str]]
    key_file: str

    def page(self, protection: Protection) -> str:
        """The page as HTML, the same for the same lab."""
        items = sorted(protection.items.values(), key=lambda item: (item.after, item.name))
        return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            lab=escape(protection.lab),
            key_file=escape(self.key_file),
            least=".".join(map(str, OLDEST)),
            targets=self._targets(protection),
            good=GOOD_TAG,
            private_key=KEY_FILE,
            items="\n".join(_item(protection, item) for item in items),
            by_name=escape(BY_NAME.strip()),
        )

    def _targets(self, protection: Protection) -> str:
        rows = [
            (
                escape(target.name),
                f"<code>{escape(target.place)}</code>",
                f"{self._way_in(target.name)}{escape(target.note)}",
            )
            for target in protection.targets
        ]
        rows += [(escape(name), "not written to", escape(why)) for name, why in protection.out_of_reach.items()]
        return "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)

    def _way_in(self, target: str) -> str:
        found = {name: ref for name, ref in self.credentials.get(target, {}).items() if name != "password"}
        own = self.credentials.get(target, {}).get("password")
        words = [f"{name} from <code>{escape(ref)}</code>. " for name, ref in sorted(found.items())]
        if own:
            words.append(f"its own key instead of the recovery key: <code>{escape(own)}</code>. ")
        return "".join(words)


def _item(protection: Protection, item: Item) -> str:
    folder = f"restored/{item.name.replace('/', '_')}"
    parts = [f"<h3>{escape(item.name)}</h3>"]
    for target in protection.targets:
        sftp = _sftp_of(target)
        commands = restic_commands(protection.repository(target, item.name), folder, sftp)
        key = f" The private key lies in the file <code>{KEY_FILE}</code>." if sftp and sftp.access.key else ""
        parts.append(f'<p>From {escape(target.name)}:{key}</p>\n<pre class="run">{escape(commands)}</pre>')
    inside = INSIDE.get(item.copier.method, "the files")
    effect = f" Put back by the platform: {escape(item.effect)}." if item.effect else ""
    said = f"Below <code>{escape(folder)}</code> lie {inside}; <code>manifest.json</code> names each with its SHA-256."
    return "\n".join([*parts, f"<p>{said}{effect}</p>"])


def restic_commands(repository: Repository, folder: str, sftp: Sftp | None = None) -> str:
    """The commands that list an item's snapshots and restore the newest good one into `folder`; no secret is in them.

    `sftp` is the way to a repository on a machine that lets in by SFTP.
    """
    needed = [f"export {name}='…'" for name in repository.environment if "KEY" in name]
    needed += [
        f"export {name}={shlex.quote(value)}" for name, value in repository.environment.items() if "KEY" not in name
    ]
    options: list[str] = []
    if sftp is not None:
        before, options = _by_sftp(sftp)
        needed += before
    base = shlex.join(["restic", *options, "-r", repository.location])
    restored = f"{base} restore latest --tag {GOOD_TAG} --target {shlex.quote(folder)}"
    return "\n".join([*needed, f"{base} snapshots", restored])


def _sftp_of(target: Target) -> Sftp | None:
    depot = target.depot if isinstance(target, RemoteTarget) else None
    return depot.sftp if isinstance(depot, SftpDepot) else None


def _by_sftp(sftp: Sftp) -> tuple[list[str], list[str]]:
    """What is typed before restic reaches a machine by SFTP, and restic's options then: files lie in this folder."""
    words, lines = ["-o", f"HostKeyAlias={sftp.target.name}", "-o", f"UserKnownHostsFile={KNOWN_HOSTS}"], []
    known = sftp.access.known_hosts
    hosts = known.read_text().splitlines() if known.exists() else []
    keys = [line for line in hosts if line.split()[:1] == [sftp.target.name]]
    if keys:
        lines.append(f"printf '%s\\n' {shlex.join(keys)} > {KNOWN_HOSTS}")
    if sftp.access.key is not None:
        words = ["-i", KEY_FILE, *words]
        lines.append(f"chmod 600 {KEY_FILE}")
    return lines, ["-o", f"sftp.args={shlex.join(words)}"]


def leave(protection: Protection, target: Target) -> bool:
    """Write the kit to a target, unless it lies there as it would be written; whether it was. For sites with a kit."""
    if protection.kit is None:
        return False
    page = protection.kit(protection).encode()
    there = target.folder / KIT
    if there.exists() and there.read_bytes() == page:
        return False
    target.write(KIT, page)
    return True
