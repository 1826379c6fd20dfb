"""Rules about workloads: what they need, where they can run, what has come to its end.

Belongs here: one workload against the lab and the catalogue. Ports are in ports.py, volumes in storage.py, whether all
of them fit in fit.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab import interfaces
from homelab_platform.lab import quantities as q
from homelab_platform.lab.catalogue import Entry
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts, listed


def missing_dependency(ctx: RuleContext) -> Iterable[Problem]:
    """Immich without PostgreSQL starts, waits and dies; what a workload cannot run without must be in the lab."""
    here = facts(ctx).names_here
    for name, workload in ctx.lab.workloads.items():
        for index, need in enumerate(workload.needs):
            if need not in here:
                remedy = q.did_you_mean(need, here) if q.nearest(need, here) else f"Add {need}: to workloads."
                what = f"{name} needs {need}, which is not in the lab"
                yield ctx.problem(("workloads", name, "needs", index), what, remedy, "missing-dependency")
        entry = facts(ctx).entries[name]
        for need in entry.needs if entry is not None and not workload.chart else ():
            options = need.split("|")
            if need.endswith("?") or any(option in here for option in options):
                continue
            why = getattr(entry, "needs_why", {}).get(need, "")
            what = f"{name} needs {' or '.join(options)}, which is not in the lab{f' ({why})' if why else ''}"
            remedy = f"Add {_one_of(ctx, options[0])}: to workloads, or take {name} out."
            yield ctx.problem(("workloads", name), what, remedy, "missing-dependency", key=True)


def _one_of(ctx: RuleContext, need: str) -> str:
    """An entry of the catalogue that meets this need: of its name, or the first that provides it."""
    if need in ctx.catalog:
        return need
    return next((name for name in ctx.catalog if need in ctx.catalog[name].provides), need)


EXTENSIONS_APART = {"vchord": ("vchord", "vectorchord")}
"""Extensions that PostgreSQL does not bring itself, and how images and lists of extensions call them."""


def vector_search(ctx: RuleContext) -> Iterable[Problem]:
    """Immich searches pictures with the VectorChord extension; with a PostgreSQL that lacks it, it does not start."""
    known = facts(ctx)
    server = known.providers.get(interfaces.POSTGRESQL)
    if server not in ctx.lab.workloads:
        return
    said = ctx.lab.workloads[server]
    extensions = said.settings.get("extensions")
    written = [str(e).lower() for e in extensions] if isinstance(extensions, list) else []
    for name, entry in known.entries.items():
        database = getattr(entry, "database", None)
        for extension in EXTENSIONS_APART.keys() & set(database.extensions if database is not None else ()):
            words = EXTENSIONS_APART[extension]
            if extensions is not None and not any(e.startswith(words) for e in written):
                path: Path = ("workloads", server, "extensions")
                what = f"{name} needs the extension {extension}, which {server} does not load"
                yield ctx.problem(
                    path, what, f"Add {extension} to extensions, or leave extensions out.", "vector-search"
                )
            if said.image and not any(word in said.image for word in words):
                path = ("workloads", server, "image")
                what = f"{name} needs the extension {extension}, which the image {said.image} does not bring along"
                remedy = "Use ghcr.io/tensorchord/cloudnative-vectorchord with a version, or leave image out."
                yield ctx.problem(path, what, remedy, "vector-search")


def sign_in_provider(ctx: RuleContext) -> Iterable[Problem]:
    """Single sign-on needs somebody to sign in to: a provider that the lab runs, or one outside with its address."""
    known, identity = facts(ctx), ctx.lab.identity
    if identity.provider not in ("none", "external") and identity.provider not in known.known_names:
        path: Path = ("identity", "provider")
        what = f"people sign in to {identity.provider}, which is not in the lab"
        remedy = f"Add {identity.provider}: to workloads, or write provider: external with its issuer."
        yield ctx.problem(path, what, remedy, "sign-in-provider")
    if identity.provider == "external" and not identity.issuer:
        what = "people sign in to a provider outside of the lab, but its issuer is missing"
        remedy = "Add issuer: https://…, as its .well-known/openid-configuration says."
        yield ctx.problem(("identity", "provider"), what, remedy, "sign-in-provider")
    for name, workload in ctx.lab.workloads.items():
        if workload.sso in (None, "none"):
            continue
        if identity.provider == "none" and identity.ldap is None:
            what = f"{name}: sso {workload.sso} needs an identity provider; the lab has none"
            remedy = "Add identity: authentik and authentik: to workloads, or write sso: none."
            yield ctx.problem(("workloads", name, "sso"), what, remedy, "sign-in-provider")


def sign_in_way(ctx: RuleContext) -> Iterable[Problem]:
    """Not every application knows every way to sign in: a proxy in front of Jellyfin breaks its apps."""
    for name, workload in ctx.lab.workloads.items():
        entry = facts(ctx).entries[name]
        if workload.sso in (None, "none") or entry is None or workload.chart or workload.sso in entry.sso:
            continue
        ways = f"it knows {listed(entry.sso)}" if entry.sso else "it knows none"
        note = getattr(entry, "sso_note", "")
        remedy = f"Write sso: {entry.sso[0] if entry.sso else 'none'}.{f' {note}' if note else ''}"
        what = f"{name} cannot be signed in to by {workload.sso}: {ways}"
        yield ctx.problem(("workloads", name, "sso"), what, remedy, "sign-in-way")


def dependency_cycle(ctx: RuleContext) -> Iterable[Problem]:
    """Where a needs b and b needs a, neither can be first."""
    workloads = {name: _needs(ctx, name) for name in ctx.lab.workloads}
    hosts = {
        name: [n for n in (*host.needs, *([host.runs_on] if host.runs_on else [])) if n in ctx.lab.hosts]
        for name, host in ctx.lab.hosts.items()
    }
    tasks = {name: [n for n in task.needs if n in ctx.lab.tasks] for name, task in ctx.lab.tasks.items()}
    for section, graph in (("workloads", workloads), ("hosts", hosts), ("tasks", tasks)):
        for cycle in _cycles(graph):
            last = next((n for n in cycle if ctx.positions.written(section, n, "needs")), cycle[0])
            around = [*cycle[cycle.index(last) :], *cycle[: cycle.index(last)], last]
            what = f"{' → '.join(around)}: each needs the next, so that none can be first"
            path: Path = (section, last, "needs" if ctx.positions.written(section, last, "needs") else "runs_on")
            yield ctx.problem(
                path, what, f"Take one of the needs out, such as {around[1]} of {last}.", "dependency-cycle"
            )


def _needs(ctx: RuleContext, name: str) -> list[str]:
    known, workload = facts(ctx), ctx.lab.workloads[name]
    needs = [known.providers.get(n, n) for n in workload.needs]
    entry = known.entries[name]
    for need in entry.needs if entry is not None and not workload.chart else ():
        options = (
            [known.providers[o] for o in need.split("|") if o in known.providers] if not need.endswith("?") else []
        )
        if options and not any(o in needs for o in options):
            needs.append(options[0])
    return [n for n in needs if n in ctx.lab.workloads]


def _cycles(graph: dict[str, list[str]]) -> Iterator[list[str]]:
    """One cycle of each knot of a graph; every node is entered once."""
    done: set[str] = set()
    for start, first in graph.items():
        trail = [start] if start not in done else []
        stack = [iter(first)] if trail else []
        while stack:
            following = next((n for n in stack[-1] if n not in done), None)
            if following is None:
                stack.pop()
                done.add(trail.pop())
            elif following in trail:
                yield trail[trail.index(following) :]
            else:
                stack.append(iter(graph[following]))
                trail.append(following)


def image_architecture(ctx: RuleContext) -> Iterable[Problem]:
    """An image for another processor ends in 'exec format error' on a Pi."""
    known = facts(ctx)
    for name, workload, entry in known.pods():
        if entry is None or workload.image or workload.chart:
            continue
        for index, host_name in enumerate(workload.on):
            host = ctx.lab.hosts.get(host_name)
            if host is not None and known.arch(host) not in entry.arch:
                what = f"{name} has no image for {host_name} ({known.arch(host)}), only for {listed(entry.arch)}"
                able = [n for n, h in known.nodes.items() if known.arch(h) in entry.arch]
                remedy = f"Move it (on: {able[0]})." if able else f"Take {name} out, or build an image of your own."
                yield ctx.problem(("workloads", name, "on", index), what, remedy, "image-architecture")
        if not workload.on and known.nodes and not any(known.arch(h) in entry.arch for h in known.nodes.values()):
            archs = sorted({known.arch(h) for h in known.nodes.values()})
            what = f"{name} has images for {listed(entry.arch)} only; the cluster is {listed(archs)}"
            remedy = f"Add a {entry.arch[0]} host to the cluster, or build an image of your own (image: …)."
            yield ctx.problem(("workloads", name), what, remedy, "image-architecture", key=True)


def placed_outside_cluster(ctx: RuleContext) -> Iterable[Problem]:
    """Pods run on hosts of the cluster only."""
    known = facts(ctx)
    for name, workload, _ in known.pods():
        for index, host in enumerate(workload.on if known.nodes else ()):
            if host in ctx.lab.hosts and host not in known.nodes:
                what = f"{name} runs as pods, but {host} is not part of the cluster"
                remedy = f"Choose among {listed(list(known.nodes))}, or give {host} k3s: agent."
                yield ctx.problem(("workloads", name, "on", index), what, remedy, "placed-outside-cluster")


def own_chart_missing(ctx: RuleContext) -> Iterable[Problem]:
    """A chart of one's own lies in a folder beside the lab file, with a Chart.yaml in it."""
    for name, workload in ctx.lab.workloads.items():
        for field, file in (("chart", ("Chart.yaml",)), ("kustomize", ("kustomization.yaml", "kustomization.yml"))):
            text = getattr(workload, field)
            if not text or not text.startswith(".") or "\\" in text or "\x00" in text:
                continue
            folder = ctx.folder / text
            if not any((folder / part).is_file() for part in file):
                what = f"{name}: {text} is not there" if not folder.is_dir() else f"{name}: {text} has no {file[0]}"
                remedy = f"Put it beside the lab file: {text.rstrip('/')}/{file[0]}."
                yield ctx.problem(("workloads", name, field), what, remedy, "own-chart-missing")


def zone_twice(ctx: RuleContext) -> Iterable[Problem]:
    """A workload in two zones would be both open and shut."""
    seen: dict[str, str] = {}
    for zone, members in ctx.lab.network.zones.items():
        for index, name in enumerate(members):
            first = seen.setdefault(name, zone)
            own = ctx.lab.workloads[name].zone if name in ctx.lab.workloads else None
            other = first if first != zone else own if own and own != zone else None
            if other:
                what = f"{name} is in {zone} here and in {other} elsewhere"
                yield ctx.problem(("network", "zones", zone, index), what, "Keep one of them.", "zone-twice")


def public_restricted(ctx: RuleContext) -> Iterable[Problem]:
    """What is restricted (Vault, databases) must never be reachable from the internet."""
    restricted = set(ctx.lab.network.zones.get("restricted", ()))
    for name, workload in ctx.lab.workloads.items():
        if workload.expose.public and (workload.zone == "restricted" or name in restricted):
            what = f"{name} is public, but its zone is restricted"
            path: Path = ("workloads", name, "expose", "public")
            yield ctx.problem(path, what, "Write expose: vpn, or move it to another zone.", "public-restricted")


def same_hostname(ctx: RuleContext) -> Iterable[Problem]:
    """Two services or machines under one name: which one answers depends on the day."""
    seen: dict[str, tuple[str, Path]] = {}
    for full, owner, path in _names(ctx):
        first, where = seen.setdefault(full, (owner, path))
        if first != owner:
            line = ctx.positions.key(*where).line
            what = f"{owner} is called {full}, and so is {first} (line {line})"
            yield ctx.problem(path, what, _rename(path), "same-hostname")


def _rename(path: Path) -> str:
    return "Give one of them another name." if path[0] == "hosts" else "Give it another one: expose: {host: …}."


def _names(ctx: RuleContext) -> Iterator[tuple[str, str, Path]]:
    lab, known = ctx.lab, facts(ctx)
    services = f"{lab.subdomain}.{lab.domain}" if lab.subdomain else lab.domain
    for name, host in lab.hosts.items():
        yield f"{name}.{lab.domain}", name, ("hosts", name)
        for index, other in enumerate(host.dns_names):
            yield f"{other}.{lab.domain}", name, ("hosts", name, "dns_names", index)
    for name, workload in lab.workloads.items():
        if known.way(name, workload) not in ("lan", "ingress", "vpn") or not _is_served(known.entries[name]):
            continue
        entry = known.entries[name]
        label = workload.expose.host or (entry.hostname if entry and entry.name == name else None) or name
        path: Path = ("workloads", name, "expose") if workload.expose.host else ("workloads", name)
        yield f"{label}.{services}", f"workload {name}", path


def _is_served(entry: Entry | None) -> bool:
    return entry is None or entry.kind in ("helm", "kustomize")


RULES = (
    missing_dependency, vector_search, sign_in_provider, sign_in_way, dependency_cycle, image_architecture,
    placed_outside_cluster, own_chart_missing, zone_twice, public_restricted, same_hostname,
)  # fmt: skip
