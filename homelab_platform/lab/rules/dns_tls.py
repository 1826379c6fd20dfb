"""Rules about names and certificates: a domain that can exist, a challenge that can succeed, a token that may do it.

Belongs here: domain, DNS providers, TLS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab import interfaces
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts

PRIVATE = (
    "local", "lan", "home", "internal", "intranet", "corp", "private", "localdomain", "localhost", "test", "invalid",
    "example", "arpa", "onion", "box", "homelab",
)  # fmt: skip
_TYPING = {
    "con": "com", "cmo": "com", "ocm": "com", "comm": "com", "vom": "com", "nte": "net", "ent": "net", "met": "net",
    "ogr": "org", "rog": "org", "orgg": "org", "ort": "org", "oeg": "org", "inof": "info", "ddev": "dev",
}  # fmt: skip
_GLOBAL_KEY = re.compile(r"global", re.IGNORECASE)


def issuer(ctx: RuleContext) -> str:
    """Who signs certificates: as written, else Let's Encrypt when there is a DNS provider."""
    network = ctx.lab.network
    if "issuer" in network.tls.model_fields_set:
        return network.tls.issuer
    return "letsencrypt" if network.dns.cloudflare or network.dns.gandi else network.tls.issuer


def _acme(ctx: RuleContext) -> bool:
    return issuer(ctx).startswith("letsencrypt")


def _tls_path(ctx: RuleContext, *keys: str) -> Path:
    for key in keys:
        if ctx.positions.written("network", "tls", key):
            return ("network", "tls", key)
    return ("network", "tls") if ctx.positions.written("network", "tls") else ("network", "dns")


def private_domain(ctx: RuleContext) -> Iterable[Problem]:
    """Let's Encrypt signs only for names that exist in the public DNS; .local belongs to mDNS besides."""
    domain = ctx.lab.domain
    last = domain.rsplit(".", 1)[-1]
    if not _acme(ctx) or not (last in PRIVATE or "." not in domain):
        return
    path: Path = ("domain",) if ctx.positions.written("domain") else _tls_path(ctx, "issuer")
    said = f".{last}" if "." in domain else f"{domain} (one label)"
    what = f"Let's Encrypt does not sign for {domain}: {said} is not a public domain"
    remedy = "Use a domain that you own, or write network.tls: {issuer: self-signed}."
    yield ctx.problem(path, what, remedy, "private-domain")


def domain_typo(ctx: RuleContext) -> Iterable[Problem]:
    """A domain that is nearly right gets no certificate, or somebody else's."""
    dns, domain = ctx.lab.network.dns, ctx.lab.domain
    last = domain.rsplit(".", 1)[-1]
    if "." in domain and last in _TYPING:
        better = f"{domain.rsplit('.', 1)[0]}.{_TYPING[last]}"
        what = f"{domain}: there is no top-level domain .{last}"
        yield ctx.problem(("domain",), what, f"Did you mean {better}?", "domain-typo")
        return
    if last.isdigit():
        yield ctx.problem(("domain",), f"{domain} is an address, not a domain", "Write a name.", "domain-typo")
    for provider in ("cloudflare", "gandi"):
        account = getattr(dns, provider)
        zones = account.zones if account else ()
        if zones and ctx.positions.written("domain") and not any(_inside(domain, zone) for zone in zones):
            other = dns.gandi if provider == "cloudflare" else dns.cloudflare
            if other and (not other.zones or any(_inside(domain, zone) for zone in other.zones)):
                continue
            what = f"the domain {domain} is in none of the zones of {provider} ({', '.join(zones)})"
            near = q.nearest(domain.split(".", 1)[-1], zones) or q.nearest(domain, zones)
            head = domain.split(".", 1)[0]
            better = near if near and not domain.startswith(("lab.", f"{head}.")) else f"{head}.{near}" if near else ""
            remedy = f"Did you mean {better}?" if better else f"Add it to zones, or choose a name inside {zones[0]}."
            yield ctx.problem(("domain",), what, remedy, "domain-typo")


def _inside(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def wildcard_needs_dns(ctx: RuleContext) -> Iterable[Problem]:
    """Let's Encrypt gives wildcards only to who can change the zone (DNS-01); HTTP-01 proves single names."""
    tls, network = ctx.lab.network.tls, ctx.lab.network
    if not _acme(ctx):
        return
    star = next((name for name in tls.names if "*" in name), None)
    said_wildcard = tls.wildcard and "wildcard" in tls.model_fields_set
    if tls.challenge == "http-01" and (said_wildcard or star):
        path = ("network", "tls", "names", tls.names.index(star)) if star else ("network", "tls", "wildcard")
        what = f"the wildcard {star or f'*.{ctx.lab.domain}'} cannot be had by http-01"
        remedy = "Write challenge: dns-01 with a DNS provider, or wildcard: false."
        yield ctx.problem(path, what, remedy, "wildcard-needs-dns")
    if tls.challenge != "http-01" and not (network.dns.cloudflare or network.dns.gandi):
        what = "dns-01 changes the public zone, but the lab has no DNS provider"
        remedy = (
            "Add network.dns: {cloudflare: {token: sops:secrets/dns.yaml#cloudflare}}, or write challenge: http-01."
        )
        yield ctx.problem(_tls_path(ctx, "challenge", "issuer"), what, remedy, "wildcard-needs-dns")


def tls_by_vault(ctx: RuleContext) -> Iterable[Problem]:
    """Certificates that Vault is to sign are never made when there is no Vault."""
    if ctx.lab.network.tls.issuer == "vault" and interfaces.VAULT not in facts(ctx).providers:
        what = "certificates are to be signed by Vault, which is not in the lab"
        yield ctx.problem(("network", "tls", "issuer"), what, "Add vault: or openbao: to workloads.", "tls-by-vault")


def cloudflare_token(ctx: RuleContext) -> Iterable[Problem]:
    """The global API key opens the whole account; a token opens one zone. With an e-mail address the tools take the
    token for a global key, and every request is refused."""
    cloudflare = ctx.lab.network.dns.cloudflare
    if cloudflare is None:
        return
    path: Path = ("network", "dns", "cloudflare")
    remedy = "Make an API token with the rights Zone:Read and DNS:Edit for the zone, and leave email out."
    if cloudflare.email:
        what = "email belongs to Cloudflare's global API key; a token is due"
        yield ctx.problem((*path, "email"), what, remedy, "cloudflare-token")
    if _GLOBAL_KEY.search(cloudflare.token):
        what = "this is by its name Cloudflare's global API key, which opens the whole account; a token is due"
        yield ctx.problem((*path, "token"), what, remedy, "cloudflare-token")


def public_needs_way_in(ctx: RuleContext) -> Iterable[Problem]:
    """Let's Encrypt asks by http-01 on port 80 from the internet: a firewall that shuts it shuts certificates out."""
    if not _acme(ctx) or ctx.lab.network.tls.challenge != "http-01":
        return
    for name, rule in ctx.lab.network.firewall.items():
        for index, text in enumerate(rule.deny):
            if text == "tcp/80" and ("internet" in rule.from_ or "any" in rule.from_):
                what = f"{name} shuts port 80, on which http-01 proves the domain"
                remedy = "Write challenge: dns-01 with a DNS provider, or let port 80 through."
                yield ctx.problem(("network", "firewall", name, "deny", index), what, remedy, "public-needs-way-in")


RULES = (private_domain, domain_typo, wildcard_needs_dns, tls_by_vault, cloudflare_token, public_needs_way_in)
