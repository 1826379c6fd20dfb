"""Building NixOS systems and bringing them to hosts, by the `nix` command.

Belongs here: which builder there is, building a host's system or image, copying a closure, its difference. Not here:
what a system consists of (nix/) or switching to it under guard (layers/hosts/nixos.py).

The flake in nix/ reads `lab.json` beside it. It is built from a copy, so that no lab's file gets into the checkout; the
copy's flake.lock stays with the site and pins the inputs from the first build on.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.names import Say
from homelab_platform.tools.ssh.client import Ssh

FEATURES = ("--extra-experimental-features", "nix-command flakes", "--accept-flake-config")
KEPT = ("flake.lock", "lab.json")
"""What a flake's folder has of its lab, not of the checkout."""
INPUTS_MARK = "    # nix.inputs of the lab:"
"""Where flake.nix takes in what a lab adds: the inputs of a flake can be written, but not computed."""
OWN_INPUTS = ("nixpkgs", "nixos-raspberrypi")
OLDEST = (2, 18)
"""The oldest nix that nixpkgs takes (lib/minfeatures.nix)."""
PLATFORMS = {"amd64": "x86_64-linux", "arm64": "aarch64-linux"}
LONGEST_BUILD = 4 * 3600.0


def find_nix() -> str:
    """The nix command. Raises HomelabError with the ways to get one."""
    found = shutil.which("nix")
    if found is None:
        raise HomelabError.of(
            "nix",
            "is not installed here, and NixOS systems are built by it",
            "Install it (the package nix-bin, or the installer of nixos.org), or build images by Docker: "
            "scripts/build-image.sh.",
        )
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    version = re.search(r"(\d+)\.(\d+)", said)
    if version and (int(version[1]), int(version[2])) < OLDEST:
        raise HomelabError.of(
            "nix",
            f"{said} is too old to build NixOS: nixpkgs asks for {OLDEST[0]}.{OLDEST[1]}",
            "Debian 12 and Raspberry Pi OS 12 have 2.8. Use the installer of nixos.org, or build images by Docker: "
            "scripts/build-image.sh HOST --builder docker.",
        )
    return found


def lab_builders(lab: ResolvedLab) -> list[str]:
    """The hosts that build for others (nix.builders), each as a line of nix' own `builders` setting."""
    lines = []
    for name in (lab.settings.get("nix") or {}).get("builders") or ():
        host = lab.hosts.get(name)
        if host is None:
            continue
        told = host.services.get("remote-builder") or {}
        systems = ",".join(told.get("systems") or [PLATFORMS[host.arch]])
        address = host.address or host.vpn_address or name
        lines.append(f"ssh-ng://{told.get('user', 'build')}@{address} {systems} - {told.get('jobs', 2)}")
    return lines


def builds_for(platform: str, builders: Sequence[str]) -> bool:
    """Whether this machine builds for a platform (aarch64-linux): itself, by its own builders or by `builders`."""
    shown = subprocess.run(
        [find_nix(), *FEATURES, "show-config"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    settings = dict(line.split(" = ", 1) for line in shown if " = " in line)
    own = {settings.get("system", ""), *settings.get("extra-platforms", "").split()}
    named = [settings.get("builders", ""), *builders]
    files = [Path(word[1:]) for text in named for word in text.split() if word.startswith("@")]
    named += [file.read_text() for file in files if file.is_file()]
    return platform in own or any(platform in text for text in named)


def flake_files(folder: Path) -> list[Path]:
    """The files below `folder` that belong to the flake itself, sorted."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in KEPT)


def flake_of(lab: ResolvedLab, state: Path) -> Path:
    """A copy of nix/ with the lab's lab.json beside flake.nix, in `state`; its flake.lock stays from build to build."""
    folder = state / "nix"
    write_flake(lab, folder)
    return folder


def write_flake(lab: ResolvedLab, folder: Path) -> None:
    """Lay down nix/ with what is the lab's: lab.json, its own modules in own/, its inputs in flake.nix.

    A flake.lock that lies in `folder` stays.
    """
    source = paths.project_path("nix")
    folder.mkdir(parents=True, exist_ok=True)
    for old in flake_files(folder):
        old.unlink()
    for file in flake_files(source):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for name, text in own_modules(lab).items():
        target = folder / "own" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    flake = folder / "flake.nix"
    flake.write_text(flake.read_text().replace(INPUTS_MARK, "\n".join([INPUTS_MARK, *input_lines(lab)])))
    (folder / "lab.json").write_bytes(lab.to_json())


def own_modules(lab: ResolvedLab) -> dict[str, str]:
    """The Nix modules that lie beside the lab file, by their paths there."""
    settings = [host.settings.get("nix") or {} for host in lab.hosts.values()]
    return {name: text for own in settings for name, text in sorted((own.get("modules") or {}).items())}


def input_lines(lab: ResolvedLab) -> list[str]:
    """The inputs of nix.inputs as lines of flake.nix; an input that is there already is named by another address."""
    lines = []
    for name, said in sorted(((lab.settings.get("nix") or {}).get("inputs") or {}).items()):
        if name not in OWN_INPUTS:
            lines.append(f"    {_text(name)}.url = {_text(said['url'])};")
        for inner, ours in sorted((said.get("follows") or {}).items()):
            lines.append(f"    {_text(name)}.inputs.{_text(inner)}.follows = {_text(ours)};")
    return lines


def overridden_inputs(lab: ResolvedLab) -> list[str]:
    """Arguments of nix that take an input of ours from where the lab says."""
    inputs = (lab.settings.get("nix") or {}).get("inputs") or {}
    pairs = [(name, inputs[name]["url"]) for name in OWN_INPUTS if name in inputs]
    return [word for name, url in pairs for word in ("--override-input", name, url)]


def _text(value: str) -> str:
    """A string of the Nix language."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def build_system(lab: ResolvedLab, host: str, state: Path, say: Say) -> str:
    """Build the whole system of a host and return its store path. Raises HomelabError with the builder's last words."""
    flake = flake_of(lab, state)
    attribute = f'path:{flake}#nixosConfigurations."{host}".config.system.build.toplevel'
    helpers = lab_builders(lab)
    hands = (
        ["--builders", " ; ".join(["@/etc/nix/machines", *helpers]), "--builders-use-substitutes"] if helpers else []
    )
    words = [
        "build",
        "--no-link",
        "--print-out-paths",
        "--print-build-logs",
        *hands,
        *overridden_inputs(lab),
        attribute,
    ]
    done = _nix(words, f"host/{host}", say)
    return done.splitlines()[-1].strip()


class SecretFile(BaseModel):
    """A file with a secret as homelab.secrets has it: where it lies and how, references by name, what it says."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    path: str
    owner: str
    group: str
    mode: str
    units: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    template: str = "{value}"


def secret_files(lab: ResolvedLab, host: str, state: Path, say: Say) -> dict[str, SecretFile]:
    """The files with secrets that a host's system reads, by name, as its modules say."""
    attribute = f'path:{flake_of(lab, state)}#secrets."{host}"'
    text = _nix(["eval", "--json", *overridden_inputs(lab), attribute], f"host/{host}", say)
    return {name: SecretFile.model_validate(file) for name, file in json.loads(text).items()}


def build_at_host(lab: ResolvedLab, host: str, state: Path, ssh: Ssh, say: Say) -> str:
    """Evaluate a host's system here and have the host itself build it; its store path.

    Raises HomelabError with the last words of either.
    """
    attribute = f'path:{flake_of(lab, state)}#nixosConfigurations."{host}".config.system.build.toplevel.drvPath'
    recipe = _nix(["eval", "--raw", *overridden_inputs(lab), attribute], f"host/{host}", say).strip()
    _copy([recipe, "--derivation"], ssh, say)
    say(f"building {recipe} at the host")
    done = ssh.run(f"nix-store --realise {shlex.quote(recipe)}", timeout=LONGEST_BUILD, doing="building its system")
    return done.text.splitlines()[-1].strip()


def copy_closure(system: str, ssh: Ssh, say: Say) -> None:
    """Copy a system with all that it needs to the host of `ssh`; nothing if the host built it itself."""
    if Path(system).exists():
        _copy(["--substitute-on-destination", system], ssh, say)


def _copy(words: Sequence[str], ssh: Ssh, say: Say) -> None:
    target = ssh.target
    options = shlex.join([*ssh.options(), "-p", str(target.port)])
    store = f"ssh-ng://{target.user}@{target.address}"
    _nix(["copy", "--to", store, *words], target.where, say, {"NIX_SSHOPTS": options})


def closure_difference(before: str, after: str) -> list[str]:
    """What changes from one system to the other, package by package; empty if `before` is not in our store."""
    if not Path(before).exists():
        return []
    done = subprocess.run(
        [find_nix(), *FEATURES, "store", "diff-closures", before, after], capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _nix(words: Sequence[str], where: str, say: Say, further: dict[str, str] | None = None) -> str:
    """Run nix, show what it builds, return its standard output."""
    command = [find_nix(), *FEATURES, *words]
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(further or {})},
    ) as process:
        for line in process.stderr or ():
            last = [*last[-19:], line.rstrip()]
            if line.startswith(("building", "copying", "these ")):
                say(line.strip())
        output = process.stdout.read() if process.stdout else ""
    if process.returncode != 0:
        wrong = next((text for text in last if text.startswith("error:")), last[-1] if last else "no error message")
        raise HomelabError.of(where, f"nix {words[0]} failed: {wrong}", "\n    ".join(last[-8:]))
    return output
