"""Letting one other account walk through a folder, and nobody else: an entry in the folder's access control list.

Belongs here: POSIX ACLs by their extended attribute, as acl(5) and the kernel's posix_acl_xattr.h describe it: a
version number, then entries of tag, permissions and id, all little-endian. Python has no interface to them.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

_ATTRIBUTE = "system.posix_acl_access"
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_PASS = 1  # x: go through, without seeing what is there


def let_through(folder: Path, uid: int) -> bool:
    """Have the account `uid` go through `folder`; whether that could be set. False where there are no such lists.

    Raises PermissionError if the folder is not ours.
    """
    entries = _entries(folder)
    own = next((perm for tag, perm, who in entries if tag == _USER and who == uid), 0)
    if own & _PASS:
        return True
    entries = [entry for entry in entries if not (entry[0] == _USER and entry[2] == uid)]
    entries.append((_USER, own | _PASS, uid))
    wide = 0
    for tag, perm, _ in entries:
        wide |= perm if tag not in (_OWNER, _OTHER, _MASK) else 0
    mask = next((perm for tag, perm, _ in entries if tag == _MASK), None)
    entries = [entry for entry in entries if entry[0] != _MASK]
    entries.append((_MASK, wide if mask is None else mask | _PASS, _NO_ID))
    data = _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in sorted(entries, key=lambda e: (e[0], e[2])))
    try:
        os.setxattr(folder, _ATTRIBUTE, data)
    except PermissionError:
        raise
    except OSError:
        return False
    return True


def may_pass(folder: Path, uid: int) -> bool:
    """Whether an entry lets `uid` through, or everybody may go through anyway."""
    if folder.stat().st_mode & stat.S_IXOTH:
        return True
    return any(tag == _USER and who == uid and perm & _PASS for tag, perm, who in _entries(folder))


def _entries(folder: Path) -> list[tuple[int, int, int]]:
    """The folder's list; what its mode says where it has none."""
    try:
        data = os.getxattr(folder, _ATTRIBUTE)
        return [(tag, perm, who) for tag, perm, who in _ENTRY.iter_unpack(data[_VERSION.size :])]
    except OSError:
        mode = folder.stat().st_mode
        return [(_OWNER, mode >> 6 & 7, _NO_ID), (_GROUP, mode >> 3 & 7, _NO_ID), (_OTHER, mode & 7, _NO_ID)]
