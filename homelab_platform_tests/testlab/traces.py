"""What can be seen of a lab on this machine, from outside: nothing of it may be left once it is gone.

Belongs here: looking. Not here: clearing away (guardian.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from homelab_platform_tests.testlab.hosts import SYSCTLS, Place
from homelab_platform_tests.testlab.init import hierarchies


def traces(place: Place) -> list[str]:
    """Processes, mounts, control groups, links, addresses, routes and files of a lab, one line each."""
    found = [f"control group {path}" for top in hierarchies() for path in top.glob(f"homelab-{place.id}")]
    found += [f"folder {place.folder}"] if place.folder.exists() else []
    found += [f"link {place.outside_link}"] if Path("/sys/class/net", place.outside_link).exists() else []
    found += [f"mount {line}" for line in _lines("/proc/self/mounts") if place.id in line]
    found += [f"process {pid}: {command}" for pid, command in _commands() if str(place.folder) in command]
    shown = subprocess.run(["ip", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=True)
    prefix = f"10.{place.addresses.number}."
    found += [f"route {line}" for line in shown.stdout.splitlines() if prefix in line]
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
    found += [f"firewall rule {line}" for line in rules.splitlines() if prefix in line or "KUBE-" in line]
    return found


def machine_settings() -> dict[str, str]:
    """The settings of this machine that a kubelet would change."""
    return {name: Path("/proc/sys", name).read_text().strip() for name in SYSCTLS if Path("/proc/sys", name).exists()}


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def _commands() -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found.append((int(entry.name), command))
    return found
