"""What our own chart `helm/homelab-platform` is told: the lab file itself, and which of the lab's servers to use.

Belongs here: the way from a resolved lab to values of that chart. Not here: what the chart does with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab import interfaces
from homelab_platform.lab.load import load_lab
from homelab_platform.lab.quantities import REFERENCES
from homelab_platform.lab.rules.secrets import known_secret
from homelab_platform.plan.access import callers
from homelab_platform.plan.app_values import reached

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

CHART = "homelab-platform"
S3_PORTS = ("s3", "api", "http")
API_PORT = 6443
LARGEST = 900_000
"""Bytes of all files: a ConfigMap holds 1 MiB."""


def platform_values(
    lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None, lab_folder: Path | None
) -> dict[str, Any]:
    """The values of our own chart, before anything that a file or a person says.

    Secrets are those that the test lab's entries of PostgreSQL and S3 make: `<workload>-admin` and `<workload>-s3`; who
    has others names them in `values:`. Raises HomelabError when the lab's files do not fit into a ConfigMap.
    """
    found: dict[str, Any] = {
        "image": workload.image or "",
        "nodes": list(workload.placement),
        "lab": lab_files(lab_folder, lab.source) if lab_folder is not None else {},
        "network": {"from": callers(lab).get(workload.name, []), "apiServers": _api_servers(lab)},
    }
    needs = [lab.workloads[name] for name in workload.needs if name in lab.workloads]
    for other in needs:
        if interfaces.POSTGRESQL in other.provides:
            found["postgres"] = {
                "host": f"{other.name}.{other.namespace}.svc",
                "secret": {"name": f"{other.name}-admin", "key": "password"},
            }
            found["network"]["postgres"] = [{"workload": other.name}]
        elif interfaces.S3 in other.provides:
            port = next((other.ports[name].port for name in S3_PORTS if name in other.ports), 8333)
            keys = {"accessKey": "access-key", "secretKey": "secret-key"}
            found["s3"] = {
                "url": f"http://{other.name}.{other.namespace}.svc:{port}",
                "secret": {"name": f"{other.name}-s3", **keys},
            }
            found["network"]["s3"] = [{"workload": other.name}]
    ingress = reached(lab, workload, entry, {}).get("ingress")
    return {**found, **({"ingress": {k: v for k, v in ingress.items() if k != "port"}} if ingress else {})}


def _api_servers(lab: ResolvedLab) -> list[dict[str, Any]]:
    servers = lab.cluster.servers if lab.cluster is not None else ()
    addresses = [str(lab.hosts[name].address) for name in servers if name in lab.hosts and lab.hosts[name].address]
    return [{"cidr": f"{address}/32", "port": API_PORT} for address in addresses]


def lab_files(folder: Path, name: str = "lab.yaml") -> dict[str, str]:
    """The lab file and what reading it reads, by path: includes, values, public keys, texts, marts, its own workloads.

    Nothing else of the folder: they become a ConfigMap, and people with less than every right may read that. Raises
    HomelabError for a file that holds a secret in plain text, and when they are too large together.
    """
    found, size = {}, 0
    for path in _read_files(folder, name):
        file = folder / path
        text = file.read_text(encoding="utf-8")
        if kind := known_secret(text):
            what = f"holds {kind} in plain text, and would be readable in the cluster"
            raise HomelabError.of(
                str(file), what, f"Put it away and refer to it: {REFERENCES}.", "secret-in-plain-text"
            )
        size += len(text.encode())
        if size > LARGEST:
            raise HomelabError.of(
                str(folder),
                f"the lab's files hold more than {LARGEST // 1000} kB, which no ConfigMap takes",
                "Keep what is large outside of them.",
            )
        found[path] = text
    return found


def _read_files(folder: Path, name: str) -> list[str]:
    loaded = load_lab(folder / name)
    own = [file for file in folder.glob("helm/*/*") if file.suffix in (".yaml", ".yml") and file.is_file()]
    beside = {file.relative_to(folder).as_posix() for file in (*loaded.files, *own)}
    marts = {part for mart in loaded.marts.values() for part in (mart.sql_file, mart.yaml_file)}
    return sorted(path for path in {*beside, *loaded.keys, *marts} if not Path(path).is_absolute())
