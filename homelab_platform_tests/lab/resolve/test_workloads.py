"""What follows for a workload: where it runs, how it is reached, what it needs, where its bytes lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload
from homelab_platform_tests.lab.helpers import resolved

GI = 1024**3
NODES = """\
lab: x
domain: example.org
network: {lan: 192.168.0.0/24, load_balancers: 192.168.0.200-250}
hosts:
  n1: {board: pi5-8gb, os: raspios, address: 192.168.0.1, k3s: server, disks: {sd: 64Gi}}
  n2: {board: pi5-8gb, os: raspios, address: 192.168.0.2, k3s: agent, disks: {ssd: 1Ti}}
  n3: {board: x86, cpu: 8, memory: 32Gi, os: nixos, address: 192.168.0.3, k3s: agent, disks: {ssd: 500Gi}}
  old: {board: pi3, os: raspios, k3s: agent}
"""


def lab(folder: Path, workloads: str, more: str = "") -> ResolvedLab:
    """A lab of four nodes with these workloads."""
    return resolved(folder, f"{NODES}{more}workloads:\n{workloads}\n")


def one(folder: Path, line: str, more: str = "") -> ResolvedWorkload:
    """The first workload of the line in a lab of four nodes."""
    return lab(folder, f"  {line}", more).workloads[line.split(":", maxsplit=1)[0]]


def test_nothing_said_means_as_the_catalogue_has_it(tmp_path: Path) -> None:
    trino = one(tmp_path, "trino:")
    assert (trino.catalogue, trino.memory, trino.ports["http"].port) == ("trino", 2 * GI, 8080)
    assert trino.exposure == "ingress"
    assert trino.hostname == "trino.example.org"
    assert trino.stateful is False


def test_an_old_name_leads_to_the_entry_of_today(tmp_path: Path) -> None:
    assert one(tmp_path, "postgres:").catalogue == "postgresql"


def test_a_second_one_under_another_name(tmp_path: Path) -> None:
    second = one(tmp_path, "blog-db: {catalogue: postgresql, memory: 300Mi}")
    assert (second.catalogue, second.memory, second.ports["postgresql"].port) == ("postgresql", 300 * 1024**2, 5432)


def test_a_workload_of_ones_own(tmp_path: Path) -> None:
    app = one(
        tmp_path,
        "my-app: {image: 'ghcr.io/ada/app:1', size: 2Gi, ports: {http: 8080}, expose: my, env: {A: b}, values: {x: 1}}",
    )
    assert (app.chart, app.image, app.hostname) == ("app", "ghcr.io/ada/app:1", "my.example.org")
    assert app.volumes["data"].size == 2 * GI
    assert app.stateful
    assert app.backup == {"method": "volume", "volumes": ["data"]}
    assert app.settings["env"] == {"A": "b"}
    assert app.values == {"x": 1}


def test_wishes_hold_and_architecture_limits_the_rest(tmp_path: Path) -> None:
    assert one(tmp_path, "trino: {on: [n3, n2]}").placement == ("n2", "n3")
    assert one(tmp_path, "trino:").placement == ("n1", "n2", "n3"), "the 32-bit node cannot run it"
    assert one(tmp_path, "my-app: {image: 'a/b:1', memory: 20Gi}").placement == ("n3",), "only n3 has the memory"


def test_data_on_a_local_disk_pins_a_workload_to_one_host(tmp_path: Path) -> None:
    pinned = one(tmp_path, "postgresql:")
    assert len(pinned.placement) == 1
    assert pinned.volumes["data"].on_host == pinned.placement[0]


def test_pinned_workloads_share_the_memory_and_stay_when_others_come(tmp_path: Path) -> None:
    rows = "\n".join(f"  db-{i}: {{catalogue: postgresql, memory: 2Gi}}" for i in range(6))
    found = lab(tmp_path, rows)
    used: dict[str, int] = {}
    for workload in found.workloads.values():
        used[workload.placement[0]] = used.get(workload.placement[0], 0) + workload.memory
    assert all(used[name] <= found.hosts[name].allocatable_memory for name in used)
    more = lab(tmp_path, f"{rows}\n  db-9: {{catalogue: postgresql, memory: 256Mi}}")
    assert all(more.workloads[name].placement == found.workloads[name].placement for name in found.workloads)


def test_a_taint_keeps_what_does_not_ask_for_the_host_away(tmp_path: Path) -> None:
    text = NODES.replace("k3s: agent, disks: {ssd: 1Ti}", "k3s: agent, taints: db=yes:NoSchedule, disks: {ssd: 1Ti}")
    assert resolved(tmp_path, f"{text}workloads: {{trino: }}\n").workloads["trino"].placement == ("n1", "n3")


@pytest.mark.parametrize(
    ("said", "exposure", "hostname"),
    [("none", "none", None), ("cluster", "cluster", None), ("lan", "lan", "kavita.example.org"),
     ("books", "ingress", "books.example.org"), ("192.168.0.222", "lan", "kavita.example.org"),
     ("{host: b, way: vpn}", "vpn", "b.example.org")],
)  # fmt: skip
def test_ways_to_reach_a_workload(tmp_path: Path, said: str, exposure: str, hostname: str | None) -> None:
    found = one(tmp_path, f"kavita: {{expose: {said}}}")
    assert (found.exposure, found.hostname) == (exposure, hostname)


def test_needs_find_whoever_provides_and_stand_on_the_platform(tmp_path: Path) -> None:
    found = lab(
        tmp_path,
        "  metallb:\n  traefik:\n  garage:\n  postgresql:\n  cloudnative-pg:\n  trino: {needs: [my-app]}\n"
        "  my-app: {image: 'a/b:1'}\n  authentik:",
        "identity: authentik\n",
    ).workloads
    assert set(found["trino"].needs) == {"garage", "postgresql", "my-app", "traefik"}
    assert "metallb" in found["traefik"].needs
    assert "postgresql" in found["authentik"].needs


def test_the_needs_of_every_example_have_no_circle() -> None:
    from homelab_platform.lab.load import load_lab
    from homelab_platform.lab.resolve.lab import resolve
    from homelab_platform_tests.lab.strategies import catalogue, example_paths

    for path in example_paths():
        needs = {name: set(w.needs) for name, w in resolve(load_lab(path), catalogue()).workloads.items()}
        while needs:
            free = {name for name, others in needs.items() if not others & set(needs)}
            assert free, f"{path.parent.name}: a circle among {sorted(needs)}"
            needs = {name: others for name, others in needs.items() if name not in free}


@pytest.mark.parametrize(
    ("provider", "said", "way"),
    [("authentik", "monitoring:", "oidc"), ("none", "monitoring:", "none"),
     ("oauth2-proxy", "monitoring:", "forward-auth"),
     ("authentik", "monitoring: {sso: ldap}", "ldap"), ("authentik", "postgresql:", "none"),
     ("authentik", "authentik:", "none")],
)  # fmt: skip
def test_the_way_to_sign_in_is_one_that_both_sides_know(tmp_path: Path, provider: str, said: str, way: str) -> None:
    assert one(tmp_path, said, f"identity: {provider}\n").sso == way


def test_roles_are_admins_those_named_and_those_with_rights(tmp_path: Path) -> None:
    rights = "identity: {provider: authentik, roles: {guest: {workloads: [monitoring]}}}\n"
    assert one(tmp_path, "monitoring: {for: dev}", rights).roles == ("admin", "dev", "guest")


@pytest.mark.parametrize(
    ("storage", "said", "classes"),
    [("", "postgresql:", {"local-path"}), ("storage: {nfs: {server: nas, path: /v}}\n", "postgresql:", {"local-path"}),
     ("storage: {nfs: {server: nas, path: /v}}\n", "vikunja: {storage: nfs}", {"nfs"}),
     ("storage: longhorn\n", "postgresql:", {"longhorn"}),
     ("storage: longhorn\n", "postgresql: {storage: local-path}", {"local-path"})],
)  # fmt: skip
def test_storage_classes(tmp_path: Path, storage: str, said: str, classes: set[str]) -> None:
    assert {v.storage_class for v in one(tmp_path, said, storage).volumes.values()} == classes


def test_size_means_the_main_volume_and_others_are_named(tmp_path: Path) -> None:
    found = one(tmp_path, "postgresql: {size: 20Gi, volumes: {wal: 7Gi}}").volumes
    assert (found["data"].size, found["wal"].size) == (20 * GI, 7 * GI)


def test_media_is_one_shared_folder(tmp_path: Path) -> None:
    found = lab(tmp_path, "  sonarr:\n  qbittorrent:", "storage: {media: {size: 2Ti}}\n")
    media = [v for w in found.workloads.values() for v in w.volumes.values() if v.storage_class == "media"]
    assert len(media) == 2
    assert {(v.size, v.access, v.on_host) for v in media} == {(2048 * GI, "ReadWriteMany", "n2")}
    assert "/data/torrents/movies" in found.storage["media"]["folders"]
    assert "/data/media/books" in found.storage["media"]["folders"]


def test_bundles_become_their_members(tmp_path: Path) -> None:
    found = lab(tmp_path, "  arr-stack: {on: n3}").workloads
    assert {"sonarr", "radarr"} <= set(found)
    assert "arr-stack" not in found
    assert found["sonarr"].placement == ("n3",)


def test_the_cluster_follows_from_hosts_and_workloads(tmp_path: Path) -> None:
    found = lab(tmp_path, "  metallb:\n  traefik:")
    assert found.cluster is not None
    assert found.cluster.servers == ("n1",)
    assert found.cluster.agents == ("n2", "n3", "old")
    assert (found.cluster.datastore, found.cluster.api_address) == ("sqlite", "192.168.0.1")
    assert found.cluster.disabled == ("servicelb", "traefik")
    assert resolved(tmp_path, "lab: x\n").cluster is None


def test_flux_and_argo_cd_follow_a_repository(tmp_path: Path) -> None:
    flux = lab(tmp_path, "  metallb:", "cluster: {deploy: {flux: https://git.example.org/x}}\n").cluster
    assert flux is not None
    assert (flux.deploy, flux.gitops["repository"], flux.gitops["every"]) == ("flux", "https://git.example.org/x", 60)
