"""How people prove themselves to Trino: the password file.

Belongs here: hashing passwords as Trino's file authenticator reads them. Not here: its certificate
(tools/certificates.py), or who has which rights (plan/trino/config.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from homelab_platform.errors import HomelabError

BCRYPT_COST = 10
"""Trino refuses less than 8. Each step doubles the time of a first login (60 ms at 10); Trino remembers it."""
LONGEST_PASSWORD = 72
"""Bytes that bcrypt looks at; what comes after them would not count."""


def password_file(passwords: Mapping[str, str], known: str = "") -> str:
    """The password file of these people. A line of `known` that still fits is kept, so that equal people give equal
    text.

    Raises HomelabError for a password that bcrypt would cut.
    """
    lines = dict(line.split(":", 1) for line in known.splitlines() if ":" in line)
    return "".join(f"{name}:{_hashed(name, passwords[name], lines.get(name))}\n" for name in sorted(passwords))


def _hashed(name: str, password: str, known: str | None) -> str:
    import bcrypt

    secret = password.encode()
    if not password or len(secret) > LONGEST_PASSWORD:
        raise HomelabError.of(
            f"password of {name}", f"has {len(secret)} bytes", f"Choose one of 1 to {LONGEST_PASSWORD} bytes."
        )
    if known is not None and bcrypt.checkpw(secret, known.replace("$2y$", "$2b$").encode()):
        return known
    made = bcrypt.hashpw(secret, bcrypt.gensalt(BCRYPT_COST)).decode()
    return made.replace("$2b$", "$2y$")  # the same thing by the name under which Trino knows it
