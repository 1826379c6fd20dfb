"""Which nix builds what: its age, who builds for a processor, what a host's build is asked for.

The nix here only says what it was asked, so that nothing is built or fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.tools import nix
from homelab_platform_tests.nix.labs import resolved

NIX = """#!/bin/sh
case "$*" in
  --version) echo "nix (Nix) {version}" ;;
  *show-config*) printf 'system = x86_64-linux\\nextra-platforms = {extra}\\nbuilders = {builders}\\n' ;;
  *) echo "$@" >>{folder}/asked; echo /nix/store/aaa-system ;;
esac
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(version: str = "2.24.10", extra: str = "", builders: str = "") -> Path:
        program = tmp_path / "bin" / "nix"
        program.parent.mkdir(exist_ok=True)
        words = {"version": version, "extra": extra, "builders": builders, "folder": str(tmp_path)}
        text = NIX
        for name, value in words.items():
            text = text.replace(f"{{{name}}}", value)
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return tmp_path / "asked"

    return put


def test_a_nix_that_is_too_old_is_named_with_the_way_out(install: Install) -> None:
    install("2.8.0")
    with pytest.raises(HomelabError, match=r"nix \(Nix\) 2\.8\.0 is too old .* 2\.18") as error:
        nix.find_nix()
    assert "build-image.sh HOST --builder docker" in str(error.value)


@pytest.mark.parametrize(
    ("extra", "builders", "platform", "builds"),
    [
        ("", "", "x86_64-linux", True),
        ("", "", "aarch64-linux", False),
        ("i686-linux aarch64-linux", "", "aarch64-linux", True),
        ("", "ssh://pi aarch64-linux", "aarch64-linux", True),
        ("", "@/no/such/file", "aarch64-linux", False),
    ],
)
def test_who_builds_for_a_processor(install: Install, extra: str, builders: str, platform: str, builds: bool) -> None:
    install(extra=extra, builders=builders)
    assert nix.builds_for(platform, []) is builds
    assert nix.builds_for(platform, ["ssh-ng://build@pi aarch64-linux - 2"]) is (builds or platform == "aarch64-linux")


def test_a_build_is_handed_to_the_builders_of_the_lab(install: Install, tmp_path: Path) -> None:
    asked = install()
    assert nix.build_system(resolved("nixos-fleet"), "linda", tmp_path, silent) == "/nix/store/aaa-system"
    words = asked.read_text()
    assert "ssh-ng://build@192.168.88.4 x86_64-linux,aarch64-linux - 8" in words
    assert "ssh-ng://build@192.168.88.5 aarch64-linux - 4" in words
    assert 'nixosConfigurations."linda".config.system.build.toplevel' in words
    assert json.loads((tmp_path / "nix" / "lab.json").read_text())["name"] == "nixos-fleet"


def test_secrets_are_read_from_the_evaluated_modules(install: Install, tmp_path: Path) -> None:
    asked = install()
    program = asked.parent / "bin" / "nix"
    row = {"path": "/p", "owner": "a", "group": "b", "mode": "0400", "units": [], "sources": {"value": "env:X"},
           "template": "{value}", "generate": False}  # fmt: skip
    program.write_text(program.read_text().replace("echo /nix/store/aaa-system", f"echo '{json.dumps({'x': row})}'"))
    found = nix.secret_files(resolved("single-pi"), "pi", tmp_path, silent)
    assert (found["x"].path, found["x"].sources) == ("/p", {"value": "env:X"})
    assert '#secrets."pi"' in asked.read_text()


def test_an_input_of_ours_is_taken_from_where_the_lab_says(install: Install, tmp_path: Path) -> None:
    asked = install()
    nix.build_system(resolved("single-pi"), "pi", tmp_path, silent)
    assert "--override-input nixos-raspberrypi github:nvmd/nixos-raspberrypi/v1." in asked.read_text()
