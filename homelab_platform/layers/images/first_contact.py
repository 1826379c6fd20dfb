"""The lab's `known_hosts`, so that the first contact with a new host is with the right one.

Belongs here: adding a host's key. Not here: using it (tools/ssh).
"""

from __future__ import annotations

from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.files import EVERYONE_READS, write_whole


def is_known(known_hosts: Path, host: str, key: str) -> bool:
    """Whether the file has `key` (`ssh-ed25519 AAAA…`) for `host`.

    Raises HomelabError if it has another key of this kind for it.
    """
    for line in _lines(known_hosts):
        fields = line.split()
        if len(fields) < 3 or host not in fields[0].split(",") or fields[1] != key.split(maxsplit=1)[0]:
            continue
        if " ".join(fields[1:3]) == key:
            return True
        raise HomelabError.of(
            str(known_hosts),
            f"has another key for {host} than the one of its image",
            f"Is the host set up anew? Forget the old one: ssh-keygen -R {host} -f {known_hosts}",
        )
    return False


def learn_host_key(known_hosts: Path, host: str, key: str) -> bool:
    """Add `key` of `host` to the file, which is made; False if it is there already. Raises as `is_known`."""
    if is_known(known_hosts, host, key):
        return False
    text = "\n".join([*_lines(known_hosts), f"{host} {key}"]) + "\n"
    write_whole(known_hosts, text, mode=EVERYONE_READS)
    return True


def _lines(known_hosts: Path) -> list[str]:
    return known_hosts.read_text().splitlines() if known_hosts.exists() else []
