"""nix/ for every host of the examples that it is meant for: it parses, it evaluates, and every option exists.

The module system that evaluates it here is a small stand-in (stub.nix), so what is checked beyond it is compared with
NixOS' own list of options where that lies beside the checkout, and with the real one where HOMELAB_NIXPKGS says so.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from homelab_platform import paths
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab

NIX = paths.project_path("nix")
OPTIONS = paths.PROJECT.parent / "shared" / "facts" / "nixos-options.json.gz"
STUB = Path(__file__).with_name("stub.nix")
FOREIGN = ("boot.loader.raspberry-pi",)
"""Options of nixos-raspberrypi, which the list of NixOS' own does not have."""
EXAMPLES = ("single-pi",)
FREE = re.compile(r"attribute set of (\(systemd option\)|.*INI|anything|raw)|open submodule of|JSON value")


def nix_instantiate(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("nix-instantiate")
    if program is None:
        pytest.fail("nix-instantiate is missing: install the package nix-bin (apt-get install nix-bin)", pytrace=False)
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=120)


@cache
def resolved(example: str) -> ResolvedLab:
    return load_resolved(paths.project_path("examples", example, "lab.yaml"), load_catalogue())


def evaluated(lab: ResolvedLab, host: str, folder: Path) -> dict[str, Any]:
    file = folder / f"{lab.name}.json"
    file.write_bytes(lab.to_json())
    words = ("--eval", "--strict", "--json", "--readonly-mode", str(STUB))
    done = nix_instantiate(*words, "--argstr", "root", str(NIX), "--argstr", "lab", str(file), "--argstr", "host", host)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def hosts() -> list[tuple[str, str]]:
    return [(e, name) for e in EXAMPLES for name, host in resolved(e).hosts.items() if host.os == "nixos"]


@pytest.mark.parametrize("file", sorted(NIX.rglob("*.nix")), ids=lambda f: str(f.relative_to(NIX)))
def test_every_file_is_nix(file: Path) -> None:
    done = nix_instantiate("--parse", str(file))
    assert done.returncode == 0, done.stderr


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, value


@cache
def options() -> dict[str, str]:
    if not OPTIONS.exists():
        pytest.skip(f"NOT CHECKED: the options that nix/ sets, because {OPTIONS} is not here")
    with gzip.open(OPTIONS, "rt") as file:
        return {row["name"]: row["type"] for row in json.load(file)}


def type_of(path: tuple[str, ...]) -> str | None:
    """The type of the option at `path`, or of the freeform set that it lies in; None if NixOS has neither."""
    known = options()
    for end in range(len(path), 0, -1):
        found = next((known[name] for name in _spellings(path[:end]) if name in known), None)
        if found is not None:
            return found if end == len(path) else ("free" if FREE.search(found) else None)
    return None


def _spellings(path: tuple[str, ...]) -> Iterator[str]:
    for mask in range(2 ** min(len(path), 8)):
        yield ".".join("<name>" if mask >> place & 1 else part for place, part in enumerate(path))


def fits(kind: str, value: Any) -> bool:
    """Whether a value may have a simple type; other types are taken as they are."""
    plain = kind.removeprefix("null or ")
    if value is None:
        return kind.startswith("null or ") or kind == "free"
    if plain == "boolean":
        return isinstance(value, bool)
    if re.match(r"(signed|positive|unsigned|16 bit unsigned) integer", plain):
        return isinstance(value, int) and not isinstance(value, bool)
    if plain.startswith("one of "):
        return json.dumps(value) in plain.removeprefix("one of ").split(", ")
    if plain.startswith(("list of", "(list of")):
        return isinstance(value, list)
    if plain in ("string", 'strings concatenated with "\\n"', "absolute path"):
        return isinstance(value, str) and (plain != "absolute path" or value.startswith("/"))
    return True


@pytest.mark.parametrize(("example", "host"), hosts())
def test_every_option_that_is_set_exists_and_takes_such_a_value(
    example: str, host: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = evaluated(resolved(example), host, tmp_path_factory.getbasetemp())
    wrong = []
    for path, value in leaves(config):
        if ".".join(path).startswith(FOREIGN):
            continue
        kind = type_of(path)
        if kind is None:
            wrong.append(f"{'.'.join(path)}: NixOS has no such option")
        elif not fits(kind, value):
            wrong.append(f"{'.'.join(path)} = {value!r}: is to be {kind}")
    assert not wrong, "\n".join(wrong)


def test_the_pi_is_what_its_lab_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    pi = evaluated(resolved("single-pi"), "pi", tmp_path_factory.getbasetemp())
    assert pi["boot"]["kernelParams"] == ["cgroup_enable=memory", "cgroup_memory=1"]
    assert pi["services"]["k3s"] | {"enable": True, "role": "server", "disable": ["traefik"]} == pi["services"]["k3s"]
    assert pi["users"]["users"]["owner"]["openssh"]["authorizedKeys"]["keys"][0].startswith("ssh-ed25519 ")
    assert pi["services"]["openssh"]["settings"]["PasswordAuthentication"] is False
    rules = pi["networking"]["firewall"]["extraInputRules"]
    assert 'ip saddr { 192.168.1.0/24 } tcp dport { 22, 53, 80, 443, 6443, 1883 } accept comment "services"' in rules
    assert "Home" in pi["networking"]["wireless"]["networks"]
    assert pi["nix"]["gc"]["options"] == "--delete-older-than 14d"
    text = json.dumps(pi)
    assert "sops:" not in text, "no reference and no value of a secret gets into the store"


def test_a_rule_that_denies_comes_before_those_that_allow(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    rule = {"name": "public", "deny": ["tcp/22"], "from": ["internet"], "to": ["any"]}
    pi = lab.hosts["pi"]
    sources = {**pi.sources, "internet": ("10.0.0.0/8", "fe80::/10")}
    changed = pi.model_copy(update={"firewall": (*pi.firewall, rule), "sources": sources})
    found = evaluated(lab.model_copy(update={"name": "denies", "hosts": {"pi": changed}}), "pi", tmp_path)
    lines = found["networking"]["firewall"]["extraInputRules"].splitlines()
    assert lines[:2] == [
        'ip saddr != { 10.0.0.0/8 } tcp dport { 22 } drop comment "public"',
        'ip6 saddr != { fe80::/10 } tcp dport { 22 } drop comment "public"',
    ]


def test_a_host_service_without_a_module_stops_the_build(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    pi = lab.hosts["pi"].model_copy(update={"services": {"samba": {}}})
    file = tmp_path / "lab.json"
    file.write_bytes(lab.model_copy(update={"hosts": {"pi": pi}}).to_json())
    words = ("--eval", "--strict", "--json", "--readonly-mode", str(STUB), "--argstr", "root", str(NIX))
    done = nix_instantiate(*words, "--argstr", "lab", str(file), "--argstr", "host", "pi")
    assert done.returncode != 0
    assert "pi: nix/ has no module yet for samba" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif("HOMELAB_NIXPKGS" not in os.environ, reason="HOMELAB_NIXPKGS names no nixpkgs")
@pytest.mark.parametrize(("example", "host"), hosts())
def test_the_real_module_system_takes_it(example: str, host: str, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_bytes(resolved(example).to_json())
    real = Path(__file__).with_name("real.nix")
    words = ("--eval", "--strict", "--json", "--readonly-mode", str(real), "--argstr", "root", str(NIX))
    nixpkgs = ("--argstr", "nixpkgs", os.environ["HOMELAB_NIXPKGS"])
    done = nix_instantiate(*words, *nixpkgs, "--argstr", "lab", str(tmp_path / "lab.json"), "--argstr", "host", host)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["failed"] == []
    assert found["warnings"] == []
    assert found["hostName"] == host
