"""The flake in nix/: the copy that is built, and which systems, images and checks come out of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.tools.nix import flake_of, overridden_inputs
from homelab_platform_tests.nix.evaluation import EVAL, evaluate, nix_instantiate
from homelab_platform_tests.nix.labs import changed, resolved

OUTPUTS = Path(__file__).with_name("outputs.nix")


def test_the_copy_that_is_built_is_whole_and_keeps_what_is_the_labs(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    folder = flake_of(lab, tmp_path)
    (folder / "flake.lock").write_text("{}")
    (folder / "modules" / "gone.nix").write_text("{ }")
    assert flake_of(lab, tmp_path) == folder
    assert (folder / "flake.lock").read_text() == "{}"
    assert not (folder / "modules" / "gone.nix").exists()
    collector = folder / "files" / "collector.py"
    assert collector.is_file() and not collector.is_symlink(), "a link would lead out of what nix copies"
    done = evaluate(lab, "pi", tmp_path, root=folder)
    assert done.returncode == 0, done.stderr


def made_of(lab: ResolvedLab, state: Path) -> subprocess.CompletedProcess[str]:
    return nix_instantiate(*EVAL, str(OUTPUTS), "--argstr", "root", str(flake_of(lab, state)))


def outputs(lab: ResolvedLab, state: Path) -> dict[str, Any]:
    done = made_of(lab, state)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_flake_builds_a_pi_by_nixos_raspberrypi(tmp_path: Path) -> None:
    made = outputs(resolved("single-pi"), tmp_path)
    pi = made["systems"].pop("pi")
    assert made["systems"] == {}
    assert (pi["by"], pi["platform"]) == ("nixos-raspberrypi", ["aarch64-linux"])
    assert pi["modules"] == ["raspberry-pi-5", "sd-image"], "pages of 16 KiB leave the binary cache"
    assert pi["own"] == ["modules", "pi.nix", "card.nix"]
    assert made["images"] == {"pi": "system.build.sdImage"}
    assert made["checks"] == {"x86_64-linux": {}, "aarch64-linux": {"pi": "pi"}}
    assert made["drvPaths"] == {"pi": "drv"}
    assert set(made["nixosModules"]) == {"default", "raspberry-pi"}


def test_inputs_are_pinned_and_those_of_the_lab_are_added(tmp_path: Path) -> None:
    lab = resolved("nixos-fleet")
    inputs = outputs(lab, tmp_path)["inputs"]
    assert "/v1." in inputs["nixos-raspberrypi"]["url"], "a release: what main was built with leaves the cache"
    assert inputs["hyprland"] == {"url": "github:hyprwm/Hyprland"}
    assert inputs["secrix"]["inputs"] == {"nixpkgs": {"follows": "nixpkgs"}}
    odd = {"odd": {"url": 'path:/a"b${c}\\d', "follows": {}}, "nixpkgs": {"url": "github:me/nixpkgs", "follows": {}}}
    settings = {**lab.settings, "nix": {**lab.settings["nix"], "inputs": odd}}
    changed = lab.model_copy(update={"settings": settings})
    assert outputs(changed, tmp_path)["inputs"]["odd"]["url"] == 'path:/a"b${c}\\d'
    assert overridden_inputs(changed) == ["--override-input", "nixpkgs", "github:me/nixpkgs"]


def test_modules_of_ones_own_are_built_in(tmp_path: Path) -> None:
    pi = resolved("single-pi").hosts["pi"]
    text = "{ services.fwupd.enable = true; }"
    own = {**pi.settings["nix"], "modules": {"nix/mine.nix": text}}
    lab = changed("single-pi", "pi", {"nix": own})
    assert outputs(lab, tmp_path)["systems"]["pi"]["own"] == ["modules", "mine.nix", "pi.nix", "card.nix"]
    assert (tmp_path / "nix" / "own" / "nix" / "mine.nix").read_text() == text


def test_the_flake_builds_other_hosts_by_nixpkgs(tmp_path: Path) -> None:
    lab = resolved("nixos-fleet")
    made = outputs(lab, tmp_path)
    by = {name: system["by"] for name, system in made["systems"].items()}
    ours = {name: host.board for name, host in lab.hosts.items() if host.os == "nixos"}
    assert by == {name: "nixos-raspberrypi" if board.startswith("pi") else "nixpkgs" for name, board in ours.items()}
    assert made["images"]["hyperv-image"] == "system.build.images.hyperv"
    assert made["images"]["local-worker"] == "system.build.images.qemu"
    assert made["images"]["cortex-alpha"] == "system.build.images.iso"
    assert "display-0" in made["checks"]["aarch64-linux"]
    assert "linda" in made["checks"]["x86_64-linux"]


def test_another_release_than_the_flakes_is_refused(tmp_path: Path) -> None:
    lab = resolved("single-pi")
    settings = {**lab.settings, "nix": {**lab.settings["nix"], "release": "unstable"}}
    done = made_of(lab.model_copy(update={"settings": settings}), tmp_path)
    assert "nix/flake.nix brings NixOS 25.11, the lab asks for unstable (nix.release)" in done.stderr
