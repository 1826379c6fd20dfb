"""Addresses follow from names: explicit ones first, and a neighbour that comes or goes moves nobody."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.lab.resolve.chosen import free_slot, spread
from homelab_platform_tests.lab.helpers import resolved
from homelab_platform_tests.lab.strategies import LAB_SETTINGS

STAR = """\
lab: x
domain: example.org
network:
  lan: 192.168.0.0/24
  load_balancers: 192.168.0.200-203
  vpn: {wireguard: {hub: hub, cidr: 10.9.0.0/24, peers: {phone: {postfix: 200, public_key: abc}, pad: }}}
hosts:
  hub: {board: x86, cpu: 4, memory: 8Gi, os: nixos, address: 192.168.0.5, k3s: server}
  pi-1: {board: pi5-8gb, os: nixos, address: 192.168.0.121, k3s: agent}
  pi-2: {board: pi5-8gb, os: nixos, address: dhcp, vpn: 7}
  far: {board: cloud, cpu: 1, memory: 1Gi, os: nixos, site: rented}
  tv: {board: appliance, os: external, address: 192.168.0.9}
  shy: {board: pi3, os: raspios, vpn: none}
"""


def test_a_wireguard_star_has_a_hub_and_a_single_address_for_each_spoke(tmp_path: Path) -> None:
    lab = resolved(tmp_path, STAR)
    star = lab.network.vpn["wireguard"]
    assert star["hub_address"] == lab.hosts["hub"].vpn_address == "10.9.0.1"
    assert star["peers"]["pi-1"] == {"address": "10.9.0.121", "allowed_ips": ["10.9.0.121/32"]}
    assert lab.hosts["pi-2"].vpn_address == "10.9.0.7"
    assert star["peers"]["phone"]["address"] == "10.9.0.200"
    assert star["peers"]["phone"]["public_key"] == "abc"
    assert set(star["peers"]) == {"pi-1", "pi-2", "far", "phone", "pad"}
    assert lab.hosts["tv"].vpn_address is None
    assert lab.hosts["shy"].vpn_address is None
    assert star["spoke_allowed_ips"] == ["10.9.0.0/24"]
    used = [star["hub_address"], *(peer["address"] for peer in star["peers"].values())]
    assert len(set(used)) == len(used)


def test_ipv6_has_the_same_place_in_the_star_and_names_of_its_own(tmp_path: Path) -> None:
    text = STAR.replace("cidr: 10.9.0.0/24", "cidr: 10.9.0.0/24, cidr6: 'fd09::/64'").replace(
        "address: 192.168.0.121", "address: 192.168.0.121, address6: 'fd00::121'"
    )
    network = resolved(tmp_path, text).network
    peer = network.vpn["wireguard"]["peers"]["pi-1"]
    assert peer["allowed_ips"] == ["10.9.0.121/32", "fd09::79/128"]
    assert peer["address6"] == "fd09::79"
    assert network.settings["dns_records6"] == {"pi-1.example.org": "fd00::121"}


def test_only_spokes_and_the_hub_get_the_service_and_the_hub_an_open_port(tmp_path: Path) -> None:
    hosts = resolved(tmp_path, STAR).hosts
    assert {name for name, host in hosts.items() if "wireguard" in host.services} == {"hub", "pi-1", "pi-2", "far"}
    open_to_all = {n for n, h in hosts.items() if any(r["from"] == ["any"] and r.get("allow") for r in h.firewall)}
    assert open_to_all == {"hub"}


def test_a_new_spoke_moves_no_other_address(tmp_path: Path) -> None:
    before = resolved(tmp_path, STAR).network.vpn["wireguard"]["peers"]
    more = STAR + "  aaa: {board: cloud, cpu: 1, memory: 1Gi, os: nixos}\n"
    after = resolved(tmp_path, more).network.vpn["wireguard"]["peers"]
    assert {name: peer for name, peer in after.items() if name != "aaa"} == before


def test_the_star_is_limited_to_named_hosts(tmp_path: Path) -> None:
    text = STAR.replace("hub: hub,", "hub: hub, hosts: [pi-1],")
    hosts = resolved(tmp_path, text).hosts
    assert {n for n, h in hosts.items() if h.vpn_address} == {"hub", "pi-1"}


def test_a_star_without_room_leaves_the_last_ones_out(tmp_path: Path) -> None:
    lab = resolved(tmp_path, STAR.replace("10.9.0.0/24", "10.9.0.0/30"))
    assert len({h.vpn_address for h in lab.hosts.values() if h.vpn_address}) == 2


def test_load_balancer_addresses_wishes_first_ingress_at_the_front_shared_where_asked(tmp_path: Path) -> None:
    lab = resolved(
        tmp_path,
        STAR
        + """\
workloads:
  metallb:
  traefik:
  pihole: {expose: 192.168.0.203}
  mosquitto: {expose: {way: lan, share: home}}
  syncthing: {expose: {way: lan, share: home}}
""",
    )
    found = {name: workload.address for name, workload in lab.workloads.items() if workload.address}
    assert found["traefik"] == "192.168.0.200"
    assert found["pihole"] == "192.168.0.203"
    assert found["mosquitto"] == found["syncthing"]
    assert found["mosquitto"] in ("192.168.0.201", "192.168.0.202")


def test_names_lead_to_hosts_to_services_and_to_the_ingress(tmp_path: Path) -> None:
    text = STAR.replace("domain: example.org", "domain: example.org\nsubdomain: home").replace(
        "  vpn:", "  dns: {lan: pihole, records: {printer.example.org: 192.168.0.77}}\n  vpn:"
    )
    lab = resolved(
        tmp_path,
        text + "workloads:\n  metallb:\n  traefik:\n  pihole: {expose: 192.168.0.203}\n  kavita: {expose: books}\n",
    )
    records = lab.network.dns_records
    assert records["pi-1.example.org"] == "192.168.0.121"
    assert records["books.home.example.org"] == "192.168.0.200"
    assert records["printer.example.org"] == "192.168.0.77"
    assert lab.workloads["kavita"].hostname == "books.home.example.org"
    assert lab.network.dns_servers[0] == "192.168.0.203"


def test_without_a_pool_names_lead_to_the_first_server(tmp_path: Path) -> None:
    text = STAR.replace("  load_balancers: 192.168.0.200-203\n", "")
    records = resolved(tmp_path, text + "workloads: {traefik: , kavita: }\n").network.dns_records
    assert records["kavita.example.org"] == "192.168.0.5"


@LAB_SETTINGS
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), unique=True, max_size=20), st.integers(1, 40))
def test_slots_are_never_given_twice(names: list[str], size: int) -> None:
    taken: dict[int, str] = {}
    for name in names:
        slot = free_slot(name, size, taken)
        if slot is None:
            assert len(taken) == size
        else:
            assert 0 <= slot < size
            assert slot not in taken
            taken[slot] = name
    assert all(spread(name, size) < size for name in names)
