"""Trino's vendor chart told the same as the server on this machine: catalogs, rules, groups and limits of one lab.

Belongs here: which text goes under which key of the chart, and where the lab's workloads are found from a pod. Not
here: the texts (config.py). Passwords, keys and the certificate come from Secrets that are only named here:

| Secret | holds |
|---|---|
| `<workload>-access` | the variables of trino_config.SECRETS |
| `<workload>-passwords` | `password.db`: a line `name:bcrypt hash` for each person |
| `<workload>-tls` | `tls-combined.pem`, as cert-manager writes it with the output format CombinedPEM |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homelab_platform.lab.interfaces import POSTGRESQL, S3
from homelab_platform.plan.neighbours import provider_of
from homelab_platform.plan.trino import config as trino_config
from homelab_platform.plan.trino.config import TrinoConfig, TrinoSources
from homelab_platform.plan.trino.limits import MI

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

S3_PORTS = ("s3", "api", "http")
DATABASE = "lake"
TLS_FOLDER = "/etc/trino/tls"
CHART_CATALOGS = ("tpch", "tpcds")
"""What the chart would have without being asked."""


def sources_of(lab: ResolvedLab) -> TrinoSources | None:
    """Where PostgreSQL and the S3 server of the lab are, as a pod reaches them; None when the lab lacks one."""
    database, objects = provider_of(lab, POSTGRESQL), provider_of(lab, S3)
    if database is None or objects is None:
        return None
    bucket = next((name for name, found in lab.buckets.items() if found.owner == "platform"), "lake")
    address = f"{_host(database)}:{_port(database, ('postgresql', 'postgres', 'tcp'), 5432)}"
    return TrinoSources(address, DATABASE, f"http://{_host(objects)}:{_port(objects, S3_PORTS, 9000)}", bucket)


def _host(workload: ResolvedWorkload) -> str:
    return f"{workload.name}.{workload.namespace}.svc"


def _port(workload: ResolvedWorkload, names: tuple[str, ...], otherwise: int) -> int:
    return next((workload.ports[name].port for name in names if name in workload.ports), otherwise)


def helm_values(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, Any]:
    """The chart's values for one Trino of a lab. No value is a secret.

    Raises HomelabError for a limit of the lab that makes no sense.
    """
    sources = sources_of(lab)
    config = trino_config.config_of(lab, sources or TrinoSources("", "", "", ""))
    limits, workers = config.limits, int(workload.settings.get("workers") or 0)
    jvm = {"maxHeapSize": f"{limits.heap // MI}M"}
    node = {
        "memory": {"heapHeadroomPerNode": f"{limits.spare // MI}MB"},
        "query": {"maxMemoryPerNode": f"{limits.per_query // MI}MB"},
    }
    resources = {"requests": {"cpu": f"{workload.cpu}m", "memory": f"{workload.memory // MI}Mi"},
                 "limits": {"memory": f"{workload.memory // MI}Mi"}}  # fmt: skip
    return {
        "server": _server(config, workers),
        "coordinator": {
            "jvm": jvm,
            "config": {**node, "nodeScheduler": {"includeCoordinator": workers == 0}},
            "resources": resources,
        },
        "worker": {"jvm": jvm, "config": node, "resources": resources},
        "catalogs": {**dict.fromkeys(CHART_CATALOGS), **_catalogs(config, workload, known=sources is not None)},
        "additionalConfigProperties": [
            "internal-communication.shared-secret=${ENV:TRINO_SHARED_SECRET}",
            "http-server.process-forwarded=true",
            *(f"{name}={value}" for name, value in trino_config.default_run_time(limits).items()),
        ],
        "accessControl": {
            "type": "configmap",
            "refreshPeriod": trino_config.REFRESH,
            "configFile": "rules.json",
            "rules": {"rules.json": trino_config.as_json(trino_config.rules(config))},
        },
        "resourceGroups": {
            "type": "configmap",
            "resourceGroupsConfig": trino_config.as_json(trino_config.resource_groups(config)),
        },
        "sessionProperties": {
            "type": "configmap",
            "sessionPropertiesConfig": trino_config.as_json(trino_config.session_properties(config)),
        },
        "auth": {
            "passwordAuthSecret": f"{workload.name}-passwords",
            "refreshPeriod": trino_config.REFRESH,
            "groups": trino_config.group_file(config),
        },
        "envFrom": [{"secretRef": {"name": f"{workload.name}-access"}}],
        "secretMounts": [{"name": "tls", "secretName": f"{workload.name}-tls", "path": TLS_FOLDER}],
    }


def _server(config: TrinoConfig, workers: int) -> dict[str, object]:
    nodes = max(1, workers)
    return {
        "workers": workers,
        "node": {"environment": config.environment},
        "config": {
            "authenticationType": "PASSWORD",
            "https": {"enabled": True, "keystore": {"path": f"{TLS_FOLDER}/tls-combined.pem"}},
            "query": {"maxMemory": f"{nodes * config.limits.per_query // MI}MB"},
        },
        "log": {"trino": {"level": "WARN"}},
    }


def _catalogs(config: TrinoConfig, workload: ResolvedWorkload, *, known: bool) -> dict[str, str]:
    """The catalogs that the lab names, or else ours; a name of ours with its own connector's word means ours."""
    ours = trino_config.catalogs(config) if known else {}
    said: Mapping[str, object] = workload.settings.get("catalogs") or dict.fromkeys(ours)
    found = {}
    for name, value in said.items():
        if name in ours and not isinstance(value, Mapping):
            found[name] = ours[name]
        elif isinstance(value, Mapping):
            found[name] = trino_config.properties({str(key): str(text) for key, text in value.items()})
        else:
            found[name] = trino_config.properties({"connector.name": str(value)})
    return found
