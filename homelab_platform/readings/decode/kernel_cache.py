"""Where the compiled kernel of these very sources is kept.

Belongs here: the folder's name. Not here: compiling (kernel.py, kernel_values.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from homelab_platform.paths import cache_home


def kernel_cache() -> Path:
    """The folder of the compiled code of these very sources; the package's own may be read-only.

    numba compares the date of the file that a cached function stands in, not of those that it calls: after an upgrade
    of one of the two the kernel would go on with the old code of the other.
    """
    sources = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("kernel.py", "kernel_values.py"))
    return cache_home() / "numba" / hashlib.sha256(sources).hexdigest()[:16]
