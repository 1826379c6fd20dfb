"""`examples/test-lab` describes the lab that `make test-lab` starts, and no other."""

from __future__ import annotations

from pathlib import Path

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.paths import project_path
from homelab_platform_tests.testlab import hosts
from homelab_platform_tests.testlab.addresses import PEOPLE, Addresses
from homelab_platform_tests.testlab.hosts import Place
from homelab_platform_tests.testlab.lab import TestLab


def test_the_example_names_the_hosts_and_networks_of_the_lab() -> None:
    resolved = load_resolved(project_path("examples", "test-lab", "lab.yaml"), load_catalogue())
    own = Addresses(PEOPLE)
    made = {host.name: (own.machine(index), host.kube) for index, host in enumerate(hosts.DEFAULT)}
    assert {name: (host.address, host.k3s) for name, host in resolved.hosts.items()} == made
    assert (resolved.network.lan, resolved.network.gateway) == (own.lan, own.gateway)
    assert (resolved.network.pod_cidr, resolved.network.service_cidr) == (own.pods, own.services)


def test_a_lab_at_other_addresses_writes_a_lab_file_that_is_right_for_it(tmp_path: Path) -> None:
    place = Place("abc", tmp_path / "lab", Addresses(123), hosts.DEFAULT)
    place.key.parent.mkdir(parents=True)
    place.known_hosts.touch()
    place.key.with_suffix(".pub").write_text((project_path("examples", "single-pi", "keys", "owner.pub")).read_text())
    resolved = load_resolved(TestLab(place).write_lab(tmp_path / "copy"), load_catalogue())
    assert resolved.hosts["pi-2"].address == "10.123.0.12"
    assert resolved.network.pod_cidr == Addresses(123).pods
