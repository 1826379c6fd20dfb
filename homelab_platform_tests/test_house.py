"""The house: the order of the folders that lint holds is the one that people read about, every folder is in it, and
files and functions stay small enough to be read.
"""

from __future__ import annotations

import ast
import configparser
import re

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.paths import PROJECT

LONGEST_FUNCTION, LONGEST_FILE, DOCUMENTED = 60, 400, 0.95
MOST_ANY_LINES = 644
"""Lines of the package that say `Any`, where 944 were: lower it when they become fewer, never raise it.

`Any` switches the type checker off for whatever it touches. What comes from outside is `object` until it was looked at,
`Json` or `Document` (wire/json_types.py) where it stays JSON, and else a model or a frozen dataclass. The lines that
are left stand at libraries without types, in models that pydantic reads, and in what is not yet mended.
"""
ASKING = {"lab", "plan", "apply", "layers", "operations", "graph"}
"""Folders whose code asks who provides something."""
MOST_PRODUCT_NAMES = 108
"""Names of products of the catalogue in these folders: lower it when they become fewer, never raise it.

Those that are left are words of the lab file (`via: nifi`, the storage class longhorn, `issuer: vault`), names of
interfaces that are called like a product (postgresql, prometheus), parts that k3s brings along, names of former times,
passwords that are no secret, and the project's own engines.
"""
LONG_FUNCTIONS = {
    # one loop: a call with so many arrays hands over a hundred words
    "homelab_platform/readings/decode/kernel.py:_line",
}
TAKEN_SILENTLY = {"_staged", "_run", "_record"}
"""What callbacks are given by default that are no `Say`: they take something else than a line."""
LONG_FILES = {
    # hosts get it as one file that needs nothing but the interpreter
    "ansible/roles/collector/files/collector.py",
}

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


Function = ast.FunctionDef | ast.AsyncFunctionDef


def shipped() -> dict[str, str]:
    """Our own Python beside the tests, by its path: modules, what hosts and NiFi are given, and scripts."""
    found: dict[str, str] = {}
    for folder in ("homelab_platform", "ansible", "nifi", "scripts", "bench"):
        for path in (PROJECT / folder).rglob("*"):
            if not path.is_file() or path.is_symlink() or path.suffix not in ("", ".py"):
                continue
            text = path.read_text(errors="replace")
            if path.suffix == ".py" or re.match(r"#!.*\bpython", text):
                found[path.relative_to(PROJECT).as_posix()] = text
    return found


def test_files_and_functions_are_short_but_for_those_that_say_why() -> None:
    long_files, long_functions = set(), set()
    for name, text in shipped().items():
        if text.count("\n") > LONGEST_FILE:
            long_files.add(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION:
                long_functions.add(f"{name}:{node.name}")
    assert (long_files, long_functions) == (LONG_FILES, LONG_FUNCTIONS)


def test_what_is_public_says_what_it_is() -> None:
    bare, count = [], 0
    for name, text in shipped().items():
        if not name.startswith("homelab_platform/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                count += 1
                if ast.get_docstring(node) is None:
                    bare.append(f"{name}:{node.lineno} {node.name}")
    assert 1 - len(bare) / count >= DOCUMENTED, bare


def test_nothing_that_says_nothing_is_written_twice() -> None:
    found = []
    for name, text in shipped().items():
        for node in ast.walk(ast.parse(text)) if name.startswith("homelab_platform/") else ():
            if not isinstance(node, ast.Lambda) or len(node.args.args) != 1 or ast.unparse(node.body) != "None":
                continue
            if node.args.args[0].arg not in TAKEN_SILENTLY:
                found.append(f"{name}:{node.lineno} (names.silent)")
    assert not found


def test_the_type_checker_is_switched_off_in_no_more_places_than_before() -> None:
    package = {name: text for name, text in shipped().items() if name.startswith("homelab_platform/")}
    lines = {
        name: sum(1 for line in text.splitlines() if re.search(r"\bAny\b", line)) for name, text in package.items()
    }
    most = sorted(lines, key=lambda name: -lines[name])[:10]
    assert sum(lines.values()) <= MOST_ANY_LINES, {name: lines[name] for name in most}


def test_code_asks_for_interfaces_and_names_no_more_products_than_before() -> None:
    """`provides:` answers `needs:`, so that an entry of one's own counts like one of the project's."""
    products = {name for name, entry in load_catalogue().entries.items() if entry.kind in ("helm", "kustomize")}
    found = []
    for name, text in shipped().items():
        if name.split("/")[0] != "homelab_platform" or name.split("/")[1] not in ASKING:
            continue
        tree = ast.parse(text)
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
        }
        found += [
            f"{name}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in products and id(node) not in docs
        ]
    assert len(found) <= MOST_PRODUCT_NAMES, "\n".join(found)
