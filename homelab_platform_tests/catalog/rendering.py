"""Renders entries of the catalogue and takes the facts of their charts.

Belongs here: what the suite and `scripts/catalogue-lock` share: a lab of an entry's own, the paths of values, one
rendering with its faults, and the facts as `lock.json` has them. Charts of vendors are not part of this project:
whoever has them names the folder, or lets Helm fetch them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.catalog.lock import Lock, LockedPods, digest_of, input_files
from homelab_platform.catalog.model import CatalogueEntry
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload
from homelab_platform.paths import project_path
from homelab_platform.plan.values import values_of
from homelab_platform.plan.workload.judge import Fault, Judged, faults_of
from homelab_platform.plan.workload.kustomization import kustomization_files
from homelab_platform.plan.workload.manifests import manifests_of
from homelab_platform.plan.workload.rendering import Rendering
from homelab_platform.servers.install.helm import kubectl_binary
from homelab_platform.tools.kube.kustomize import build
from homelab_platform.tools.kube.releases import Helm

KUBERNETES = "1.33"
EXAMPLES = ("pi-cluster", "single-nixos", "single-pi", "hybrid")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKIyOMJ0VF1nA0ihw0c9zH0vcGNQW4JrNdXYHqG4yQAs owner"
SETTINGS = {"secret": "env:EXAMPLE", "text": "example", "list": ["example"]}


@dataclass(frozen=True)
class Scene:
    """One workload of one lab, with the folder of the lab file."""

    lab: ResolvedLab
    workload: ResolvedWorkload
    entry: CatalogueEntry | None
    folder: Path

    def values(self) -> dict[str, Any]:
        """What its chart is told."""
        return values_of(self.lab, self.workload, self.entry, self.folder)

    def rendering(self, helm: Helm, charts: Path | None = None) -> Rendering:
        """Its release's objects, or those of its kustomization."""
        workload = self.workload
        if workload.kind == "kustomize":
            files = kustomization_files(self.lab, workload, self.folder)
            made = build(kubectl_binary(), files, name=workload.name, namespace=workload.namespace)
            return Rendering.of(made)
        chart, version = _chart(workload, self.entry, charts)
        return Rendering.of(
            helm.template(workload.name, workload.namespace, chart, self.values(), version=version, crds=True)
        )

    def faults(self, rendering: Rendering) -> list[Fault]:
        """For what it would be refused."""
        beside = Rendering.of(manifests_of(self.lab, self.workload, self.folder))
        return faults_of(Judged(self.workload, self.entry, rendering, beside))


def _chart(workload: ResolvedWorkload, entry: CatalogueEntry | None, charts: Path | None) -> tuple[str, str | None]:
    if entry is None or entry.chart_source is None:
        return str(project_path("helm", workload.chart or "app")), None
    if charts is not None:
        return str(charts / entry.chart_source.name), None
    return str(workload.chart), workload.chart_version


def example_scenes(name: str, catalogue: Catalogue | None = None) -> Iterator[Scene]:
    """Every workload of an example lab that runs as pods."""
    file = project_path("examples", name, "lab.yaml")
    own = catalogue or load_catalogue(file.parent / "helm")
    lab = load_resolved(file, own)
    for workload in lab.workloads.values():
        if workload.kind in ("helm", "kustomize"):
            yield Scene(lab, workload, own.entries.get(workload.catalogue), file.parent)


def own_lab(entry: CatalogueEntry, catalogue: Catalogue) -> dict[str, Any]:
    """A lab that holds one workload and what it needs, with a sign-in, an entrance and a place for media."""
    names: dict[str, Any] = {}

    def add(name: str) -> None:
        if name in names or name not in catalogue or catalogue[name].refusal is not None:
            return
        found = catalogue[name]
        required = {key: SETTINGS[spec.kind] for key, spec in found.settings.items() if spec.required}
        names[name] = required or None
        for need in found.needs:
            options = need.removesuffix("?").split("|")
            add(next((p for option in options for p in _able(option, catalogue)), ""))

    beside = ("metallb", "traefik", "cert-manager", "cloudnative-pg", "postgresql", "authentik", "monitoring")
    host = entry.hostname or entry.name
    identity: Any = "authentik"
    if "forward-auth" in entry.provides and "oidc" not in entry.provides:
        identity = {"provider": entry.name, "issuer": "https://github.com", "client": "env:CLIENT"}
    for name in (entry.name, *(n for n in beside if (catalogue[n].hostname or n) != host)):
        add(name)
    return {
        "version": 1,
        "lab": "own",
        "domain": "lab.example.org",
        "identity": identity,
        "network": {
            "lan": "192.168.7.0/24", "gateway": "192.168.7.1", "load_balancers": "192.168.7.200-192.168.7.240",
            "dns": {"cloudflare": {"token": "env:DNS_TOKEN"}}, "tls": {"email": "owner@example.org"},
        },
        "people": {"owner": {"role": "admin", "email": "owner@example.org", "ssh": [KEY]}},
        "storage": {"default": "local-path", "longhorn": {}, "media": {"on": "local", "path": "/srv/media"}},
        "hosts": {
            "server": {"board": "x86", "cpu": 16, "memory": "128Gi", "os": "debian", "address": "192.168.7.10",
                       "k3s": "server", "disks": {"nvme": "4Ti"}},
        },
        "workloads": names,
    }  # fmt: skip


def _able(need: str, catalogue: Catalogue) -> list[str]:
    """Workloads of the cluster that meet a need, the one of that name first."""
    able = [need] if need in catalogue and catalogue[need].refusal is None else []
    return able + [name for name in catalogue.providers(need) if catalogue[name].refusal is None]


def own_scene(entry: CatalogueEntry, catalogue: Catalogue) -> Scene:
    """An entry in a lab of its own."""
    folder = Path(tempfile.mkdtemp(prefix="homelab-own-lab-"))
    (folder / "lab.yaml").write_text(yaml.safe_dump(own_lab(entry, catalogue), sort_keys=False))
    lab = load_resolved(folder / "lab.yaml", catalogue)
    return Scene(lab, lab.workloads[entry.name], entry, folder)


def paths_of(values: Any, path: str = "") -> Iterator[str]:
    """The path of every value: keys with dots between them (`\\.` inside a key), `[]` for an item of a list."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            step = str(key).replace(".", "\\.")
            here = f"{path}.{step}" if path else step
            yield here
            yield from paths_of(value, here)
    elif isinstance(values, list):
        for value in values:
            yield from paths_of(value, f"{path}[]")


def facts_of(entry: CatalogueEntry, scenes: list[tuple[str, Scene, Rendering]], chart: Path, version: str) -> Lock:
    """What renderings of one entry showed. The first scene is the entry's own lab."""
    rendering = scenes[0][2]
    keys = {key for _, scene, _ in scenes for key in paths_of(scene.values())}
    files = {str(path.relative_to(chart)): path for path in chart.rglob("*") if path.is_file()}
    return Lock(
        chart=chart.name,
        version=version,
        digest=digest_of(files),
        inputs=digest_of(input_files(project_path("helm", entry.name))),
        kubernetes=KUBERNETES,
        labs=tuple(sorted(name for name, _, _ in scenes[1:])),
        services={service.name: dict(sorted(service.ports.items())) for service in rendering.services},
        pods=tuple(
            LockedPods(
                object=f"{pods.kind}/{pods.name}",
                labels=dict(sorted(pods.labels.items())),
                images=pods.images,
                cpu=pods.cpu,
                memory=pods.memory,
                per_node=pods.kind == "DaemonSet",
                replicas=pods.replicas,
            )
            for pods in rendering.pods
            if not pods.hook
        ),
        claims=tuple(sorted(rendering.claims)),
        crds=rendering.crds,
        webhooks=rendering.webhooks,
        keys=tuple(sorted(keys)),
    )
