"""Which Secrets a workload gets: kept, rotated, shared between both sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.plan.workload.secret_plan import Name, SecretPlanner

LAB = """\
version: 1
lab: secrets
domain: lab.example.org
identity: authentik
network:
  {lan: 192.168.7.0/24, gateway: 192.168.7.1, load_balancers: 192.168.7.200-210,
   dns: {cloudflare: {token: 'env:DNS_TOKEN'}}, tls: {email: a@example.org}}
hosts:
  pi: {board: x86, cpu: 8, memory: 64Gi, os: debian, address: 192.168.7.10, k3s: server, disks: {ssd: 1Ti}}
workloads:
  {traefik: , metallb: , cert-manager: , cloudnative-pg: , postgresql: , authentik: , vikunja: , seaweedfs: , velero: }
"""


class Cluster:
    """Secrets as a cluster would keep them."""

    def __init__(self, folder: Path) -> None:
        (folder / "lab.yaml").write_text(LAB)
        self.catalogue = load_catalogue()
        self.lab = load_resolved(folder / "lab.yaml", self.catalogue)
        self.held: dict[Name, dict[str, str]] = {}
        self.token = "first"

    def apply(self, name: str) -> Mapping[Name, Mapping[str, str]]:
        """Plan and write the Secrets of one workload."""
        workload = self.lab.workloads[name]
        entry = self.catalogue[workload.catalogue]
        planned = SecretPlanner(self.lab, workload, entry, self.held.get, lambda text: f"{text}={self.token}").plan()
        for secret, values in planned.wanted.items():
            self.held[secret] = {**self.held.get(secret, {}), **values}
        return planned.wanted


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A lab with a database, a sign-in and an S3 server."""
    return Cluster(tmp_path)


def test_a_database_user_is_known_on_both_sides_and_kept(cluster: Cluster) -> None:
    for name in ("postgresql", "vikunja", "postgresql", "vikunja"):
        cluster.apply(name)
        provider = cluster.held["data-platform", "postgresql-vikunja"]
    own = cluster.held["home", "vikunja-database"]
    assert provider == {"username": "vikunja", "password": own["password"]}
    assert own["uri"] == f"postgresql://vikunja:{own['password']}@postgresql-rw.data-platform.svc:5432/vikunja"
    assert cluster.held["data-platform", "postgresql-admin"]["username"] == "postgres"


@pytest.mark.parametrize("order", [("authentik", "vikunja"), ("vikunja", "authentik")])
def test_a_client_secret_is_the_same_for_both_whoever_comes_first(cluster: Cluster, order: tuple[str, str]) -> None:
    for name in ("postgresql", *order, *order):
        cluster.apply(name)
    assert cluster.lab.workloads["vikunja"].sso == "oidc"
    secret = cluster.held["home", "vikunja-oidc"]
    assert secret == {"client-id": "vikunja", "client-secret": cluster.held["auth", "authentik-clients"]["vikunja"]}


def test_a_reference_follows_the_lab_and_a_made_up_secret_does_not(cluster: Cluster) -> None:
    cluster.apply("cert-manager")
    cluster.apply("seaweedfs")
    keys = dict(cluster.held["data-platform", "seaweedfs-s3"])
    cluster.token = "second"
    cluster.apply("cert-manager")
    cluster.apply("seaweedfs")
    assert cluster.held["cert-manager", "cert-manager-dns"] == {"api-token": "env:DNS_TOKEN=second"}
    assert cluster.held["data-platform", "seaweedfs-s3"] == keys


def test_keys_of_a_provider_are_composed_into_a_file_and_its_absence_is_named(cluster: Cluster) -> None:
    with pytest.raises(HomelabError, match="seaweedfs has no Secret seaweedfs-s3 with the key access-key"):
        cluster.apply("velero")
    cluster.apply("seaweedfs")
    cluster.apply("velero")
    access = cluster.held["data-platform", "seaweedfs-s3"]["access-key"]
    assert f"aws_access_key_id={access}\n" in cluster.held["velero", "velero-s3"]["cloud"]
