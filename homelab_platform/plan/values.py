"""The Helm values of one workload of one lab: plain YAML files with references into the resolved lab, filled in.

Belongs here: which files count and in what order, and what `${…}` may say. Not here: what a chart does with its values
(helm/), or the defaults of our generic chart (app_values.py).

Order, later wins: what our generic chart derives from the catalogue entry, `helm/<workload>/values.yaml`, its overlays
(OVERLAYS), the same two of the lab's own `helm/` folder, `workloads/<name>/values.yaml` beside the lab file, and
`values:` in the lab file. Maps are merged, lists and scalars replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Position
from homelab_platform.lab.quantities import did_you_mean
from homelab_platform.lab.yaml_reader import read_yaml
from homelab_platform.paths import project_path
from homelab_platform.plan.app_values import app_values
from homelab_platform.plan.platform_values import CHART, platform_values
from homelab_platform.plan.telemetry import collector_values

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

MI = 1024 * 1024
VALUES = "values.yaml"

_Told = Callable[["ResolvedLab", "ResolvedWorkload"], bool]

OVERLAYS: Mapping[str, _Told] = {
    "lan": lambda _lab, workload: workload.exposure == "lan",
    "ingress": lambda _lab, workload: workload.exposure in ("ingress", "vpn"),
    "no-ingress": lambda _lab, workload: workload.exposure not in ("ingress", "vpn"),
    "tls": lambda lab, _workload: bool(lab.network.tls),
    "sso": lambda _lab, workload: workload.sso != "none",
    "oidc": lambda _lab, workload: workload.sso == "oidc",
    "ldap": lambda _lab, workload: workload.sso == "ldap",
    "forward-auth": lambda _lab, workload: workload.sso == "forward-auth",
    "ha": lambda _lab, workload: workload.replicas > 1,
    "single": lambda lab, _workload: lab.cluster is not None and len({*lab.cluster.servers, *lab.cluster.agents}) == 1,
    "nfs": lambda _lab, workload: any("nfs" in volume.storage_class for volume in workload.volumes.values()),
    "monitored": lambda lab, _workload: any(
        other.catalogue in ("monitoring", "prometheus") for other in lab.workloads.values()
    ),
}
"""`values.<word>.yaml` counts where its condition holds, in this order."""


@dataclass(frozen=True)
class _Layer:
    """Some values, and the file that they stand in; None for what is derived or stands in the lab file."""

    values: Mapping[str, Any]
    file: Path | None = None


def values_of(
    lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None, lab_folder: Path | None = None
) -> dict[str, Any]:
    """The values that `workload` is deployed with; `lab_folder` is where the lab file lies.

    Holds no secret: charts are told the names of Kubernetes Secrets. Raises HomelabError with file, line and column for
    a file that is no YAML and for a reference to what the lab does not have.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    layers = list(_layers(lab, workload, entry, lab_folder))
    _register()
    context = OmegaConf.create(_context(lab, workload))
    try:
        merged = OmegaConf.merge(*(OmegaConf.create(dict(layer.values)) for layer in layers))
        context["values"] = merged
        found = OmegaConf.to_container(context["values"], resolve=True)
    except OmegaConfBaseException as error:
        raise _explain(error, workload, layers) from None
    except _Unknown as error:
        raise _placed(str(error.args[0]), error.args[1], error.args[2], workload, layers) from None
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def value_files(workload: ResolvedWorkload, lab: ResolvedLab, lab_folder: Path | None = None) -> list[Path]:
    """The files that count for a workload, in order; those that do not exist are left out."""
    folders = [project_path("helm", workload.catalogue)]
    if lab_folder is not None:
        folders.append(lab_folder / "helm" / workload.catalogue)
    names = [VALUES, *(f"values.{word}.yaml" for word, holds in OVERLAYS.items() if holds(lab, workload))]
    files = [folder / name for folder in folders for name in names]
    if lab_folder is not None:
        files.append(lab_folder / "workloads" / workload.name / VALUES)
    return [file for file in files if file.is_file()]


def _layers(
    lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None, lab_folder: Path | None
) -> Iterator[_Layer]:
    if workload.chart == "app":
        yield _Layer(app_values(lab, workload, entry))
    if workload.chart == CHART:
        yield _Layer(_escape(platform_values(lab, workload, entry, lab_folder)))
    if workload.catalogue == "collector":
        yield _Layer(_escape(collector_values(lab)))
    if workload.catalogue == "trino":
        from homelab_platform.plan.trino.helm import helm_values

        yield _Layer(_escape(helm_values(lab, workload)))
    for file in value_files(workload, lab, lab_folder):
        data = read_yaml(file.read_bytes(), str(file)).data
        if data is not None and not isinstance(data, dict):
            raise HomelabError.of(Position(str(file), 1, 1), "holds no keys", "Write Helm values: `key: value`.")
        yield _Layer(data or {}, file)
    yield _Layer(workload.values)


def _context(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, Any]:
    """What a reference may name; text of the lab is data, never a reference itself."""
    whole = lab.model_dump(mode="json")
    known = {name: whole[name] for name in ("hosts", "network", "people", "storage", "streams", "buckets", "workloads")}
    known["lab"] = {"name": lab.name, "timezone": lab.timezone, "domain": lab.network.domain}
    known["workload"] = whole["workloads"].get(workload.name, workload.model_dump(mode="json"))
    known["nodes"] = sorted({*lab.cluster.servers, *lab.cluster.agents}) if lab.cluster else []
    known["scrape"] = _scrape(lab)
    escaped = _escape(known)
    return {str(key): value for key, value in escaped.items()}


def _scrape(lab: ResolvedLab) -> list[dict[str, Any]]:
    """Prometheus' `scrape_configs` for every exporter of the lab, one job each."""
    jobs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for target in sorted(lab.scrape_targets, key=lambda t: (t.job, t.instance)):
        jobs.setdefault((target.job, target.path), []).append(
            {"targets": [target.address], "labels": {"instance": target.instance}}
        )
    return [
        {"job_name": job if path == "/metrics" else f"{job}{path.replace('/', '-')}",
         "metrics_path": path, "static_configs": targets}
        for (job, path), targets in jobs.items()
    ]  # fmt: skip


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", r"\${")
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value


class _Unknown(Exception):
    """A resolver was asked for what the lab does not have: what, remedy, the words to look for in the file."""


def _register() -> None:
    from omegaconf import OmegaConf

    resolvers: dict[str, Callable[..., Any]] = {
        "memory": lambda size: f"{max(1, int(size) // MI)}Mi",
        "share": lambda size, part: f"{max(1, int(int(size) * float(part)) // MI)}Mi",
        "heap": lambda size, part=0.7: f"{max(1, int(int(size) * float(part)) // MI)}M",
        "cpu": lambda millicores: f"{int(millicores)}m",
        "days": lambda seconds: f"{max(1, round(int(seconds) / 86_400))}d",
        "yaml": _yaml,
        "word": lambda value: str(value).lower() if isinstance(value, bool) else str(value),
        "service": _service,
        "text": _project_text,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_resolver(name, resolver, replace=True)


def _yaml(value: Any) -> str:
    """A part of the lab as YAML text, for a chart that takes a file's text."""
    import yaml
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return str(yaml.safe_dump(plain, sort_keys=True, allow_unicode=True))


def _project_text(place: str) -> str:
    """The text of a file of this project, for a chart that mounts it."""
    file = project_path(*place.split("/"))
    if not file.is_file():
        raise _Unknown(f"the project has no file {place}", "Correct the path.", f"text:{place}")
    return file.read_text()


def _service(name: str, port: str = "", *, _root_: Any) -> str:
    """`host:port` under which pods reach a workload of the lab; without a port only the host."""
    workloads = _root_.workloads
    if name not in workloads:
        raise _Unknown(f"the lab has no workload {name}", did_you_mean(name, workloads), f"service:{name}")
    found = workloads[name]
    host = f"{name}.{found.namespace}.svc"
    if not port:
        return host
    if port not in found.ports:
        raise _Unknown(f"{name} has no port {port}", did_you_mean(port, found.ports), f"service:{name}")
    return f"{host}:{found.ports[port].port}"


_QUOTED = re.compile(r"'([^']+)'")


def _explain(error: Exception, workload: ResolvedWorkload, layers: list[_Layer]) -> HomelabError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _Unknown):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, _Unknown):
        return _placed(cause.args[0], cause.args[1], cause.args[2], workload, layers)
    said = str(error).splitlines()[0]
    found = _QUOTED.search(said)
    words = found[1] if found else ""
    known = "lab, workload, workloads, hosts, nodes, network, people, storage, streams, buckets, scrape"
    remedy = f"It may name {known}; `homelab show --json` has them all. Write \\${{ where the text itself is meant."
    return _placed(f"cannot be filled in: {said}", remedy, words, workload, layers)


def _placed(what: str, remedy: str, words: str, workload: ResolvedWorkload, layers: list[_Layer]) -> HomelabError:
    """The problem at the place where the reference stands, the last file that says it first."""
    for layer in reversed(layers):
        if layer.file is None or not words:
            continue
        for number, line in enumerate(layer.file.read_text().splitlines(), 1):
            if words in line and "${" in line:
                position = Position(str(layer.file), number, line.index("${") + 1)
                return HomelabError.of(position, f"{workload.name}: {what}", remedy)
    return HomelabError.of(f"workload {workload.name}", f"its values {what}", remedy)
