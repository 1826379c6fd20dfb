"""The lab file's `network:` section: addresses, pools, VLANs, VPN, DNS, zones, firewall, WiFi and TLS.

Belongs here: what a person writes. Derived facts (peers, records) are made in lab/resolve/network.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import (
    Address,
    Cidr,
    Domain,
    Duration,
    Many,
    Name,
    Named,
    Node,
    Port,
    Range,
    Secret,
)


class Vlan(Node):
    """A VLAN, or in short its network: `services: 10.0.1.0/24`."""

    short: ClassVar[str | None] = "cidr"
    cidr: Cidr = Field(description="Addresses of this VLAN.", examples=["10.0.1.0/24"])
    id: Annotated[int, Field(ge=1, le=4094)] | None = Field(None, description="802.1Q tag.")
    gateway: Address | None = Field(None, description="Router of this VLAN.")
    dhcp: Range | None = Field(None, description="Addresses that its DHCP server gives out.")
    dns: Many[Address] = Field((), description="Resolvers in this VLAN.")
    isolated: bool = Field(False, description="Whether other VLANs may not reach it.")


class Peer(Node):
    """A WireGuard peer that is not a host of the lab: a phone, a laptop abroad."""

    public_key: str | None = Field(None, description="Its public key.")
    postfix: Annotated[int, Field(ge=1, le=65534)] | None = Field(
        None, description="Last part of its VPN address; next free one when not said."
    )
    person: Name | None = Field(None, description="Whose device it is.")
    reaches: Many[Cidr] = Field((), description="Networks behind it.")


class WireGuard(Node):
    """A WireGuard star: every host with a VPN address talks to the hub, the hub forwards."""

    hub: Name = Field(description="Host that all others connect to.", examples=["pi-master"])
    cidr: Cidr = Field("10.9.0.0/24", description="Addresses of the VPN.")
    cidr6: Cidr | None = Field(None, description="IPv6 addresses of the VPN.")
    port: Port = Field(51820, description="UDP port of the hub.")
    endpoint: str | None = Field(None, description="Name or address of the hub as the internet sees it.")
    keepalive: Annotated[int, Field(ge=0, le=65535)] = Field(25, description="Seconds between keep-alives; 0 for none.")
    key: Secret = Field("file:/etc/wireguard/private.key", description="Private key on each host; a reference.")
    hosts: Many[Name] | None = Field(None, description="Hosts that are spokes; all managed hosts when not said.")
    peers: Named[Peer] = Field({}, description="Devices of people that are no hosts of the lab.")


class Tailscale(Node):
    """A Tailscale (or Headscale) mesh."""

    auth_key: Secret = Field(description="Reference to a reusable auth key.")
    tailnet: str | None = Field(None, description="Name of the tailnet.")
    login_server: str | None = Field(None, description="Address of a Headscale server.")
    hosts: Many[Name] | None = Field(None, description="Hosts that join; all managed hosts when not said.")
    routes: Many[Cidr] = Field((), description="Networks that the router offers to the mesh.")
    router: Name | None = Field(None, description="Host that offers `routes`.")
    exit_node: Name | None = Field(None, description="Host that carries others' internet traffic.")
    ssh: bool = Field(False, description="Whether Tailscale SSH is on.")
    operator: bool = Field(False, description="Whether the Kubernetes operator exposes services to the mesh.")


class Vpn(Node):
    """How people and far hosts come in."""

    wireguard: WireGuard | None = Field(None, description="WireGuard star.")
    tailscale: Tailscale | None = Field(None, description="Tailscale mesh.")


class DnsProvider(Node):
    """A DNS provider of the lab's public zones."""

    token: Secret = Field(description="API token (Cloudflare: zone read and DNS edit) as a reference.")
    zones: Many[Domain] = Field((), description="Zones it serves; the lab's domain when not said.")
    email: str | None = Field(None, description="Account address, where the provider asks for one.")
    proxied: Many[Name] = Field((), description="Workloads that go through the provider's proxy (Cloudflare CDN).")
    tunnel: Secret | None = Field(None, description="Reference to the credentials of a Cloudflare tunnel.")


class DynamicDns(Node):
    """Keeps a public record at the line's changing address."""

    provider: Literal["cloudflare", "gandi"] = Field(description="Provider of the record.")
    names: Many[Domain] = Field(description="Records to keep.", examples=[["home.example.org"]])
    host: Name | None = Field(None, description="Host that runs the job; one of the cluster when not said.")
    every: Duration = Field(300, description="How often it looks.", examples=["5m"])


class Dns(Node):
    """Who answers which names."""

    upstream: Many[Address] = Field(("1.1.1.1", "9.9.9.9"), description="Resolvers that the lab's own ask.")
    lan: Name | None = Field(None, description="Workload or host that is the LAN's resolver, such as pihole.")
    cluster: Literal["coredns"] = Field("coredns", description="Resolver inside the cluster.")
    forward: dict[Domain, Many[Address]] = Field({}, description="Zones that other servers answer (split DNS).")
    records: dict[Domain, Address] = Field({}, description="Further records of the lab's own.")
    cloudflare: DnsProvider | None = Field(None, description="Cloudflare account.")
    gandi: DnsProvider | None = Field(None, description="Gandi account.")
    dynamic: DynamicDns | None = Field(None, description="Dynamic DNS.")


class Wifi(Node):
    """A wireless network; hosts name it."""

    ssid: str = Field(description="Name of the network.")
    password: Secret | None = Field(None, description="Reference to its password; none when it is open.")
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = Field(None, description="Regulatory country: GB.")
    priority: int = Field(0, description="Higher is tried first.")
    hidden: bool = Field(False, description="Whether it does not announce itself.")


class Tls(Node):
    """Certificates."""

    issuer: Literal["letsencrypt", "letsencrypt-staging", "self-signed", "vault", "none"] = Field(
        "self-signed", description="Who signs; Let's Encrypt when a DNS provider is given and nothing is said."
    )
    challenge: Literal["dns-01", "http-01"] | None = Field(None, description="dns-01 when a DNS provider is given.")
    email: str | None = Field(None, description="Where Let's Encrypt sends warnings.")
    wildcard: bool = Field(True, description="One certificate for all names (needs dns-01).")
    names: Many[str] = Field((), description="Further names on certificates of hosts.")


_PORTS = r"(?:(?:tcp|udp)/)?\d{1,5}(?:-\d{1,5})?"


def _ports(value: object) -> str:
    import re

    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(_PORTS, text):
        raise q.Bad(f"{q.shown(value)} is not a port", "Write 22, udp/51820 or 30000-32767.")
    numbers = [int(n) for n in text.rsplit("/", 1)[-1].split("-")]
    if not all(1 <= n <= 65535 for n in numbers) or numbers != sorted(numbers):
        raise q.Bad(f"{text} is no range of ports", "Ports go from 1 to 65535, the lower one first.")
    return text if "/" in text else f"tcp/{text}"


Ports = Annotated[
    str,
    BeforeValidator(_ports),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{_PORTS}$"}]}),
]


class FirewallRule(Node):
    """One named rule. `from` and `to` are any, internet, lan, vpn, cluster, a VLAN, a zone, a host or a network."""

    allow: Many[Ports] = Field((), description="Ports let through.", examples=[[22, "udp/51820", "30000-32767"]])
    deny: Many[Ports] = Field((), description="Ports refused.")
    from_: Many[str] = Field(("any",), alias="from", description="Where the traffic comes from.")
    to: Many[str] = Field(("any",), description="Where it goes: hosts, any.")
    interface: str | None = Field(None, description="Only on this interface, such as wg0.")
    why: str | None = Field(None, description="Reason, shown in the documentation.")


class Network(Node):
    """Addresses of the lab as a whole."""

    lan: Cidr | None = Field(None, description="The home network.", examples=["192.168.0.0/24"])
    lan6: Cidr | None = Field(None, description="IPv6 prefix of the home network.", examples=["fd00:10::/64"])
    gateway: Address | None = Field(None, description="The router.", examples=["192.168.0.1"])
    gateway6: Address | None = Field(None, description="The IPv6 router.")
    dhcp: Range | None = Field(
        None, description="Addresses that the DHCP server gives out.", examples=["192.168.0.20-99"]
    )
    dhcp_server: Name | None = Field(None, description="Host or workload that serves DHCP; the router when not said.")
    load_balancers: Many[Range] = Field(
        (), description="Addresses for services (MetalLB).", examples=["192.168.0.200-250"]
    )
    pods: Cidr = Field("10.42.0.0/16", description="Addresses of pods.")
    services: Cidr = Field("10.43.0.0/16", description="Addresses of services inside the cluster.")
    pods6: Cidr | None = Field(None, description="IPv6 addresses of pods (dual stack).")
    services6: Cidr | None = Field(None, description="IPv6 addresses of services (dual stack).")
    node_mask: Annotated[int, Field(ge=16, le=28)] = Field(24, description="Size of each node's part of `pods`.")
    vlans: Named[Vlan] = Field({}, description="VLANs by name.", examples=[{"management": "10.0.0.0/24"}])
    vpn: Vpn = Field(Vpn.model_construct(), description="How people and far hosts come in.")
    dns: Dns = Field(Dns.model_construct(), description="Who answers which names.")
    zones: Annotated[
        dict[Literal["dmz", "internal", "restricted"], Many[Name]], BeforeValidator(lambda v: {} if v is None else v)
    ] = Field({}, description="Workloads by how exposed they are; all others are internal.")
    node_ports: Ports = Field("tcp/30000-32767", description="Range of NodePorts.")
    firewall: Named[FirewallRule] = Field({}, description="Named rules for all hosts.")
    wifi: Named[Wifi] = Field({}, description="Wireless networks by name.")
    tls: Tls = Field(Tls.model_construct(), description="Certificates.")
    ntp: Many[str] = Field((), description="Time servers.")
