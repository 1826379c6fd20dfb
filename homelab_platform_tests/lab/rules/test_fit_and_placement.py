"""What the rules let through is also placed so that it fits; what they refuse cannot be placed."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homelab_platform.lab.check import check_loaded
from homelab_platform.lab.load import load_lab
from homelab_platform.lab.quantities import show_size
from homelab_platform_tests.lab.rules.fixtures import catalogue

GI = 1024**3
HEAD = "lab: home\nnetwork: {lan: 192.168.0.0/24}\nhosts:\n"


def text_of(disks: list[int], sizes: list[int]) -> str:
    roles = ["server", *["agent"] * (len(disks) - 1)]
    hosts = "".join(
        f"  pi-{k}: {{board: pi5-8gb, os: raspios, k3s: {role},"
        f" disks: {{sd: 32Gi, ssd: {{size: {size}Gi, device: /dev/disk/by-id/x}}}}}}\n"
        for k, (role, size) in enumerate(zip(roles, disks, strict=True))
    )
    workloads = "".join(
        f"  app-{k}: {{image: 'ghcr.io/ada/app:1.0', memory: 64Mi, volumes: {{data: {size}Gi}}}}\n"
        for k, size in enumerate(sizes)
    )
    return f"{HEAD}{hosts}workloads:\n{workloads}"


@given(st.lists(st.integers(40, 120), min_size=1, max_size=3), st.lists(st.integers(5, 90), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_volumes_lie_where_there_is_room_or_the_lab_is_refused(
    tmp_path: Path, disks: list[int], sizes: list[int]
) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(text_of(disks, sizes), encoding="utf-8")
    problems, resolved = check_loaded(load_lab(path), catalogue())
    assert resolved is not None
    used: dict[str, int] = {}
    for workload in resolved.workloads.values():
        for volume in workload.volumes.values():
            used[str(volume.on_host)] = used.get(str(volume.on_host), 0) + volume.size
    room = {f"pi-{k}": size * GI for k, size in enumerate(disks)}
    overfull = {host: show_size(size) for host, size in used.items() if size > room[host]}
    assert bool(overfull) == bool(problems), (overfull, problems)
