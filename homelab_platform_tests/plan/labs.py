"""Small labs made by hand, for the tests of plan and graph."""

from __future__ import annotations

from functools import cache
from typing import Any

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.resolved import (
    ResolvedBackup,
    ResolvedBucket,
    ResolvedCluster,
    ResolvedDisk,
    ResolvedExporter,
    ResolvedHost,
    ResolvedLab,
    ResolvedMart,
    ResolvedNetwork,
    ResolvedPerson,
    ResolvedSensor,
    ResolvedStream,
    ResolvedTable,
    ResolvedTarget,
    ResolvedWorkload,
    ScrapeTarget,
)

GIB = 1024**3


def host(name: str, number: int = 20, **fields: Any) -> ResolvedHost:
    """A Raspberry Pi 5 that is a k3s agent."""
    settings: dict[str, Any] = {
        "board": "pi5-8gb",
        "arch": "arm64",
        "os": "raspios",
        "role": "worker",
        "address": f"192.168.0.{number}",
        "k3s": "agent",
        "cpu": 4000,
        "memory": 8 * GIB,
        "users": ("ada",),
        "exporters": {"node": ResolvedExporter(name="node", port=9100)},
    }
    return ResolvedHost(name=name, **{**settings, **fields})


def workload(name: str, **fields: Any) -> ResolvedWorkload:
    """A Helm release."""
    settings: dict[str, Any] = {
        "catalogue": name,
        "namespace": name,
        "tier": "apps",
        "kind": "helm",
        "chart": f"charts/{name}",
        "chart_version": "1.2.3",
        "values": {"replicas": 1},
    }
    return ResolvedWorkload(name=name, **{"provides": provided(name), **settings, **fields})


@cache
def provided(name: str) -> tuple[str, ...]:
    """What the catalogue's entry of this name provides."""
    catalogue = load_catalogue()
    return catalogue[name].provides if name in catalogue else ()


def stream(name: str = "environment", source: str = "mqtt", **fields: Any) -> ResolvedStream:
    """A stream of temperatures and humidities."""
    sensors = {
        "temperature": ResolvedSensor(name="temperature", unit="°C", low=-40, high=85, every=10),
        "humidity": ResolvedSensor(name="humidity", unit="%", low=0, high=100, every=10),
    }
    settings: dict[str, Any] = {
        "bucket": "readings-raw",
        "prefix": f"{name}/",
        "devices": ("attic", "cellar"),
        "sensors": sensors,
    }
    return ResolvedStream(name=name, source=source, **{**settings, **fields})


def small_lab(**sections: Any) -> ResolvedLab:
    """Two hosts, a cluster, five workloads, two streams, one table, two marts, two backups."""
    hosts = {
        "pi-1": host("pi-1", 20, k3s="server", vpn_address="10.9.0.1"),
        "pi-2": host(
            "pi-2", 21, vpn_address="10.9.0.2", disks={"ssd": ResolvedDisk(name="ssd", kind="ssd", size=500 * GIB)}
        ),
    }
    workloads = {
        "postgresql": workload("postgresql", stateful=True),
        "minio": workload("minio", stateful=True),
        "trino": workload("trino", needs=("postgresql", "minio"), hostname="trino.lab.example.org"),
        "mosquitto": workload("mosquitto"),
        "monitoring": workload("monitoring", roles=("admin",)),
    }
    settings: dict[str, Any] = {
        "version": 1,
        "name": "small",
        "timezone": "Europe/London",
        "source": "lab.yaml",
        "network": ResolvedNetwork(domain="lab.example.org", vpn={"wireguard": {"hub": "pi-1"}}),
        "hosts": hosts,
        "cluster": ResolvedCluster(version="v1.33.4+k3s1", servers=("pi-1",), agents=("pi-2",)),
        "people": {"ada": ResolvedPerson(name="ada", role="admin", email="ada@example.org")},
        "workloads": workloads,
        "streams": {"environment": stream(), "machine": stream("machine", "machine", devices=())},
        "buckets": {
            "lake": ResolvedBucket(name="lake", owner="platform"),
            "readings-raw": ResolvedBucket(name="readings-raw", owner="platform", expire_after=30 * 86400),
        },
        "tables": {
            "default.sensor_data": ResolvedTable(
                name="default.sensor_data", streams=("environment", "machine"), bucket="lake"
            )
        },
        "marts": {
            "hourly": ResolvedMart(name="hourly", reads=("default.sensor_data",)),
            "daily": ResolvedMart(name="daily", reads=("hourly",)),
        },
        "targets": {"nas": ResolvedTarget(name="nas", url="ssh://backup@192.168.0.10/volume1")},
        "backups": {
            "postgresql": ResolvedBackup(
                name="postgresql",
                item="workload/postgresql",
                method="postgres",
                targets=("nas",),
                schedule="30 2 * * *",
                keep={"daily": 7},
                drill="0 4 * * 0",
            ),
            "readings": ResolvedBackup(
                name="readings", item="table/sensor_data", method="iceberg", targets=("nas",), schedule="0 3 * * *"
            ),
        },
        "scrape_targets": (
            ScrapeTarget(job="node", instance="pi-1", address="192.168.0.20:9100"),
            ScrapeTarget(job="node", instance="pi-2", address="192.168.0.21:9100"),
        ),
    }
    return ResolvedLab(**{**settings, **sections})


def with_values(lab: ResolvedLab, name: str, **values: Any) -> ResolvedLab:
    """The lab with some Helm values of one workload changed."""
    old = lab.workloads[name]
    new = old.model_copy(update={"values": {**old.values, **values}})
    return lab.model_copy(update={"workloads": {**lab.workloads, name: new}})
