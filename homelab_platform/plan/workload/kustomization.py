"""A kustomization with references into the lab, filled in: the files that `kubectl kustomize` is run over.

Belongs here: reading the folder `kustomize/` of an entry, or the one that the lab names. Not here: running kubectl
(tools/kube/kustomize.py), or writing the objects (layers/kubernetes/kustomized.py).

Every file but the kustomization itself holds one object; its references are those of values.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError, Position
from homelab_platform.lab.yaml_reader import read_yaml
from homelab_platform.paths import project_path
from homelab_platform.plan.references import Layer, filled

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

NAMES = ("kustomization.yaml", "kustomization.yml")


def kustomization_folder(workload: ResolvedWorkload, lab_folder: Path | None) -> Path:
    """Where the kustomization of a workload lies: beside the lab file, else in the entry's folder.

    Raises HomelabError when neither has one.
    """
    named = workload.settings.get("kustomize")
    folders = [(lab_folder or Path()) / str(named)] if named else []
    if lab_folder is not None:
        folders.append(lab_folder / "helm" / workload.catalogue / "kustomize")
    folders.append(project_path("helm", workload.catalogue, "kustomize"))
    for folder in folders:
        if any((folder / name).is_file() for name in NAMES):
            return folder
    where, remedy = f"workload {workload.name}", f"Write {folders[0]}/{NAMES[0]}."
    raise HomelabError.of(where, "it has no kustomization", remedy)


def kustomization_files(lab: ResolvedLab, workload: ResolvedWorkload, lab_folder: Path | None) -> dict[str, object]:
    """The files of a workload's kustomization by their path inside its folder, each as plain data.

    Raises HomelabError with file, line and column for a file that is no YAML and for a reference to nothing.
    """
    folder = kustomization_folder(workload, lab_folder)
    found: dict[str, object] = {}
    for file in sorted(folder.rglob("*.y*ml")):
        data = read_yaml(file.read_bytes(), str(file)).data
        if not isinstance(data, dict):
            raise HomelabError.of(Position(str(file), 1, 1), "holds no object", "Write one object in each file.")
        name = str(file.relative_to(folder))
        found[name] = data if file.name in NAMES else filled(lab, workload, [Layer(data, file)])
    return found
