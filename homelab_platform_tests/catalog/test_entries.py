"""What holds for every entry of the real catalogue."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.catalog.model import CatalogueEntry
from homelab_platform.catalog.table import TIERS
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.settings import read_setting
from homelab_platform.paths import PROJECT

FACTS = PROJECT.parent / "shared" / "facts"

# Each row of the tables of services that the seeds name, and the entries that stand for it. Systems and places are no
# workloads: a lab says them as a host's os, or as a backup's target.
ROWS: dict[str, tuple[str, ...]] = {
    "NixOS on Pi": (),
    "Raspberry Pi OS Bookworm": (),
    "k3s": ("k3s",),
    "Docker": ("docker",),
    "Terraform / OpenTofu": ("terraform", "opentofu"),
    "Helm / Kustomize": ("helm", "kustomize"),
    "Flux CD": ("flux",),
    "ArgoCD": ("argocd",),
    "nixinate / deploy-rs / remote builders": ("nixinate", "deploy-rs", "remote-builder"),
    "LibVirt VM host": ("libvirt",),
    "Ansible": ("ansible",),
    "Puppet + Bolt": ("puppet-server", "puppet-agent", "bolt"),
    "GitHub Actions runners": ("github-runners", "github-runner-controller"),
    "Dagster (ours)": ("dagster",),
    "MetalLB": ("metallb",),
    "Traefik": ("traefik",),
    "ingress-nginx": ("traefik",),
    "CoreDNS": ("coredns",),
    "cert-manager": ("cert-manager",),
    "Cloudflare (DNS/CDN/tunnel)": ("external-dns", "cloudflared"),
    "Dynamic DNS (Gandi)": ("dynamic-dns",),
    "WireGuard": ("wireguard", "wg-easy"),
    "Tailscale": ("tailscale", "tailscale-operator"),
    "PiHole": ("pihole",),
    "KrakenD CE": ("krakend",),
    "OAuth2 Proxy": ("oauth2-proxy",),
    "local-path": ("local-path",),
    "Longhorn": ("longhorn",),
    "NFS": ("nfs-server", "csi-driver-nfs"),
    "Samba": ("samba",),
    "ZFS": ("zfs",),
    "MinIO": ("minio",),
    "RustFS": ("rustfs",),
    "Garage": ("garage",),
    "SeaweedFS": ("seaweedfs",),
    "Backblaze B2 / S3 offsite": (),
    "rclone-target": ("rclone-target",),
    "Vault": ("vault",),
    "OpenBao": ("openbao",),
    "SOPS + age": ("sops",),
    "secrix / sops-nix / agenix": ("secrix", "sops-nix", "agenix"),
    "External Secrets": ("external-secrets",),
    "Authentik": ("authentik",),
    "LDAP / LDAPS": ("openldap", "lldap"),
    "kube-prometheus-stack": ("monitoring",),
    "Alertmanager": ("alertmanager", "monitoring"),
    "Grafana": ("grafana", "monitoring"),
    "Node Exporter, kube-state-metrics": ("node-exporter", "monitoring"),
    "other exporters: PiHole, ZFS, NVIDIA GPU, dnsmasq/DHCP, postgres 8.2.0, elasticsearch 7.4.0, blackbox 11.17.2, "
    "smartctl": (
        "pihole-exporter",
        "zfs-exporter",
        "nvidia-gpu-exporter",
        "dnsmasq-exporter",
        "postgres-exporter",
        "elasticsearch-exporter",
        "blackbox-exporter",
        "smartctl-exporter",
    ),
    "Loki": ("loki",),
    "Alloy": ("alloy",),
    "Fluentd": ("fluentd",),
    "Fluent Bit": ("fluent-bit",),
    "Logstash": ("logstash",),
    "Elasticsearch": ("elasticsearch",),
    "Kibana": ("kibana",),
    "Uptime Kuma": ("uptime-kuma",),
    "Apache NiFi": ("nifi",),
    "Trino": ("trino",),
    "Hive metastore": ("hive-metastore", "lakekeeper"),
    "PostgreSQL": ("postgresql", "cloudnative-pg", "plugin-barman-cloud"),
    "JupyterLab": ("jupyterlab",),
    "FastAPI": ("fastapi",),
    "VS Code Server": ("code-server",),
    "Velero": ("velero",),
    "Restic": ("restic",),
    "rsync-to-NAS": ("rsync-to-nas",),
    "Nextcloud": ("nextcloud",),
    "Vaultwarden": ("vaultwarden",),
    "Immich": ("immich",),
    "Syncthing": ("syncthing",),
    "Jellyfin": ("jellyfin",),
    "Sonarr": ("sonarr",),
    "Radarr": ("radarr",),
    "Lidarr": ("lidarr",),
    "Prowlarr": ("prowlarr",),
    "Bazarr": ("bazarr",),
    "Bookshelf": ("bookshelf",),
    "qBittorrent (arr-stack)": ("qbittorrent",),
    "Jellyseerr → Seerr": ("seerr",),
    "Kavita": ("kavita",),
    "Kiwix": ("kiwix",),
    "Homarr": ("homarr",),
    "HedgeDoc": ("hedgedoc",),
    "Home Assistant": ("home-assistant",),
    "Vikunja": ("vikunja",),
    "OpenClaw": ("openclaw",),
    "Klipper / Moonraker / Fluidd": ("klipper", "moonraker", "fluidd"),
    "Firewall / NetworkPolicy": ("network-policies",),
}
OLD_NAMES = {
    "bitnami/minio": "minio",
    "jellyseerr": "seerr",
    "overseerr": "seerr",
    "promtail": "alloy",
    "ingress-nginx": "traefik",
    "readarr": "bookshelf",
    "kube-prometheus-stack": "monitoring",
    "vs-code-server": "code-server",
    "postgres": "postgresql",
    "puppet": "puppet-server",
}
# host services that are settings of a system rather than services with a page in the catalogue
PLAIN_HOST_SERVICES = {
    "unbound", "reverse-proxy", "avahi", "chrony", "fail2ban", "router", "nfs-client", "open-iscsi", "backup-agent",
    "hd-idle", "sunshine", "binfmt", "nix-cache", "docker-registry", "smartd", "nvidia", "ups", "unattended-upgrades",
    "zram",
}  # fmt: skip


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def stored(name: str) -> Any:
    """A file of facts beside the checkout, where there is one."""
    path = FACTS / name
    if not path.is_file():
        pytest.skip(f"{name} is not beside this checkout")
    with gzip.open(path) as file:
        return json.load(file)


def test_every_service_that_the_seeds_name_has_an_entry(catalogue: Catalogue) -> None:
    assert {name for names in ROWS.values() for name in names} - set(catalogue) == set()


def test_no_row_of_the_fact_tables_was_forgotten() -> None:
    path = FACTS / "workloads.md"
    if not path.is_file():
        pytest.skip("workloads.md is not beside this checkout")
    wanted: set[str] = set()
    counting = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            first = line.split("|")[1].strip()
            if first == "workload":
                counting = True
            elif counting and not first.startswith("---"):
                wanted.add(first)
        else:
            counting = False
    assert wanted == set(ROWS)


def test_names_that_moved_on_lead_to_what_took_their_place(catalogue: Catalogue) -> None:
    assert {old: catalogue.resolve_name(old) for old in OLD_NAMES} == OLD_NAMES
    assert all(catalogue.warning(old) for old in OLD_NAMES)


def test_bundles_hold_workloads(catalogue: Catalogue) -> None:
    assert set(catalogue.bundles) == {"arr-stack", "elk"}
    assert {m for b in catalogue.bundles.values() for m in b.members} <= set(catalogue)


def able(catalogue: Catalogue, need: str) -> set[str]:
    """The workloads that meet a need: the one of that name, and those that provide that interface."""
    return ({need} & set(catalogue)) | set(catalogue.providers(need))


def test_every_need_can_be_met_without_a_circle(catalogue: Catalogue) -> None:
    after: dict[str, set[str]] = {}
    for name, entry in catalogue.items():
        wanted = {one for need in entry.needs for one in need.rstrip("?").split("|")}
        assert [one for one in wanted if not able(catalogue, one)] == [], name
        assert name not in wanted
        after[name] = {other for one in wanted for other in able(catalogue, one)} - {name}
    while ready := [name for name, wanted in after.items() if not wanted & set(after)]:
        for name in ready:
            del after[name]
    assert after == {}


def test_nothing_needs_what_a_later_tier_brings(catalogue: Catalogue) -> None:
    for name, entry in catalogue.items():
        for need in entry.needs:
            if not need.endswith("?"):
                others = [other for one in need.split("|") for other in able(catalogue, one)]
                earliest = min(TIERS.index(catalogue[other].tier) for other in others)
                assert earliest <= TIERS.index(entry.tier), f"{name} needs {need}"


def test_own_settings_neither_hide_a_common_key_nor_have_a_default_that_is_refused(catalogue: Catalogue) -> None:
    common = {info.alias or name for name, info in Workload.model_fields.items()}
    for name, entry in catalogue.items():
        assert not set(entry.settings) & common, name
        for spec in entry.settings.values():
            if spec.default is not None:
                read_setting(spec, spec.default)


def test_every_volume_with_something_to_lose_is_saved(catalogue: Catalogue) -> None:
    for name, entry in catalogue.items():
        if entry.stateful:
            own = {v for v, volume in entry.volumes.items() if volume.kind != "media"}
            assert set(entry.backup.volumes) & own, name
        assert set(entry.backup.together) <= set(catalogue), name


def test_no_image_comes_from_a_dead_registry(catalogue: Catalogue) -> None:
    for name, entry in catalogue.items():
        assert "bitnami" not in f"{entry.image} {entry.chart}", name


def test_requests_fit_a_small_pi_each(catalogue: Catalogue) -> None:
    for name, entry in catalogue.items():
        assert entry.memory <= 2 * 1024**3, name
        if entry.kind in {"helm", "kustomize"}:
            assert entry.cpu > 0 and entry.memory > 0, name


def test_what_has_a_page_can_be_asked_whether_it_works(catalogue: Catalogue) -> None:
    for name, entry in catalogue.items():
        if entry.exposure == "ingress":
            assert entry.health is not None, name


def test_hostnames_are_unique(catalogue: Catalogue) -> None:
    shown = {name: entry for name, entry in catalogue.items() if entry.exposure == "ingress"}
    names = [entry.hostname or name for name, entry in shown.items() if name != "grafana"]  # monitoring, or it alone
    assert len(names) == len(set(names))


def test_every_host_service_that_is_a_service_is_described(catalogue: Catalogue) -> None:
    known = {name for name in HOST_SERVICES if catalogue.resolve_name(name) is None}
    assert known == PLAIN_HOST_SERVICES


def test_charts_have_the_name_and_version_that_their_sources_say(catalogue: Catalogue) -> None:
    charts = stored("charts/charts.json.gz")
    checked = 0
    for name, entry in catalogue.items():
        source = entry.chart_source.name if entry.chart_source is not None else ""
        found = charts.get(source) or charts.get(f"eck-stack/{source}")
        if entry.chart_source is None or found is None:
            continue
        assert (found["name"], found["version"]) == (source, entry.chart_source.version), name
        assert not found["deprecated"], name
        checked += 1
    assert checked >= 40


def test_nixos_options_exist(catalogue: Catalogue) -> None:
    options = {option["name"] for option in stored("nixos-options.json.gz")}
    known = {".".join(name.split(".")[:depth]) for name in options for depth in range(1, 6)}
    named = {entry.nixos for entry in catalogue.values() if entry.nixos}
    assert len(named) >= 30
    assert named - known == set()


def test_the_page_of_the_docs_is_up_to_date(catalogue: Catalogue) -> None:
    from homelab_platform.catalog.table import render_table

    page = Path(PROJECT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert page == render_table(catalogue), "run scripts/catalogue-table"


def test_the_readme_shows_an_entry_that_loads_and_every_key_there_is(tmp_path: Path) -> None:
    text = (PROJECT / "helm" / "README.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "kiwix-2").mkdir()
    (tmp_path / "kiwix-2" / "workload.yaml").write_text(example, encoding="utf-8")
    assert load_catalogue(tmp_path)["kiwix-2"].title == "Kiwix"
    keys = {info.alias or name for name, info in CatalogueEntry.model_fields.items()} - {
        "name",
        "licence_note",
        "lock",
        "told",
    }
    assert {key for key in keys if f"`{key}`" not in text and f"\n{key}:" not in example and key != "title"} == set()
