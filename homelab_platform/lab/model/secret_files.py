"""A secret that is laid down as a file on a host.

Belongs here: what a person may say about such a file. Which ones follow from the lab is in lab/resolve/secrets.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import Many, Node, Secret


def _path(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if not text.startswith("/") or ".." in text.split("/") or text.endswith("/") or not text.isprintable():
        raise q.Bad("this is not an absolute path of a file", "Write one such as /etc/restic/password.")
    return text


def _unix_name(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if not text or not all(c.isalnum() or c in "_-" for c in text) or not text.isascii() or len(text) > 32:
        raise q.Bad("this is not a Unix account or group", "Write a name such as root or www-data.")
    return text


def _mode(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if len(text) != 4 or text[0] != "0" or not set(text) <= set("01234567"):
        raise q.Bad("this is not a mode", 'Write four octal digits in quotes, such as "0400".')
    if int(text[3]):
        raise q.Bad(f"mode {text} lets every account of the host read the secret", 'Write "0440" and a group instead.')
    return text


class SecretFile(Node):
    """A secret as a file on a host, or in short its reference: `token: sops:secrets/app.yaml#token`."""

    short: ClassVar[str | None] = "from"
    from_: Secret = Field(alias="from", description="Reference to the secret.")
    path: Annotated[str, BeforeValidator(_path)] | None = Field(
        None, description="Where it lies; /var/lib/homelab/secrets/NAME when not said."
    )
    owner: Annotated[str, BeforeValidator(_unix_name)] = Field("root", description="Account that it belongs to.")
    group: Annotated[str, BeforeValidator(_unix_name)] = Field("root", description="Group that it belongs to.")
    mode: Annotated[str, BeforeValidator(_mode)] = Field("0400", description="Its permissions.")
    units: Many[str] = Field((), description="systemd units that are restarted when it changes.")
