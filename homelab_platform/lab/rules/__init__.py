"""One module per cross-field rule family; each rule is one function that yields Problems.

Belongs here: the list of all rules. A rule reads its RuleContext and nothing else, says in its docstring why it exists
in a user's words, and bears with any lab that the loader lets through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.rules import (
    addresses,
    backups,
    cluster,
    deployable,
    dns_tls,
    firewall,
    fit,
    keys,
    marts,
    networks,
    nixos,
    patching,
    paths,
    people,
    ports,
    references,
    retired,
    secrets,
    served,
    storage,
    streams,
    unserved,
    workloads,
)

Rule = Callable[[RuleContext], Iterable[Problem]]

_FAMILIES = (
    references, addresses, networks, firewall, dns_tls, cluster, workloads, deployable, retired, ports, storage, keys,
    people, secrets, streams, marts, backups, patching, paths, nixos, fit, served, unserved,
)  # fmt: skip
ALL_RULES: tuple[Rule, ...] = tuple(rule for family in _FAMILIES for rule in family.RULES)
_OF_WHAT_IS_WRITTEN = (addresses, networks, dns_tls, retired, keys, secrets, streams, marts, paths, unserved)
LOCAL_RULES: tuple[Rule, ...] = tuple(rule for family in _OF_WHAT_IS_WRITTEN for rule in family.RULES)
"""Rules that judge what stands in the file and never tell of something that is missing."""

__all__ = ["ALL_RULES", "LOCAL_RULES", "Rule", "RuleContext"]
