"""Every example lab is right; corrupted in any of the usual ways it is refused, at the line that was corrupted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homelab_platform.errors import Position
from homelab_platform.paths import project_path
from homelab_platform_tests.lab.rules.fixtures import problems

EXAMPLES = sorted(project_path("examples").glob("*/lab.yaml"))
Mutation = Callable[[str], str | None]  # the line after the corruption; None where it does not apply


def swap(pattern: str, by: str | Callable[[re.Match[str]], str]) -> Mutation:
    """Replaces the first match in a line."""
    compiled = re.compile(pattern)
    return lambda line: compiled.sub(by, line, count=1) if compiled.search(line) else None


MUTATIONS: dict[str, Mutation] = {
    # letters
    "key-typo-hosts": swap(r"^hosts:", "hots:"),
    "key-typo-network": swap(r"^network:", "netwrok:"),
    "key-typo-workloads": swap(r"^workloads:", "worklods:"),
    "key-typo-board": swap(r"\bboard:", "bord:"),
    "key-typo-address": swap(r"\baddress:", "adress:"),
    "key-typo-gateway": swap(r"\bgateway:", "gatway:"),
    "board-unknown": swap(r"\bboard: [a-z0-9-]+", "board: pi6-8gb"),
    "os-unknown": swap(r"\bos: [a-z]+", "os: windows"),
    "role-unknown": swap(r"\brole: admin", "role: amin"),
    "zone-unknown": swap(r"^timezone: \S+", "timezone: Europe/Atlantis"),
    "tab": swap(r"^  (?=\w)", "\t"),
    "duplicate-colon": swap(r"^(\w+): *$", r"\1: : x"),
    # addresses
    "lan-host-bits": swap(r"\blan: (\d+\.\d+\.\d+)\.0/", r"lan: \1.7/"),
    "lan-no-prefix": swap(r"\blan: (\d+\.\d+\.\d+\.\d+)/\d+", r"lan: \1"),
    "lan-nonsense": swap(r"\blan: \S+?(?=[,}\s]|$)", "lan: home"),
    "gateway-elsewhere": swap(r"\bgateway: \d+\.\d+\.\d+\.\d+", "gateway: 203.0.113.1"),
    "gateway-broadcast": swap(r"\bgateway: (\d+\.\d+\.\d+)\.\d+", r"gateway: \1.255"),
    "address-elsewhere": swap(r"^(  [\w-]+: .*|    )address: \d+\.\d+\.\d+\.\d+", r"\1address: 203.0.113.9"),
    "address-broadcast": swap(r"^(  [\w-]+: .*|    )address: (\d+\.\d+\.\d+)\.\d+", r"\1address: \2.255"),
    "address-too-large": swap(r"\baddress: (\d+\.\d+\.\d+)\.\d+", r"address: \1.300"),
    "address-prefix": swap(r"\baddress: (\d+\.\d+\.\d+\.\d+)", r"address: \1/24"),
    "mac-short": swap(r"\bmac: \S+:\w\w", "mac: d8:3a:dd"),
    "dhcp-reversed": swap(r"\bdhcp: (\d+\.\d+\.\d+)\.(\d+)-(\d+)", r"dhcp: \1.\3-\2"),
    "dhcp-over-pool": swap(r"\bdhcp: (\d+\.\d+\.\d+)\.(\d+)-(\d+)", r"dhcp: \1.\2-254"),
    "pool-reversed": swap(r"\bload_balancers: (\d+\.\d+\.\d+)\.(\d+)-(\d+)", r"load_balancers: \1.\3-\2"),
    "pool-elsewhere": swap(r"\bload_balancers: \d+\.\d+\.\d+\.", "load_balancers: 203.0.113."),
    "hub-unknown": swap(r"\bhub: [\w-]+", "hub: nobody-home"),
    # cluster
    "version-unknown": swap(r"v1\.\d+\.\d+\+k3s\d", "v1.99.9+k3s1"),
    "version-number": swap(r"v1\.(\d+)\.\d+\+k3s\d", r"1.\1"),
    "k3s-word": swap(r"\bk3s: (agent|server)", "k3s: worker"),
    # workloads and storage
    "on-unknown": swap(r"\bon: [\w-]+", "on: nobody-home"),
    "size-unit": swap(r"\bsize: (\d+)[GT]i", r"size: \1GB"),
    "memory-unit": swap(r"\bmemory: (\d+)Gi", r"memory: \1 gb"),
    "memory-huge": swap(r"^(  [\w-]+: .*on: .*)memory: \S+?Gi", r"\1memory: 900Gi"),
    "storage-word": swap(r"\bdefault: (local-path|nfs|longhorn)", "default: floppy"),
    "workload-typo": swap(r"^  (traefik|postgresql|monitoring|pihole|jellyfin|longhorn)(:.*)$", r"  \1x\2"),
    # secrets and keys
    "secret-plain": swap(r"sops:[\w./-]+#[\w-]+", "hunter2hunter2"),
    "sops-without-key": swap(r"(sops:[\w./-]+)#[\w-]+", r"\1"),
    "key-missing": swap(r"keys/(\w+)\.pub", r"keys/\1-new.pub"),
    "recipient-typo": swap(r"\bage1(\w)", lambda m: f"age1{'q' if m[1] != 'q' else 'p'}"),
    "recipient-private": swap(r"\bage1\w+", "AGE-SECRET-KEY-1XYZ"),
    # operations and streams
    "time-nonsense": swap(r"\bat: '?\d\d:\d\d'?", "at: '25:61'"),
    "keep-unit": swap(r"\bkeep: (\d+)d", r"keep: \1 days"),
    "keep-zero": swap(r"\bkeep: \d+d", "keep: 0d"),
    "drill-word": swap(r"\bdrill: \w+", "drill: sometimes"),
    "window-nonsense": swap(r"\bwindow: [^,}]+", "window: full moon"),
    "window-short": swap(r"\bwindow: (\w+ \w+) (\d\d):\d\d-\d\d:\d\d", r"window: \1 \2:00-\2:01"),
    "canary-unknown": swap(r"\bcanary: [\w-]+", "canary: nobody-home"),
    "range-reversed": swap(r"\brange: \[(-?[\d.]+), (-?[\d.]+)\]", r"range: [\2, \1]"),
    "every-zero": swap(r"\bevery: \d+s", "every: 0s"),
    "target-nonsense": swap(r"\bssh://", "gopher://"),
    "target-inside": swap(r"s3://([\w-]+)@[\w-]+", r"s3://\1@minio.data-platform.svc"),
}

ONLY_IF = {"dhcp-over-pool": "load_balancers:", "target-inside": "k3s: server"}  # else the corruption is none


def mutated(text: str) -> Iterator[tuple[str, int, str]]:
    """(name, line, text) of each corruption that applies, at the first line where it changes something."""
    lines = text.splitlines()
    for name, mutation in MUTATIONS.items():
        if ONLY_IF.get(name, "") not in text:
            continue
        for index, line in enumerate(lines):
            if line.lstrip().startswith("#"):
                continue
            found = mutation(line)
            if found is not None and found != line:
                yield name, index + 1, "\n".join([*lines[:index], found, *lines[index + 1 :]]) + "\n"
                break


def duplicates(text: str) -> Iterator[tuple[str, int, str]]:
    """Gives a second host the address and the MAC of the first."""
    lines = text.splitlines()
    for word in ("address", "mac"):
        pattern = re.compile(rf"\b{word}: ([0-9a-f.:-]+)")
        rows = [(i, m) for i, line in enumerate(lines) if line.startswith((" ", "\t")) and (m := pattern.search(line))]
        hosts = [row for row in rows if row[0] > next((i for i, line in enumerate(lines) if line == "hosts:"), 0)]
        if len(hosts) > 1:
            (_, first), (index, second) = hosts[0], hosts[1]
            line = f"{lines[index][: second.start(1)]}{first[1]}{lines[index][second.end(1) :]}"
            yield f"duplicate-{word}", index + 1, "\n".join([*lines[:index], line, *lines[index + 1 :]]) + "\n"


def cases() -> list[tuple[Path, str, int, str]]:
    found = []
    for example in EXAMPLES:
        text = example.read_text(encoding="utf-8")
        found += [(example, *row) for row in (*mutated(text), *duplicates(text))]
    return found


CASES = cases()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_example_itself_is_right(example: Path) -> None:
    assert [str(problem) for problem in problems(example)] == []


@pytest.mark.parametrize("case", CASES, ids=[f"{path.parent.name}-{name}" for path, name, _, _ in CASES])
def test_a_corrupted_line_is_refused_at_that_line(case: tuple[Path, str, int, str], tmp_path: Path) -> None:
    example, _, line, text = case
    folder = tmp_path / example.parent.name
    shutil.copytree(example.parent, folder)
    path = folder / "lab.yaml"
    path.write_text(text, encoding="utf-8")
    found = problems(path)
    lines = {problem.where.line for problem in found if isinstance(problem.where, Position)}
    assert line in lines, f"line {line}: {text.splitlines()[line - 1]}\n" + "\n".join(map(str, found))
    assert all(problem.remedy for problem in found)


def test_there_are_enough_corruptions() -> None:
    counts = {example.parent.name: sum(case[0] == example for case in CASES) for example in EXAMPLES}
    assert len(MUTATIONS) >= 40
    assert sum(counts.values()) >= 120, counts
