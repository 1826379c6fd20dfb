"""How much memory a process and its descendants hold.

Belongs here: measuring only.
"""

from __future__ import annotations

import psutil


def tree_rss(pid: int, *, alone: bool = False) -> int:
    """Resident memory of a process and, unless `alone`, all its descendants, in bytes; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        members = [process, *([] if alone else process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0
    return sum(_rss(member) for member in members)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def tree_pss(pid: int, *, alone: bool = False) -> int:
    """Memory of a process and, unless `alone`, its descendants, in bytes, pages shared by n processes counted 1/n in
    each; 0 when it is gone.

    Only on Linux, and only for processes that we may look into; others count with their resident memory.
    """
    try:
        process = psutil.Process(pid)
        members = [process, *([] if alone else process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(member) for member in members)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
        return _rss(process)
