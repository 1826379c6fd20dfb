"""Random labs as YAML text: plausible ones, and ones that somebody's cat walked over.

`HYPOTHESIS_PROFILE=thorough` makes 10,000 labs, 2,500 for each of the four tests, instead of 300; `fast` makes 80.
"""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.lab.boards import BOARDS
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.yaml_reader import read_yaml
from homelab_platform.paths import project_path

EXAMPLES = {"thorough": 2_500, "fast": 20}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 75)
LAB_SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
WORDS = ("a", "pi-1", "pi-2", "nas", "x", "web", "main", "kitchen", "lab", "trino", "pihole", "postgresql")
CRUMBS = (
    b"\t", b"- ", b": ", b"{", b"]", b"&a ", b"*a", b"\r\n", b"!!python/none ", b"\xff", b"\x00", b"---\n", b"|\n",
    b"'", b"#", b"<<: ", b"%YAML 1.1\n", b"\xef\xbb\xbf", b"? ", b"\xe2\x80\xa8", b"0o9", b"\n",
)  # fmt: skip
STARS = ("10.9.0.0/24", "10.9.0.0/30", "fd09::/64", "10.9.0.0/32")
POOLS = ("192.168.0.200-250", ["192.168.0.9", "fd00::10-fd00::20"], "10.0.0.7")
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.30, 2**70, 1e300, float("nan"), float("inf"), "", " ", "no", "on", "08",
    "1Gb", "500 mb",
    "-1", "1.30", "Pi_1", "ÜBER", "a" * 70, "\u0000", "\x1b[31m", "${x}", "../../etc/passwd", "file:/etc/shadow", "::1",
    "999.1.1.1", "10.0.0.1/24", "10.0.0.0/33", "192.168.0.250-200", "0.0.0.0/0", "sops:x", "hunter2", "dhcp", "none",
    "every Blursday 25:00-26:00", "31 31 31 2 *", "30 2 31 2 *", "2026-13-01", [], {}, [None], {"": None}, [[[]]],
    {"a": {"b": {"c": [1, {"d": None}]}}}, ["x"] * 50, "C:\\Users\\ada", "name: value", "&a", "*a", "ssh://u:p@h/x",
)  # fmt: skip


@cache
def catalogue() -> Catalogue:
    """The project's catalogue, read once."""
    return load_catalogue()


@cache
def example_documents() -> dict[str, Any]:
    """The example labs as plain data."""
    found = {}
    for path in sorted(project_path("examples").glob("*/lab.yaml")):
        found[path.parent.name] = read_yaml(path.read_bytes(), path.name).data
    return found


def example_paths() -> list[Path]:
    """The example labs' files."""
    return sorted(project_path("examples").glob("*/lab.yaml"))


names = st.sampled_from(WORDS)
sizes = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 999), st.sampled_from(["Mi", "Gi", "Ti"]))
durations = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 99), st.sampled_from("smhdwy"))
addresses = st.builds(lambda n: f"192.168.0.{n}", st.integers(0, 255))
times = st.builds(lambda h, m: f"{h:02d}:{m:02d}", st.integers(0, 23), st.integers(0, 59))


@st.composite
def hosts(draw: st.DrawFn) -> dict[str, Any]:
    """A host that the model accepts."""
    host: dict[str, Any] = {
        "board": draw(st.sampled_from(sorted(BOARDS))),
        "os": draw(st.sampled_from(["nixos", "raspios", "debian", "external"])),
        "cpu": draw(st.integers(1, 64)),
        "memory": draw(sizes),
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "address": st.one_of(addresses, st.just("dhcp")),
        "address6": st.just("fd00::5"),
        "k3s": st.sampled_from(["server", "agent"]),
        "role": st.sampled_from(["node", "support", "terminal", "display"]),
        "disks": st.dictionaries(st.sampled_from(["sd", "ssd", "nvme0", "hdd-a", "blob"]), sizes, max_size=3),
        "services": st.one_of(
            st.lists(st.sampled_from(sorted(HOST_SERVICES)), max_size=4, unique=True),
            st.dictionaries(st.sampled_from(sorted(HOST_SERVICES)), st.none(), max_size=4),
        ),
        "vpn": st.one_of(st.integers(1, 254), st.just("none")),
        "taints": st.just("dedicated=db:NoSchedule"),
        "users": st.lists(names, max_size=2),
        "needs": names,
        "runs_on": names,
        "site": names,
    }
    for key, strategy in optional.items():
        if draw(st.booleans()):
            host[key] = draw(strategy)
    return host


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any] | None:
    """What somebody says about a workload."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "on": names,
        "memory": sizes,
        "size": sizes,
        "replicas": st.integers(0, 5),
        "needs": st.lists(names, max_size=3),
        "expose": st.one_of(st.sampled_from(["none", "cluster", "lan", "ingress", "vpn", "blog"]), addresses),
        "for": st.sampled_from(["dev", "guest"]),
        "sso": st.sampled_from(["none", "oidc", "ldap", "forward-auth"]),
        "storage": st.sampled_from(["local-path", "nfs", "longhorn"]),
        "backup": st.sampled_from(["none", "nightly"]),
        "zone": st.sampled_from(["dmz", "restricted"]),
        "image": st.just("ghcr.io/a/b:1"),
        "values": st.dictionaries(
            names,
            st.one_of(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text("aZ09 :#éß-_", max_size=5)),
            max_size=2,
        ),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional)), max_size=4))
    return {key: draw(optional[key]) for key in sorted(chosen)} or None


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    """A stream of readings."""
    return {
        "from": draw(
            st.sampled_from(
                ["machine", {"mqtt": "a/+/b"}, {"files": "drop"}, {"rest": "https://x"}, {"prometheus": "up"}]
            )
        ),
        "sensors": draw(st.dictionaries(names, st.just({"unit": "C", "range": [-40, 85], "every": "10s"}), max_size=3)),
        "keep": draw(st.one_of(durations, st.fixed_dictionaries({"raw": durations, "table": durations}))),
        "devices": draw(st.lists(names, max_size=3)),
    }


def _star(hub: str, cidr: str) -> dict[str, Any]:
    return {"wireguard": {"hub": hub, "cidr": cidr, "cidr6": "fd09::/121"}}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A lab that the loader accepts; rules may still refuse it."""
    workload_names = st.sampled_from([*sorted(catalogue()), "my-app"])
    lab: dict[str, Any] = {
        "lab": draw(names),
        "network": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "lan": st.sampled_from(["192.168.0.0/24", "10.42.0.0/16", "fd00::/64"]),
                    "gateway": addresses,
                    "dhcp": st.sampled_from(["192.168.0.20-99", "192.168.0.0/28"]),
                    "load_balancers": st.sampled_from(POOLS),
                    "vpn": st.builds(_star, names, st.sampled_from(STARS)),
                    "zones": st.dictionaries(st.sampled_from(["dmz", "restricted"]), st.lists(names, max_size=2)),
                    "dns": st.builds(lambda lan: {"lan": lan}, names),
                },
            )
        ),
        "hosts": draw(st.dictionaries(names, hosts(), max_size=5)),
        "people": draw(st.dictionaries(names, st.just({"role": "admin", "ssh": "keys/a.pub"}), max_size=2)),
        "workloads": draw(st.dictionaries(workload_names, workloads(), max_size=8)),
        "streams": draw(st.dictionaries(names, streams(), max_size=3)),
        "backups": draw(st.sampled_from([None, {"to": {"nas": "ssh://b@nas/x"}, "nightly": {"keep": "7d"}}])),
        "identity": draw(st.sampled_from(["none", "authentik", "oauth2-proxy"])),
        "storage": draw(st.sampled_from([None, "local-path", "longhorn", {"nfs": {"server": "nas", "path": "/x"}}])),
    }  # fmt: skip
    if "my-app" in lab["workloads"]:
        lab["workloads"]["my-app"] = {**(lab["workloads"]["my-app"] or {}), "image": "ghcr.io/a/my-app:1"}
    return lab


def dump(document: Any) -> str:
    """Plain data as YAML text that means the same in YAML 1.2."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


valid_labs = documents().map(dump)


@st.composite
def broken_trees(draw: st.DrawFn) -> str:
    """A lab (random or an example) with junk in the place of some values, keys renamed, removed or moved."""
    examples = list(example_documents().values())
    document = draw(st.one_of(documents(), st.sampled_from(examples).map(copy.deepcopy)))
    for _ in range(draw(st.integers(1, 4))):
        _break(draw, document)
    try:
        return dump(document)
    except (yaml.YAMLError, UnicodeEncodeError):
        return "lab: \t"


def _break(draw: st.DrawFn, document: Any) -> None:
    node = document
    while isinstance(node, (dict, list)) and node:
        keys = sorted(node, key=str) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        child = node[key]
        if not isinstance(child, (dict, list)) or not child or draw(st.integers(0, 3)) == 0:
            way = draw(st.sampled_from(["junk", "junk", "junk", "rename", "remove", "add"]))
            if way == "junk":
                node[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
            elif way == "remove":
                del node[key]
            elif isinstance(node, dict):
                if way == "rename":
                    node[f"{key}x"] = node.pop(key)
                else:
                    node[draw(st.sampled_from([*WORDS, "size", "to", "é", "a.b", "x" * 80]))] = draw(
                        st.sampled_from(JUNK)
                    )
            return
        node = child


@st.composite
def broken_texts(draw: st.DrawFn) -> bytes:
    """A lab's text with characters put in, taken out or doubled at random, as bytes."""
    raw = bytearray(draw(st.one_of(valid_labs, st.sampled_from(example_paths()).map(lambda p: p.read_text()))).encode())
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 40)))
        way = draw(st.sampled_from(["cut", "put", "double", "random"]))
        if way == "cut":
            del raw[at:end]
        elif way == "double":
            raw[at:at] = raw[at:end]
        elif way == "put":
            raw[at:at] = draw(st.sampled_from(CRUMBS))
        else:
            raw[at:at] = draw(st.binary(max_size=6))
    return bytes(raw)
