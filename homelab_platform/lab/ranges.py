"""Ranges of addresses as people write them: 192.168.0.200-250.

Belongs here: one frozen value with cheap set questions (integers, no lists of addresses).
"""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass

from homelab_platform.lab.quantities import Bad, shown


@dataclass(frozen=True, order=True)
class AddressRange:
    """Addresses from `first` to `last`, both included, as integers of IP version `version`."""

    version: int
    first: int
    last: int

    def __contains__(self, text: object) -> bool:
        found = ipaddress.ip_address(str(text))
        return found.version == self.version and self.first <= int(found) <= self.last

    def __len__(self) -> int:
        return min(self.last - self.first + 1, sys.maxsize)  # IPv6 networks hold more than len() can say

    def overlaps(self, other: AddressRange) -> bool:
        """Whether an address is in both."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def address(self, index: int) -> str:
        """The address at `index`, counted from the first."""
        return _text(self.first + index, self.version)

    def within(self, cidr: str) -> bool:
        """Whether the whole range lies in a network."""
        net = ipaddress.ip_network(cidr)
        first, last = int(net.network_address), int(net.broadcast_address)
        return net.version == self.version and first <= self.first and self.last <= last

    def __str__(self) -> str:
        first, last = _text(self.first, self.version), _text(self.last, self.version)
        if self.version == 4 and first.rsplit(".", 1)[0] == last.rsplit(".", 1)[0]:
            return f"{first}-{last.rsplit('.', 1)[1]}"
        return f"{first}-{last}"


def _text(number: int, version: int) -> str:
    return str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number))


def address_range(value: object) -> AddressRange:
    """Reads '192.168.0.200-250', '192.168.0.200-192.168.0.250', '192.168.0.224/27' or one address."""
    if isinstance(value, AddressRange):
        return value
    if not isinstance(value, str):
        raise Bad(f"{shown(value)} is not a range of addresses", "Write 192.168.0.200-250.")
    text = value.replace(" ", "")
    try:
        if "/" in text:
            net = ipaddress.ip_network(text)
            return AddressRange(net.version, int(net.network_address), int(net.broadcast_address))
        first_text, _, last_text = text.partition("-")
        first = ipaddress.ip_address(first_text)
        if last_text.isdigit() and first.version == 4:
            last_text = f"{first_text.rsplit('.', 1)[0]}.{last_text}"
        last = ipaddress.ip_address(last_text) if last_text else first
    except ValueError:
        raise Bad(f"{shown(value)} is not a range of addresses", "Write 192.168.0.200-250.") from None
    if first.version != last.version or int(last) < int(first):
        raise Bad(f"the range {text} ends before it starts", f"Write the lower address first: {last}-{first}.")
    return AddressRange(first.version, int(first), int(last))
