"""The contract of readings: one definition, of which the documents show the table."""

from __future__ import annotations

import ast
import sys

from homelab_platform import paths
from homelab_platform.servers.nifi import SHARED_MODULES
from homelab_platform.wire import contract


def test_the_documents_show_the_contract_itself() -> None:
    page = paths.project_path("docs", "ingest.md").read_text(encoding="utf-8")
    assert contract.rendered() in page, "paste contract.rendered() into docs/ingest.md"


def test_what_nifi_runs_needs_nothing_but_the_standard_library() -> None:
    for name in SHARED_MODULES:
        tree = ast.parse(
            paths.project_path("homelab_platform", "wire", f"{name}.py").read_text(), feature_version=(3, 9)
        )
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {module.split(".")[0] for module in modules} <= sys.stdlib_module_names, (name, modules)
