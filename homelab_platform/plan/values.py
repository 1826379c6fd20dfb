"""The Helm values of one workload of one lab: plain YAML files with references into the resolved lab, filled in.

Belongs here: which files count and in what order, and what `${…}` may say. Not here: what a chart does with its values
(helm/), or the defaults of our generic chart (app_values.py).

Order, later wins: what our generic chart derives from the catalogue entry, `helm/<workload>/values.yaml`, its overlays
(OVERLAYS), the same two of the lab's own `helm/` folder, `workloads/<name>/values.yaml` beside the lab file, and
`values:` in the lab file. Maps are merged, lists and scalars replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Position
from homelab_platform.lab import interfaces
from homelab_platform.lab.yaml_reader import read_yaml
from homelab_platform.paths import project_path
from homelab_platform.plan.app_values import app_values
from homelab_platform.plan.neighbours import database_facts, uses_of
from homelab_platform.plan.platform_values import CHART, platform_values
from homelab_platform.plan.references import Layer, escaped, filled
from homelab_platform.plan.telemetry import collector_values

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

VALUES, ENTRY = "values.yaml", "workload.yaml"

_Told = Callable[["ResolvedLab", "ResolvedWorkload"], bool]

OVERLAYS: Mapping[str, _Told] = {
    "lan": lambda _lab, workload: workload.exposure == "lan",
    "ingress": lambda _lab, workload: workload.exposure in ("ingress", "vpn"),
    "no-ingress": lambda _lab, workload: workload.exposure not in ("ingress", "vpn"),
    "acme": lambda lab, _workload: str(lab.network.tls.get("issuer", "")).startswith("letsencrypt"),
    "nfs-server": lambda lab, _workload: bool(lab.storage.get("nfs")),
    "tls": lambda lab, _workload: bool(lab.network.tls),
    "sso": lambda _lab, workload: workload.sso != "none",
    "oidc": lambda _lab, workload: workload.sso == "oidc",
    "ldap": lambda _lab, workload: workload.sso == "ldap",
    "forward-auth": lambda _lab, workload: workload.sso == "forward-auth",
    "ha": lambda _lab, workload: workload.replicas > 1,
    "single": lambda lab, _workload: lab.cluster is not None and len({*lab.cluster.servers, *lab.cluster.agents}) == 1,
    "nfs": lambda _lab, workload: any("nfs" in volume.storage_class for volume in workload.volumes.values()),
    "monitored": lambda lab, _workload: bool(interfaces.workloads_with(lab, interfaces.PROMETHEUS)),
}
"""`values.<word>.yaml` counts where its condition holds, in this order; `values.with-<interface>.yaml`, which comes
before them, where one of its needs provides that interface, and `values.extension-<name>.yaml` of a provider of
postgresql where a database asks for that extension."""


def values_of(
    lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None, lab_folder: Path | None = None
) -> dict[str, Any]:
    """The values that `workload` is deployed with; `lab_folder` is where the lab file lies.

    Holds no secret: charts are told the names of Kubernetes Secrets. Raises HomelabError with file, line and column for
    a file that is no YAML and for a reference to what the lab does not have.
    """
    return filled(lab, workload, list(_layers(lab, workload, entry, lab_folder)))


def value_files(workload: ResolvedWorkload, lab: ResolvedLab, lab_folder: Path | None = None) -> list[Path]:
    """The files that count for a workload, in order; those that do not exist are left out."""
    files = overlaid("values", workload, lab, lab_folder)
    if lab_folder is not None:
        files.append(lab_folder / "workloads" / workload.name / VALUES)
    return [file for file in files if file.is_file()]


def overlaid(stem: str, workload: ResolvedWorkload, lab: ResolvedLab, lab_folder: Path | None) -> list[Path]:
    """`<stem>.yaml` and its overlays, of the project and then of the lab, whether or not they exist.

    An entry of the lab's own takes the place of the project's with everything that lies beside that.
    """
    folders = [project_path("helm", workload.catalogue)]
    if lab_folder is not None:
        own = lab_folder / "helm" / workload.catalogue
        folders = [own] if (own / ENTRY).is_file() else [*folders, own]
    words = [f"with-{interface}" for interface in sorted(uses_of(lab, workload))]
    asked = {name for row in database_facts(lab, workload) for name in row["extensions"]}
    words += [f"extension-{name}" for name in sorted({*asked, *(workload.settings.get("extensions") or ())})]
    words += [word for word, holds in OVERLAYS.items() if holds(lab, workload)]
    names = [f"{stem}.yaml", *(f"{stem}.{word}.yaml" for word in words)]
    return [folder / name for folder in folders for name in names]


def _layers(
    lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None, lab_folder: Path | None
) -> Iterator[Layer]:
    if workload.chart == "app":
        yield Layer(app_values(lab, workload, entry))
    if workload.chart == CHART:
        yield Layer(escaped(platform_values(lab, workload, entry, lab_folder)))
    if interfaces.MACHINE_READINGS in workload.provides:
        yield Layer(escaped(collector_values(lab)))
    if workload.catalogue == "trino":
        from homelab_platform.plan.trino.helm import helm_values

        yield Layer(escaped(helm_values(lab, workload)))
    for file in value_files(workload, lab, lab_folder):
        data = read_yaml(file.read_bytes(), str(file)).data
        if data is not None and not isinstance(data, dict):
            raise HomelabError.of(Position(str(file), 1, 1), "holds no keys", "Write Helm values: `key: value`.")
        yield Layer(data or {}, file)
    yield Layer(workload.values)
