"""What this machine needs to run a lab, and getting what is missing.

Belongs here: root, programs, and the words for a machine that cannot. Not here: what the programs are used for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.files import locked
from homelab_platform.names import Say, silent

PROGRAMS = {
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
"""Programs of the hosts, and the Debian packages that bring them."""
KUBE_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "nft": "nftables",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Programs of the cluster's nodes."""


def why_not() -> str | None:
    """Why this machine cannot run a lab, in one sentence; None when it can (packages may still be missing)."""
    if not Path("/proc/self/ns").is_dir():
        return "the test lab needs Linux: its hosts live in namespaces"
    if os.geteuid() != 0:
        return "the test lab needs root: it makes network namespaces, mounts and control groups"
    if paths.cache_home().resolve().is_relative_to("/var"):
        return "the test lab cannot lie below /var: set HOMELAB_CACHE to another folder"
    return None


def require(progress: Say = silent, *, cluster: bool = False) -> None:
    """Install the missing programs. Raises HomelabError when this machine cannot run a lab, or they cannot be had."""
    reason = why_not()
    if reason:
        raise HomelabError.of("test lab", reason)
    wanted = PROGRAMS | (KUBE_PROGRAMS if cluster else {})
    missing = sorted({package for program, package in wanted.items() if shutil.which(program) is None})
    if missing:
        _install(missing, progress)


def ensure(program: str, package: str) -> str | None:
    """The path of a program that tests need, installed first if it is missing; None where it cannot be had."""
    found = shutil.which(program)
    if found is None and os.geteuid() == 0:
        with locked(paths.cache_home() / "packages.lock"):
            if shutil.which(program) is None:
                _install([package], silent)
        found = shutil.which(program)
    return found


def _install(packages: list[str], progress: Say) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise HomelabError.of("test lab", f"needs {', '.join(packages)}", "Install them by the means of this system.")
    progress(f"installing {', '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    # Other tests may be installing something at this moment: wait for them.
    command = [apt, "-qq", "-y", "-o", "DPkg::Lock::Timeout=600", "--no-install-recommends", "install", *packages]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        subprocess.run([apt, "-qq", "update"], env=environment, capture_output=True, check=False)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n      ".join(done.stderr.strip().splitlines()[-4:])
        raise HomelabError.of("test lab", f"apt-get could not install {', '.join(packages)}", f"It says:\n      {end}")
