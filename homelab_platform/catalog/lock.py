"""What rendering a workload's chart showed: the typed form of `helm/<workload>/lock.json`.

Belongs here: the facts and their digests. Not here: the rendering itself (plan/workload/rendering.py), or writing the
file (`scripts/catalogue-lock`).

A chart is not part of this project and cannot be had where the tests run. Its facts can: whoever changes values without
rendering them again is told so by the digest, and names of Services, labels of pods and keys of values are compared
with what the chart really does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = "lock.json"


class LockedPods(BaseModel):
    """One controller of the rendering: its pods' labels, images, and what a pod requests (millicores, bytes)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: str
    labels: dict[str, str]
    images: tuple[str, ...]
    cpu: int
    memory: int
    per_node: bool = False
    replicas: int = 1


class Lock(BaseModel):
    """Facts of one chart rendered with our values.

    `digest` is of the chart's files, `inputs` of the entry's values and manifests; `labs` are the example labs that it
    was rendered for, besides a lab of its own. `services` has the ports of each Service by name, `claims` what is kept,
    `keys` the paths of our values, all of which the chart reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    chart: str
    version: str
    digest: str
    inputs: str
    kubernetes: str
    labs: tuple[str, ...] = ()
    services: dict[str, dict[str, int]] = {}
    pods: tuple[LockedPods, ...] = ()
    claims: tuple[str, ...] = ()
    crds: tuple[str, ...] = ()
    webhooks: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()


def digest_of(files: dict[str, Path]) -> str:
    """SHA-256 over names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        text = path.read_bytes()
        digest.update(f"{name} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()


def input_files(folder: Path) -> dict[str, Path]:
    """Values and manifests of an entry's folder, with their overlays, by name."""
    found = {**{path.name: path for path in folder.glob("values*.yaml")}}
    return found | {path.name: path for path in folder.glob("manifests*.yaml")}
