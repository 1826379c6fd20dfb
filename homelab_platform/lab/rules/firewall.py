"""Rules about the firewall: it must not shut out the operator, nor the nodes from the Kubernetes API.

Belongs here: what rules do together. Names in rules are checked in references.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.model.network import FirewallRule
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts
from homelab_platform.lab.rules.references import firewall_rules

_INSIDE = {"any", "lan", "vpn", "hosts", "internal"}  # sources among which the operator and the nodes are


def firewall_locks_out(ctx: RuleContext) -> Iterable[Problem]:
    """A rule that shuts SSH or the API from inside cuts off the very connection that deploys it."""
    rules = list(firewall_rules(ctx))
    for path, rule in rules:
        for index, text in enumerate(rule.deny):
            for port, what_for, needed in ((22, "SSH", True), (6443, "the Kubernetes API", bool(facts(ctx).nodes))):
                if needed and _covers(text, port) and _shuts(ctx, path, rule, port, rules):
                    scope = f" to {path[1]}" if path[0] == "hosts" else ""
                    sources = ", ".join(rule.from_)
                    what = f"{path[-1]} shuts {what_for} ({port}){scope} from {sources}, and nothing opens it"
                    remedy = f"Let it through from the LAN or the VPN (allow: {port}, from: [lan, vpn]), or deny it "
                    yield ctx.problem(
                        (*path, "deny", index), what, f"{remedy}from: internet only.", "firewall-locks-out"
                    )


def _covers(text: str, port: int) -> bool:
    protocol, _, numbers = text.partition("/")
    low, _, high = numbers.partition("-")
    return protocol == "tcp" and int(low) <= port <= int(high or low)


def _shuts(ctx: RuleContext, path: Path, rule: FirewallRule, port: int, rules: list[tuple[Path, FirewallRule]]) -> bool:
    if not _reaches_operator(ctx, rule) or not _meets_hosts(ctx, path, rule, port):
        return False
    hosts = ctx.lab.hosts
    opened: set[str] = set()
    for other, allowing in rules:
        same = other[0] == "network" or other[:2] == path[:2]
        if same and any(_covers(text, port) for text in allowing.allow):
            opened.update(_live_sources(ctx, allowing))
    usable = opened - set(rule.from_) if "any" not in rule.from_ else opened - {"any"}
    wanted = {"hosts", "cluster", "lan", "any"} if port == 6443 and len(facts(ctx).nodes) > 1 else set()
    usable_networks = {w for w in usable if w in _INSIDE or w in hosts or w in ctx.lab.network.vlans or _is_cidr(w)}
    if port == 6443:
        return not (usable & wanted if wanted else usable_networks | (usable & {"cluster"}))
    return not usable_networks


def _live_sources(ctx: RuleContext, rule: FirewallRule) -> Iterator[str]:
    vpn = ctx.lab.network.vpn
    for word in rule.from_:
        if word != "vpn" or vpn.wireguard or vpn.tailscale:
            yield word


def _reaches_operator(ctx: RuleContext, rule: FirewallRule) -> bool:
    """Whether the LAN as a whole is shut: a VLAN of guests or the internet may be."""
    lan = ctx.lab.network.lan
    return any(
        word in ("any", "lan", "hosts") or (lan is not None and word in (lan, "0.0.0.0/0")) for word in rule.from_
    )


def _meets_hosts(ctx: RuleContext, path: Path, rule: FirewallRule, port: int) -> bool:
    """Whether the rule stands before a host that the platform deploys to (SSH), or before a server (the API)."""
    hosts = ctx.lab.hosts
    names = {str(path[1])} if path[0] == "hosts" else set(hosts) if {"any", "hosts"} & set(rule.to) else set(rule.to)
    if port == 22:
        return any(name in hosts and hosts[name].os != "external" for name in names)
    return bool(names & set(facts(ctx).servers))


def _is_cidr(word: str) -> bool:
    return "/" in word or word.count(".") == 3


RULES = (firewall_locks_out,)
