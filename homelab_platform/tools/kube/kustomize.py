"""`kubectl kustomize`: the objects of a kustomization.

Belongs here: one run over files in a folder of its own. It reads nothing but these files and asks no cluster.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.tools.kube.releases import objects_of

Object = dict[str, Any]
TIMEOUT_SECONDS = 60


def build(kubectl: Path, files: Mapping[str, object], *, name: str, namespace: str) -> list[Object]:
    """The objects of the kustomization that `files` are, by path; namespaced ones without a namespace get this one.

    Raises HomelabError with kustomize's complaint.
    """
    with tempfile.TemporaryDirectory(prefix="homelab-kustomize-") as folder:
        for path, data in files.items():
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(data))  # JSON is YAML
        done = subprocess.run(
            [str(kubectl), "kustomize", folder], capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
        said = done.stderr.replace(folder, ".")
    if done.returncode:
        raise HomelabError.of(
            f"workload {name}", f"its kustomization cannot be built: {said.strip()}", "Correct it, and apply again."
        )
    return objects_of(done.stdout, namespace)
