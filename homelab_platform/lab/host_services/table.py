"""What a host can do without Kubernetes: its services, with their ports, exporters and settings.

Belongs here: all host services (NixOS modules, Ansible roles) by name and the check of their settings. Not here: how
a service is set up (nix/, ansible/).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.host_services.types import HostService, read_services
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.positions import Positions
from homelab_platform.lab.settings import SettingSpec, read_setting

_PORT = SettingSpec("integer", "Port it listens on.")
_DATA = SettingSpec("path", "Folder of its data.")
SERVICES = read_services(Path(__file__).with_name("services.yaml"))
HOST_SERVICES: dict[str, HostService] = {service.name: service for service in SERVICES}

EXPORTERS: dict[str, int] = {
    "node": 9100, "blackbox": 9115, "process": 9256, "systemd": 9558, "snmp": 9116, "rpi": 9110, "domain": 9222,
    **{name: port for service in SERVICES for name, port in service.exporters.items()},
}  # fmt: skip
COMMON = {"port": _PORT, "data": _DATA}


def service_problems(lab: Lab, positions: Positions) -> Iterator[Problem]:
    """Unknown host services, exporters and settings, and settings that cannot be read."""
    for host_name, host in lab.hosts.items():
        for name, said in host.services.items():
            path = ("hosts", host_name, "services", name)
            service = HOST_SERVICES.get(name)
            if service is None:
                remedy = q.did_you_mean(name, HOST_SERVICES, "Host services")
                yield Problem(
                    positions.key(*path), f"{host_name}: no host service is called {name}", remedy, "unknown-key"
                )
                continue
            yield from setting_problems({**COMMON, **service.settings}, said, path, positions)
        for name, exporter in host.exporters.items():
            if name not in EXPORTERS and (exporter is None or exporter.port is None):
                where = positions.key("hosts", host_name, "exporters", name)
                remedy = f"{q.did_you_mean(name, EXPORTERS, 'Exporters')} Of another one give the port: {name}: 9999."
                yield Problem(where, f"{host_name}: no exporter is called {name}", remedy, "unknown-key")


def setting_problems(
    specs: dict[str, SettingSpec], said: dict[str, object] | None, path: tuple[str, ...], positions: Positions
) -> Iterator[Problem]:
    """What is wrong with the settings written at `path`: unknown, missing or unreadable ones."""
    owner = path[-1]
    for key, value in (said or {}).items():
        spec = specs.get(key)
        if spec is None:
            remedy = q.did_you_mean(key, specs, "Settings")
            yield Problem(positions.key(*path, key), f"{owner}: unknown key {key}", remedy, "unknown-key")
            continue
        try:
            read_setting(spec, value)
        except q.Bad as bad:
            yield Problem(positions.at(*path, key), f"{owner}: {key}: {bad.what}", bad.remedy, "value")
    for key, spec in specs.items():
        if spec.required and key not in (said or {}):
            yield Problem(positions.key(*path), f"{owner}: {key} is missing", spec.description, "missing")
