"""Rules about the k3s cluster: its servers, its version, which machines can be part of it, what it brings along.

Belongs here: hosts as cluster members and the `cluster:` section. Workloads in it are in workloads.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from homelab_platform.errors import Problem
from homelab_platform.lab import interfaces
from homelab_platform.lab.boards import BOARDS
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.k3s_versions import complaint
from homelab_platform.lab.rules.facts import POOL, facts, listed

BUNDLED = {
    "traefik": "traefik", "metallb": "servicelb", "metrics-server": "metrics-server", "coredns": "coredns",
    "local-path": "local-storage",
}  # fmt: skip
_BUILTIN_MEANS_BUNDLED = {"metrics-server", "coredns", "local-path", "servicelb"}


def etcd_quorum(ctx: RuleContext) -> Iterable[Problem]:
    """etcd needs more than half of its servers: two are weaker than one, four no stronger than three."""
    servers, cluster = facts(ctx).servers, ctx.lab.cluster
    datastore = cluster.datastore if cluster else None
    if datastore == "external" or not servers:
        return
    count = len(servers)
    if datastore == "sqlite" and count > 1:
        what = f"SQLite serves one server; the lab has {count} ({listed(servers)})"
        remedy = "Use datastore: etcd with 3 servers, or make the others agents."
        yield ctx.problem(("cluster", "datastore"), what, remedy, "etcd-quorum")
    elif count % 2 == 0:
        path = ("hosts", servers[-1], "k3s")
        survives = "cannot lose any" if count == 2 else f"survives the loss of {(count - 1) // 2}, as {count - 1} do"
        what = f"{count} servers ({listed(servers)}): etcd with {count} {survives}"
        remedy = f"Make {servers[-1]} an agent, or add a server to have {count + 1}."
        yield ctx.problem(path, what, remedy, "etcd-quorum")


def external_datastore(ctx: RuleContext) -> Iterable[Problem]:
    """k3s keeps its state in a database outside only when it is told where that is."""
    cluster = ctx.lab.cluster
    if cluster and cluster.datastore == "external" and cluster.endpoint is None:
        what = "the datastore is external, but endpoint is missing"
        remedy = "Add endpoint: sops:secrets/k3s.yaml#datastore."
        yield ctx.problem(("cluster", "datastore"), what, remedy, "external-datastore")


def agent_without_server(ctx: RuleContext) -> Iterable[Problem]:
    """An agent joins a server; on its own it waits for ever."""
    known = facts(ctx)
    if known.nodes and not known.servers:
        name = next(iter(known.nodes))
        what = f"{name} is a k3s agent, but no host is a k3s server"
        yield ctx.problem(("hosts", name, "k3s"), what, "Write k3s: server on one host.", "agent-without-server")


def k3s_version(ctx: RuleContext) -> Iterable[Problem]:
    """A version that was never released is found out only when every node fails to download it."""
    cluster = ctx.lab.cluster
    if cluster is None or not ctx.positions.written("cluster"):
        return
    path = ("cluster", "k3s") if ctx.positions.written("cluster", "k3s") else ("cluster",)
    if found := complaint(cluster.k3s):
        yield ctx.problem(path, found[0], found[1], "k3s-version")


def board_cannot_run_k3s(ctx: RuleContext) -> Iterable[Problem]:
    """k3s and almost all images need a 64-bit system: a Pi 1, 2 or 3 with a 32-bit one serves better as a support
    host (DNS, exporters, backups)."""
    for name, host in facts(ctx).nodes.items():
        path, board = ("hosts", name, "k3s"), BOARDS[host.board]
        if board.arch not in ("amd64", "arm64"):
            what = (
                f"{name} cannot be a k3s {host.k3s}: {host.board} is {board.arch}, k3s images are for amd64 and arm64"
            )
            other = " (a Pi 3 with a 64-bit system is board: pi3-64)" if host.board == "pi3" else ""
            remedy = f"Leave k3s: out and use it as a support host: role: support, services: [pihole]{other}."
            yield ctx.problem(path, what, remedy, "board-cannot-run-k3s")
        elif host.os == "external":
            what = f"{name} is a k3s {host.k3s}, but its system is external: nothing is installed on it"
            yield ctx.problem(path, what, "Write its os: nixos, raspios or debian.", "board-cannot-run-k3s")
        elif board.memory is not None and (host.memory or board.memory) < _LEAST[host.k3s or "agent"]:
            need = _LEAST[host.k3s or "agent"] // 1024**2
            what = f"{name} has {(host.memory or board.memory) // 1024**2} MiB; a k3s {host.k3s} needs {need} MiB"
            yield ctx.problem(path, what, "Use it as a support host: leave k3s: out.", "board-cannot-run-k3s")


_LEAST = {"server": 1600 * 1024**2, "agent": 480 * 1024**2}  # k3s's own minimum (2 GB, 512 MB) less the firmware's part


def bundled_twice(ctx: RuleContext) -> Iterable[Problem]:
    """k3s brings parts along; with a second one of the kind both fight over ports 80 and 443 or over addresses."""
    cluster, known = ctx.lab.cluster, facts(ctx)
    if cluster is None or cluster.disable is None:
        return  # what a workload replaces is then left out by itself
    for workload, part in BUNDLED.items():
        name = known.by_entry.get(workload)
        if name is None or part in cluster.disable or workload in _BUILTIN_MEANS_BUNDLED:
            continue
        what = f"{name} runs beside the {part} that k3s brings along"
        remedy = f"Add {part} to disable, or leave disable out: the right parts are then left out by themselves."
        yield ctx.problem(("cluster", "disable"), what, remedy, "bundled-twice")


def disabled_but_used(ctx: RuleContext) -> Iterable[Problem]:
    """A part that k3s is told to leave out cannot be what the lab relies on."""
    cluster, known = ctx.lab.cluster, facts(ctx)
    if cluster is None or not cluster.disable:
        return
    used = {
        "local-path": "local-storage",
        "coredns": "coredns",
        "metrics-server": "metrics-server",
        "servicelb": "servicelb",
    }
    for workload, part in used.items():
        name = known.by_entry.get(workload)
        if name is not None and part in cluster.disable:
            what = f"{name} is the {part} of k3s, which cluster.disable leaves out"
            remedy = f"Take {part} out of disable, or the workload out of the lab."
            yield ctx.problem(("workloads", name), what, remedy, "disabled-but-used", key=True)
    if "local-storage" in cluster.disable and ctx.lab.storage.default == "local-path":
        what = "storage.default is local-path, which cluster.disable leaves out (local-storage)"
        yield ctx.problem(("storage", "default"), what, "Take local-storage out of disable.", "disabled-but-used")


def no_ingress(ctx: RuleContext) -> Iterable[Problem]:
    """A name that leads into the cluster needs something that answers on ports 80 and 443."""
    known = facts(ctx)
    if known.bundled_traefik or interfaces.INGRESS in known.providers or not known.nodes:
        return
    for name, workload in ctx.lab.workloads.items():
        if known.way(name, workload) == "ingress" and workload.expose != type(workload.expose)():
            what = f"{name} is exposed by name, but Traefik is disabled and nothing replaces it"
            remedy = "Add traefik: to workloads, take traefik out of cluster.disable, or write expose: lan."
            yield ctx.problem(("workloads", name, "expose"), what, remedy, "no-ingress")


def metallb_pool(ctx: RuleContext) -> Iterable[Problem]:
    """MetalLB without addresses gives none out: every service stays pending."""
    known, network = facts(ctx), ctx.lab.network
    name = known.providers.get(interfaces.ADDRESS_POOL)
    if name is not None and not network.load_balancers:
        what = f"{name} has no addresses to give out: network.load_balancers is missing"
        yield ctx.problem(("workloads", name), what, "Add load_balancers: 192.168.0.200-250.", "metallb-pool", key=True)
    if network.load_balancers and name is None and known.nodes:
        path = ("network", "load_balancers")
        what = "load_balancers names addresses, but nothing gives them out: metallb is not among the workloads"
        yield ctx.problem(path, what, "Add metallb: to workloads, or leave load_balancers out.", "metallb-pool")


def metallb_pool_full(ctx: RuleContext) -> Iterable[Problem]:
    """Each service with an address of its own takes one of the pool."""
    known = facts(ctx)
    if known.load_balancer != POOL or not ctx.lab.network.load_balancers:
        return
    wanting = [n for n, w in ctx.lab.workloads.items() if known.way(n, w) == "lan" and _is_pod(ctx, n)]
    shared = {ctx.lab.workloads[n].expose.share for n in wanting} - {None}
    need = sum(ctx.lab.workloads[n].expose.share is None for n in wanting) + len(shared)
    room = sum(len(pool) for pool in ctx.lab.network.load_balancers)
    if need > room:
        what = f"load_balancers has {room} address{'es' * (room > 1)} for {need} services ({listed(wanting)})"
        remedy = f"Give it at least {need}, or let services share one (expose: {{share: web}})."
        yield ctx.problem(("network", "load_balancers"), what, remedy, "metallb-pool-full")


def _is_pod(ctx: RuleContext, name: str) -> bool:
    entry = facts(ctx).entries[name]
    return entry is None or entry.kind in ("helm", "kustomize")


def workload_without_cluster(ctx: RuleContext) -> Iterable[Problem]:
    """A workload that runs as pods needs a cluster; a lab without one can still have host services."""
    known = facts(ctx)
    if known.nodes:
        return
    for name, _, entry in known.pods():
        if entry is None and not _is_own(ctx, name):
            continue
        what = f"{name} runs in a cluster, but no host of the lab is part of one"
        option = getattr(entry, "nixos", None)
        host = f", or run it as a host service (services: [{name}])" if option else ""
        yield ctx.problem(
            ("workloads", name), what, f"Write k3s: server on one host{host}.", "workload-without-cluster", key=True
        )
        return  # one is enough: the others have the same cause


def _is_own(ctx: RuleContext, name: str) -> bool:
    workload = ctx.lab.workloads[name]
    return bool(workload.chart or workload.kustomize or workload.image)


RULES = (
    etcd_quorum, external_datastore, agent_without_server, k3s_version, board_cannot_run_k3s, bundled_twice,
    disabled_but_used, no_ingress, metallb_pool, metallb_pool_full, workload_without_cluster,
)  # fmt: skip
