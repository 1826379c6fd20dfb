"""A large lab for the benchmarks of scale: many hosts, many workloads, written as a lab file.

Belongs here: making the file. Not here: measuring.
"""

from __future__ import annotations

from pathlib import Path


def write_lab(folder: Path, *, hosts: int, workloads: int, name: str = "scale") -> Path:
    """Write lab.yaml with so many hosts and workloads (spread over the hosts); returns its path."""
    lines = [
        f"lab: {name}",
        "domain: lab.example.org",
        "timezone: Europe/London",
        "network:",
        "  lan: 10.0.0.0/16",
        "  gateway: 10.0.0.1",
        "hosts:",
    ]
    for number in range(hosts):
        role = "server" if number == 0 else "agent"
        address = f"10.0.{1 + number // 200}.{1 + number % 200}"
        lines.append(f"  host-{number:05}: {{board: pi5-16gb, os: raspios, address: {address}, k3s: {role}}}")
    lines += ["people:", "  ada: {role: admin}"]
    lines.append("workloads:")
    for number in range(workloads):
        lines.append(
            f"  app-{number:05}: {{image: 'registry.example.org/app:1.{number}', ports: {{http: 8080}}, memory: 64Mi, "
            f"cpu: 10m, on: host-{number % hosts:05}, values: {{replicas: 1, level: {number}}}}}"
        )
    lines += [
        "streams:",
        "  machines:",
        "    from: {machine: {}}",
        "    sensors: {cpu: {unit: '%', range: [0, 100], every: 10s}}",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lab.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
