"""The Debian that the lab's hosts run: made once into the cache, as Raspberry Pi OS Lite would be without its firmware.

Belongs here: which packages, and what is different from a plain Debian. Not here: one host's own files (hosts.py).

A lab reaches no package mirror, so the packages that hosts are given later lie in a folder of the image, and apt there
knows only that folder: `apt-get install prometheus-node-exporter` on a host really installs it.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import subprocess
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared
from homelab_platform_tests.testlab.space import CONTAINED

SUITE = "bookworm"
PACKAGES = (
    *("apt-utils", "ca-certificates", "cron", "dbus", "iproute2", "iputils-ping", "kmod", "less", "locales"),
    *("logrotate", "netbase", "nftables", "openssh-server", "procps", "python3", "python3-apt", "sudo", "systemd"),
    *("systemd-sysv", "tzdata"),
)
LATER = (
    *("chrony", "curl", "fail2ban", "mosquitto", "mosquitto-clients", "prometheus-node-exporter", "python3-venv"),
    *("rsync", "systemd-timesyncd", "unattended-upgrades"),
)
"""Packages that hosts can install although nothing of the internet is in reach."""
FOLDER = "/var/lib/packages"
ADMIN = "pi"
"""The person that a fresh Raspberry Pi OS has: may do everything by sudo, without a password."""
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=8a676486-02 rootfstype=ext4 fsck.repair=yes rootwait\n"
"""The one line that a Pi's firmware gives to its kernel."""


def recipe() -> shared.Recipe:
    """How the base is made. A change of the packages or of the steps makes another base."""
    steps = (_make, _packages_for_later, _entry, _like_a_pi)
    lists = "\n".join((*PACKAGES, *LATER, FOLDER, ADMIN, CMDLINE))
    return shared.Recipe("debian-host", SUITE, "\n".join((lists, *(inspect.getsource(step) for step in steps))))


def installed(progress: Say = silent) -> Path:
    """The root folder of the base, made first if need be (a minute or two, once). Raises HomelabError without apt."""
    return shared.install(recipe(), _make, progress) / "root"


def _make(folder: Path, progress: Say) -> None:
    progress(f"making a Debian {SUITE} for the test lab's hosts")
    root = folder / "root"
    wanted = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    _run(wanted, "mmdebstrap")
    _packages_for_later(root)
    _like_a_pi(root)
    for litter in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / litter, ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)


def _packages_for_later(root: Path) -> None:
    inside = ["chroot", str(root), "apt-get", "-qq", "--no-install-recommends"]
    _run([*inside, "update"], "apt-get update in the base")
    for package in LATER:  # one at a time: some of them stand in for one another
        _run([*inside, "--download-only", "install", package], f"apt-get download of {package}")
    kept = root / FOLDER.lstrip("/")
    kept.mkdir(parents=True)
    for file in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        shutil.move(file, kept / file.name)
    (kept / "Packages").write_text("\n".join(_entry(file) for file in sorted(kept.glob("*.deb"))))
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{FOLDER} ./\n")


def _entry(file: Path) -> str:
    """One paragraph of a package index (deb822: the package's own fields, its place and checksum)."""
    fields = _run(["dpkg-deb", "--field", str(file)], "dpkg-deb").strip()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{fields}\nFilename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"


def _like_a_pi(root: Path) -> None:
    firmware = root / "boot/firmware"
    firmware.mkdir(parents=True)
    (firmware / "cmdline.txt").write_text(CMDLINE)
    (firmware / "config.txt").write_text("# what the firmware of a Pi reads\narm_64bit=1\n")
    _run(["chroot", str(root), "useradd", "-m", "-s", "/bin/bash", "-G", "sudo", ADMIN], "useradd")
    sudoers = root / f"etc/sudoers.d/010_{ADMIN}-nopasswd"
    sudoers.write_text(f"{ADMIN} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    for file in (root / "etc/ssh").glob("ssh_host_*"):
        file.unlink()
    (root / "etc/machine-id").write_text("uninitialized\n")
    (root / "etc/resolv.conf").write_text("")
    for unit in ("systemd-remount-fs.service", "dev-hugepages.mount", "apt-daily.timer", "apt-daily-upgrade.timer"):
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")


def _run(command: list[str], what: str) -> str:
    done = subprocess.run([*CONTAINED, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n      ".join(done.stderr.strip().splitlines()[-6:])
        raise HomelabError.of("the test lab's Debian", f"{what} failed", f"It says:\n      {end}")
    return done.stdout
