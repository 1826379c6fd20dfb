"""What a user installs: all that the platform imports, nothing that only developers need, each thing with a reason."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib

import pytest

from homelab_platform.paths import PROJECT

OPTIONAL = {"IPython"}
"""Imported only inside a notebook, which brings it."""


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(lock: str) -> dict[str, str]:
    """Each package of a lock, with its version and marker."""
    lines = re.findall(r"^([\w.-]+)(==.*?) *\\?$", (PROJECT / lock).read_text(), re.MULTILINE)
    return {_plain(name): rest for name, rest in lines}


@pytest.mark.slow
def test_whatever_the_platform_imports_is_in_the_lock_of_users() -> None:
    shipped = importlib.metadata.packages_distributions()
    users = _pinned("requirements.lock").keys()
    missing = {
        f"{file.relative_to(PROJECT)}: {name}"
        for file in (PROJECT / "homelab_platform").rglob("*.py")
        for name in _imported(file.read_text())
        if name not in sys.stdlib_module_names | OPTIONAL | {"homelab_platform"}
        and not any(_plain(package) in users for package in shipped.get(name, ()))
    }
    assert not missing


def _imported(source: str) -> set[str]:
    """Top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def test_users_are_not_given_what_only_developers_need() -> None:
    said = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    developers = {_plain(re.split(r"[<>=\[]", line)[0]) for line in said}
    assert not developers & _pinned("requirements.lock").keys()


def test_both_locks_pin_the_same_versions() -> None:
    everything = _pinned("requirements-dev.lock")
    users = _pinned("requirements.lock")
    assert {name: everything.get(name) for name in users} == users


def test_each_direct_dependency_says_why_it_is_there() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    page = (PROJECT / "docs" / "dependencies.md").read_text().lower()
    for line in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        name = re.split(r"[<>=\[]", line)[0].lower()
        kind = {"pandas-stubs": "stubs", "types-psutil": "stubs", "types-pyyaml": "stubs"}.get(name, name)
        if name.startswith("duckdb-extension-"):
            kind = name.removeprefix("duckdb-extension-")
        assert kind in page, f"docs/dependencies.md does not say why {name} is there"
