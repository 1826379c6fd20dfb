"""Rules about software that has come to its end: no security fixes, or gone behind a paywall.

Belongs here: what is retired, since when, and what takes its place. Names of old are aliases in the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.values import leaves


class Retired(NamedTuple):
    """What a chart or image looks like, why it is refused, what takes its place."""

    looks_like: re.Pattern[str]
    why: str
    instead: str


def _retired(pattern: str, why: str, instead: str) -> Retired:
    return Retired(re.compile(pattern, re.IGNORECASE), why, instead)


RETIRED = (
    _retired(
        r"(?:^|[/\\s])bitnami(?:legacy|charts)?(?:/|$)|charts\.bitnami\.com|^bitnami-",
        "Bitnami's charts and images are no longer published for free",
        "Use the catalogue's own entry",
    ),
    _retired(
        r"(?:^|/)ingress-nginx(?:/|$)|kubernetes\.github\.io/ingress-nginx",
        "ingress-nginx was retired in March 2026",
        "Use traefik",
    ),
    _retired(r"(?:^|/)promtail(?:$|/|:)", "Promtail came to its end in March 2026", "Use alloy"),
    _retired(
        r"charts\.min\.io|operator\.min\.io|(?:^|/)minio/(?:minio|operator)(?:$|:|@)",
        "MinIO's repository is archived and its images are unpatched",
        "Use the catalogue's minio, which runs a maintained engine",
    ),
    _retired(
        r"(?:^|/)cetic(?:/|$)|^apache-nifi/nifi$",
        "this NiFi chart is abandoned or never existed upstream",
        "Use the catalogue's nifi",
    ),
    _retired(
        r"grafana\.github\.io/helm-charts(?:/(?:loki|grafana|promtail))?$|^grafana/(?:loki|grafana|loki-stack)$",
        "the charts of Grafana and Loki moved to grafana-community in March 2026",
        "Use the catalogue's entry, or oci://ghcr.io/grafana-community/helm-charts",
    ),
    _retired(r"(?:^|/)kubernetes-dashboard$", "kubernetes-dashboard is archived", "Leave it out"),
    _retired(r"(?:linuxserver|hotio)/readarr", "Readarr was retired in 2025", "Use bookshelf"),
)
NAMES = {
    "ingress-nginx": ("ingress-nginx was retired in March 2026", "traefik"),
    "nginx-ingress": ("ingress-nginx was retired in March 2026", "traefik"),
    "promtail": ("Promtail came to its end in March 2026", "alloy"),
    "grafana-agent": ("the Grafana Agent came to its end in November 2025", "alloy"),
    "bitnami-minio": ("Bitnami's charts and images are no longer published for free", "minio"),
    "bitnami-postgresql": ("Bitnami's charts and images are no longer published for free", "postgresql"),
    "bitnami-redis": ("Bitnami's charts and images are no longer published for free", "valkey"),
    "readarr": ("Readarr was retired in 2025", "bookshelf"),
}


def retired_software(ctx: RuleContext) -> Iterable[Problem]:
    """Charts and images that nobody maintains any longer get no security fixes, or are gone behind a paywall."""
    for name, workload in ctx.lab.workloads.items():
        asked = workload.catalogue or name
        if asked in NAMES and not (workload.chart or workload.image or workload.kustomize):
            why, instead = NAMES[asked]
            at: Path = ("workloads", name, "catalogue") if workload.catalogue else ("workloads", name)
            what = f"{asked}: {why}" if asked != why.split()[0] else why
            yield ctx.problem(at, what, f"Write {instead}: instead.", "retired-software", key=not workload.catalogue)
        for field in ("chart", "image"):
            if text := getattr(workload, field):
                yield from _found(ctx, name, text, ("workloads", name, field))
        for path, text in leaves(workload.values):
            if isinstance(text, str) and "/" in text:
                yield from _found(ctx, name, text, ("workloads", name, "values", *path))


def _found(ctx: RuleContext, name: str, text: str, path: Path) -> Iterator[Problem]:
    for retired in RETIRED:
        if retired.looks_like.search(text):
            what = f"{name}: {q.shown(text)}: {retired.why}"
            yield ctx.problem(path, what, f"{retired.instead}.", "retired-software")
            return


RULES = (retired_software,)
