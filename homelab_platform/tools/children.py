"""Child processes that end with their parent, so that a killed process leaves nothing at work behind it.

Belongs here: the one call into the kernel that ties them. Not here: starting programs.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def dying_with_parent() -> Callable[[], None]:
    """A `preexec_fn` for a program that is to be killed as soon as this process is gone (prctl(2), PR_SET_PDEATHSIG).

    The kernel means the thread that starts the program: it has to wait for the program's end.
    """
    parent = os.getpid()

    def tie() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed between the fork and the call
            os._exit(1)

    return tie
