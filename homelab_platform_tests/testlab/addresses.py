"""The addresses of a lab: one number chooses 10.NUMBER.0.0/16, and everything else follows.

Belongs here: arithmetic, and which number nobody uses. Not here: setting addresses (machines.py, guardian.py).
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from homelab_platform.errors import HomelabError

PEOPLE = 77
"""The range of the lab that people start: examples/test-lab/lab.yaml names its addresses."""
TESTS = range(80, 251)
API_PORT = 6443


@dataclass(frozen=True)
class Addresses:
    """Addresses of the lab with this number. Machines count from 0."""

    number: int

    @property
    def lan(self) -> str:
        """The machines' own network."""
        return f"10.{self.number}.0.0/24"

    @property
    def gateway(self) -> str:
        """Where the machines' default route ends: nothing of the lab gets out."""
        return f"10.{self.number}.0.1"

    @property
    def outside(self) -> str:
        """This side's address in the machines' network."""
        return f"10.{self.number}.0.254"

    def machine(self, index: int) -> str:
        """The address of a machine."""
        return f"10.{self.number}.0.{11 + index}"

    def mac(self, index: int) -> str:
        """The hardware address of a machine: fixed, so that nobody has to forget an old one after a reboot."""
        return f"02:4c:00:{self.number:02x}:00:{11 + index:02x}"

    @property
    def pods(self) -> str:
        """The pods of all nodes."""
        return f"10.{self.number}.64.0/18"

    def pods_of(self, index: int) -> str:
        """The pods of a node."""
        return f"10.{self.number}.{64 + index}.0/24"

    @property
    def services(self) -> str:
        """The addresses of Kubernetes' services."""
        return f"10.{self.number}.128.0/17"

    @property
    def api_service(self) -> str:
        """The API server as pods see it."""
        return f"10.{self.number}.128.1"

    @property
    def dns_service(self) -> str:
        """The cluster's name server."""
        return f"10.{self.number}.128.10"


def free_number(taken: Iterable[int]) -> int:
    """A number that no lab has and no address or route of this machine touches. Raises HomelabError when none is."""
    here = _networks_here()
    reserved = set(taken)
    for number in TESTS:
        whole = ipaddress.ip_network(f"10.{number}.0.0/16")
        if number not in reserved and not any(whole.overlaps(network) for network in here):
            return number
    raise HomelabError.of("test lab", "every range from 10.80 to 10.250 is taken", "Stop a lab: make test-lab-down.")


def in_use(number: int) -> bool:
    """Whether an address or a route of this machine touches the range of this number."""
    whole = ipaddress.ip_network(f"10.{number}.0.0/16")
    return any(whole.overlaps(network) for network in _networks_here())


def _networks_here() -> list[ipaddress.IPv4Network]:
    found = []
    for entry in json.loads(_ip("-j", "-4", "route", "show", "table", "all")):
        if entry["dst"] != "default":
            found.append(ipaddress.IPv4Network(entry["dst"], strict=False))
    for link in json.loads(_ip("-j", "-4", "address")):
        for address in link.get("addr_info", ()):
            found.append(ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False))
    return found


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
