"""Which variables of the caller's shell reach a supervised process: those that it needs, and no other.

Belongs here: the allow-list. A shell holds cloud keys and tokens of other programs; a server that runs as another
account would hand them to it. Standard library only, because the supervisor must stay small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NAMES = frozenset({
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "TZDIR", "USER",
    "VIRTUAL_ENV", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "NIX_SSL_CERT_FILE", "LOCALE_ARCHIVE",
})  # fmt: skip
PREFIXES = ("LC_", "XDG_", "NUMBA_", "HOMELAB_", "PYTHON", "MPLCONFIGDIR", "MALLOC_", "SUDO_U", "SUDO_G")
OF_ANOTHER_SITE = ("HOMELAB_SITE", "HOMELAB_LAB", "HOMELAB_PG_", "HOMELAB_SECRET")
"""What a caller that belongs to a site itself was told of that one."""
OF_THE_GRAPH = ("SSH_AUTH_SOCK", "KUBECONFIG", "NIX_REMOTE", "NIX_PATH", "NIX_CONFIG")
"""What processes of the graph need besides, to reach hosts, a cluster and a builder as their owner does."""


def allowed(environment: Mapping[str, str], further: Iterable[str] = ()) -> dict[str, str]:
    """The part of `environment` that a process may have: what every program needs, and the names in `further`."""
    wanted = NAMES.union(further)
    return {
        name: value
        for name, value in environment.items()
        if name in wanted or (name.startswith(PREFIXES) and not name.startswith(OF_ANOTHER_SITE))
    }
