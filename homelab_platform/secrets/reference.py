"""References to secrets as the lab file writes them.

Belongs here: taking one apart. Not here: the value behind it (values.py), or how one is checked
(lab/quantities.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homelab_platform.errors import HomelabError

Kind = Literal["sops", "env", "file", "vault"]
KINDS: tuple[Kind, ...] = ("sops", "env", "file", "vault")


@dataclass(frozen=True, order=True)
class Reference:
    """One reference: `sops:secrets/dns.yaml#zones.home`, `env:TOKEN`, `file:keys/token`, `vault:kv/dns#token`.

    `place` is a file relative to the lab file's folder, a variable, or Vault's path; `key` the path inside it, whose
    parts a dot parts.
    """

    kind: Kind
    place: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}#{self.key}" if self.key else f"{self.kind}:{self.place}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The path inside the file."""
        return tuple(self.key.split(".")) if self.key else ()


def parse(text: str) -> Reference:
    """The reference that `text` writes. Raises HomelabError, which never repeats a text that is no reference."""
    head, colon, rest = text.partition(":")
    for kind in KINDS:
        if head == kind and colon and rest:
            place, _, key = rest.partition("#") if kind in ("sops", "vault") else (rest, "", "")
            if place and (key or kind in ("env", "file")):
                return Reference(kind, place, key)
    remedy = "Write sops:secrets/NAME.yaml#key, env:NAME or file:path."
    raise HomelabError.of("secret", "not a reference to a secret", remedy, "secret-reference")
