"""NixOS' own list of options (26.11pre of July 2026, names and types), and whether what nix/ sets is in it.

Belongs here: looking options up. What their types allow is read in option_types.py.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from homelab_platform_tests.nix import option_types

LIST = Path(__file__).with_name("nixos-options.json.xz")
FOREIGN = ("boot.loader.raspberry-pi", "sdImage", "homelab")
"""Options of nixos-raspberrypi and of nixpkgs' images, which the list does not have, and our own."""
FREE = re.compile(
    r"attribute set of (\(systemd option\)|.*INI|anything|raw|string|boolean|module|absolute path|.*\(Samba|.*atom)"
    r"|open submodule of|JSON value|YAML|TOML|nixpkgs config|attribute set|list of anything|dnsmasq|value"
)


@cache
def options() -> dict[str, str]:
    """Types by option; a name that the user gives is `<name>`, a member of a list `*`."""
    found: dict[str, str] = json.loads(lzma.decompress(LIST.read_bytes()))
    return found


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is set, as paths of option names; the members of a list of sets are at `*`, as in NixOS' list."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for item in value:
            yield from leaves(item, (*path, "*"))
    else:
        yield path, value


def wrong_with(path: tuple[str, ...], value: Any) -> str | None:
    """What is wrong with a value: no such option, or not of its type. It may lie within an option: then that one's
    type must leave open what is in it, unless the list says nothing of the option's own members."""
    known = options()
    for end in range(len(path), 0, -1):
        found = next((name for name in _spellings(path[:end]) if name in known), None)
        if found is None:
            continue
        kind = known[found]
        inside = path[end:]
        if not inside:
            return None if option_types.check(kind)(value) else f"{'.'.join(path)} = {value!r}: is to be {kind}"
        if inside == ("*",) or FREE.search(kind) or (value == {} and len(inside) == 1 and "attribute set of" in kind):
            return None
        members = any(name.startswith(f"{found}.") for name in known)
        return f"{'.'.join(path)}: NixOS has no such option" if members or "submodule" not in kind else None
    return f"{'.'.join(path)}: NixOS has no such option"


def wrong_options(system: dict[str, Any]) -> list[str]:
    """What NixOS' list has against the options that a system sets."""
    return [
        said
        for path, value in leaves(system)
        if not ".".join(path).startswith(FOREIGN) and (said := wrong_with(path, value))
    ]


def _spellings(path: tuple[str, ...]) -> Iterator[str]:
    for mask in range(2 ** min(len(path), 8)):
        yield ".".join("<name>" if mask >> place & 1 else part for place, part in enumerate(path))
