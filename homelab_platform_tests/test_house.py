"""The house: the order of the folders that lint holds is the one that people read about, and every folder is in it."""

from __future__ import annotations

import ast
import configparser
import re

from homelab_platform.paths import PROJECT

_ROW = re.compile(r"^\| `([a-z]+)/` \|", re.MULTILINE)
_ORDER = re.compile(r"^`(wire → .*)`$", re.MULTILINE)


def contract() -> list[set[str]]:
    """The storeys of the import contract, lowest first; each is a set of folders."""
    settings = configparser.ConfigParser()
    settings.read(PROJECT / "setup.cfg")
    lines = settings["importlinter:contract:order"]["layers"].split()
    storeys = " ".join(lines).replace(" | ", "|").split()
    return [set(storey.split("|")) for storey in reversed(storeys)]


def folders() -> set[str]:
    return {path.parent.name for path in (PROJECT / "homelab_platform").glob("*/__init__.py")}


def test_every_folder_has_its_place_in_the_order() -> None:
    assert folders() <= set().union(*contract())


def test_the_architecture_page_says_the_order_that_lint_holds() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text()
    (line,) = _ORDER.findall(page)
    said = [set(storey.split(", ")) for storey in line.split(" → ")]
    assert said == [storey & folders() for storey in contract() if storey & folders()]
    assert set(_ROW.findall(page)) == folders()


def imports() -> dict[str, set[str]]:
    """What each module of the package imports of it, wherever in the file that stands."""
    files = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (PROJECT / "homelab_platform").rglob("*.py")
    }

    def module(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name

    found: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found[name] |= {module(f"{node.module}.{alias.name}") for alias in node.names} - {"", name}
    return found


def test_no_two_files_import_each_other_directly_or_in_a_circle() -> None:
    waiting = imports()
    while free := {name for name, needed in waiting.items() if not needed & waiting.keys()}:
        waiting = {name: needed for name, needed in waiting.items() if name not in free}
    assert not waiting, f"these import each other in circles: {sorted(waiting)}"
