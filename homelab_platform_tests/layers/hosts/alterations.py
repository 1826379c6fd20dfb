"""Alterations of a host, one for each piece of what a look finds, and how each is put back.

Belongs here: the list. Every row is shell text; test_look.py runs them on a real host, and holds the list to be whole.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Alteration:
    """`piece` is (kind, name) of the look's state that must differ afterwards."""

    piece: tuple[str, str]
    what: str
    harm: str
    mend: str


RELOAD = "systemctl reload ssh"
EFFECTIVE: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "ssh for ada": (
        (
            "a drop-in sorted before ours lets passwords in",
            "echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/00-a.conf",
            "rm /etc/ssh/sshd_config.d/00-a.conf",
        ),
        (
            "AllowUsers shuts her out",
            "echo 'AllowUsers root pi' >/etc/ssh/sshd_config.d/99-z.conf",
            "rm /etc/ssh/sshd_config.d/99-z.conf",
        ),
        (
            "Include is removed",
            "cp -p /etc/ssh/sshd_config /root/kept; sed -i /Include/d /etc/ssh/sshd_config",
            "cp -p /root/kept /etc/ssh/sshd_config",
        ),
        (
            "her keys come from elsewhere",
            "printf 'Match User ada\\n AuthorizedKeysFile /tmp/k\\n' >/etc/ssh/sshd_config.d/00-a.conf",
            "rm /etc/ssh/sshd_config.d/00-a.conf",
        ),
    ),
    "ssh for root": (
        (
            "root may log in by password",
            "printf 'PermitRootLogin yes\\n' >/etc/ssh/sshd_config.d/00-a.conf",
            "rm /etc/ssh/sshd_config.d/00-a.conf",
        ),
    ),
    "sudo of ada": (
        (
            "a later drop-in takes sudo from her",
            "echo 'ada ALL=(ALL) !ALL' >/etc/sudoers.d/zz; chmod 440 /etc/sudoers.d/zz",
            "rm /etc/sudoers.d/zz",
        ),
    ),
    "updates that apt makes by itself": (
        (
            "apt updates by itself again",
            "echo 'APT::Periodic::Unattended-Upgrade \"0\";' >/etc/apt/apt.conf.d/zz",
            "rm /etc/apt/apt.conf.d/zz",
        ),
    ),
    "limits of the log": (
        (
            "a later drop-in lifts the limit",
            "printf '[Journal]\\nSystemMaxUse=9G\\n' >/etc/systemd/journald.conf.d/zz.conf",
            "rm /etc/systemd/journald.conf.d/zz.conf",
        ),
    ),
    "the host's own name": (
        (
            "/etc/hosts leads its name elsewhere",
            "cp -p /etc/hosts /root/kept; sed -i '1i 10.9.8.7 look-1' /etc/hosts",
            "cat /root/kept >/etc/hosts; touch -r /root/kept /etc/hosts",
        ),
    ),
    "its name in force": (("it is named otherwise", "hostname other", "hostname look-1"),),
    "chrony": (
        (
            "chrony denies the LAN",
            "echo 'deny all' >/etc/chrony/conf.d/zz.conf",
            "rm /etc/chrony/conf.d/zz.conf",
        ),
    ),
}
ROOT = (
    ("UID 0: toor", "a second UID 0", "useradd -o -u 0 -s /bin/bash toor", "userdel -f toor"),
    ("UID 0: root", "root's shell", "chsh -s /bin/sh root", "chsh -s /bin/bash root"),
    (
        "sudo: mallory",
        "an account that may become root by its group",
        "useradd -s /bin/bash -G sudo mallory",
        "userdel -f mallory; groupdel mallory 2>/dev/null",
    ),
    (
        "sudo: pi",
        "somebody may do less than before",
        "cp -p /etc/sudoers.d/010_pi-nopasswd /root/kept; echo 'pi ALL=(ALL) /bin/ls' >/etc/sudoers.d/010_pi-nopasswd",
        "cat /root/kept >/etc/sudoers.d/010_pi-nopasswd",
    ),
    (
        "sudoers: /etc/sudoers.d/evil",
        "a drop-in of sudo",
        "echo 'games ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/evil; chmod 440 /etc/sudoers.d/evil",
        "rm /etc/sudoers.d/evil",
    ),
    (
        "sudoers: /etc/sudoers",
        "the main file of sudo",
        "cp -p /etc/sudoers /root/kept; echo 'Defaults !authenticate' >>/etc/sudoers",
        "cat /root/kept >/etc/sudoers",
    ),
    (
        "keys: /root/.ssh/authorized_keys",
        "another key of root",
        "cp -p /root/.ssh/authorized_keys /root/kept; echo 'ssh-ed25519 AAAA evil' >>/root/.ssh/authorized_keys",
        "cat /root/kept >/root/.ssh/authorized_keys",
    ),
    (
        "keys: /home/pi/.ssh/authorized_keys",
        "another key of who may become root",
        "cp -p /home/pi/.ssh/authorized_keys /root/kept; echo x >>/home/pi/.ssh/authorized_keys",
        "cat /root/kept >/home/pi/.ssh/authorized_keys",
    ),
)
ACCOUNT = (
    ("another shell", "usermod -s /bin/sh ada", "usermod -s /bin/bash ada"),
    ("another group", "gpasswd -a ada video", "gpasswd -d ada video"),
    ("out of a group", "gpasswd -d ada sudo", "gpasswd -a ada sudo"),
    ("expired", "chage -E 1 ada", "chage -E -1 ada"),
    ("a password", "echo ada:open | chpasswd", "usermod -p '!' ada"),
    ("a home of somebody else's", "chown pi /home/ada", "chown ada /home/ada"),
    ("a home that all may write to", "chmod 777 /home/ada", "chmod 755 /home/ada"),
    ("no home", "mv /home/ada /home/x", "mv /home/x /home/ada"),
    ("another UID", "sed -i -E 's/^ada:x:/ada:x:9/' /etc/passwd", "sed -i -E 's/^ada:x:9/ada:x:/' /etc/passwd"),
    ("gone", "cp -p /etc/passwd /root/kept; sed -i /^ada:/d /etc/passwd", "cat /root/kept >/etc/passwd"),
)
NFT = "nft -s list table inet homelab >/root/kept.nft"
NFT_BACK = "nft delete table inet homelab 2>/dev/null; nft -f /root/kept.nft"
FIREWALL = (
    ("a rule gone", "nft flush chain inet homelab zones"),
    ("a rule more", "nft insert rule inet homelab input accept"),
    ("another policy", "nft 'chain inet homelab forward { policy accept; }'"),
    ("switched off", "nft 'add table inet homelab { flags dormant; }'"),
    ("a chain more", "nft add chain inet homelab more"),
    ("gone", "nft delete table inet homelab"),
    ("everything flushed", "nft flush ruleset"),
)


def alterations(state: Mapping[str, Mapping[str, Any]]) -> Iterator[Alteration]:
    """Every alteration of a host whose look found `state`."""
    for name in state["file"]:
        path = shlex.quote(name)
        kept = f"cp -p {path} /root/kept"
        yield Alteration(("file", name), "content", f"{kept}; echo >>{path}", f"cp -p /root/kept {path}")
        yield Alteration(("file", name), "mode", f"{kept}; chmod 666 {path}", f"cp -p /root/kept {path}")
        yield Alteration(("file", name), "owner", f"{kept}; chown 7 {path}", f"chown 0 {path}; cp -p /root/kept {path}")
        yield Alteration(("file", name), "gone", f"mv {path} /root/kept", f"mv /root/kept {path}")
    for name, target in state["link"].items():
        yield Alteration(("link", name), "elsewhere", f"ln -sf /dev/null {name}", f"ln -sf {target} {name}")
    for name in state["package"]:
        status = "/var/lib/dpkg/status"
        gone = f"/^Package: {name}$/,/^$/s/^Status: install ok installed/Status: deinstall ok config-files/"
        yield Alteration(
            ("package", name),
            "gone",
            f"cp -p {status} /root/kept; sed -i '{gone}' {status}",
            f"cp -p /root/kept {status}",
        )
    yield Alteration(("held", "sudo"), "held back", "apt-mark -qq hold sudo", "apt-mark -qq unhold sudo")
    yield from _units(state["unit"])
    for what, harm, mend in ACCOUNT:
        yield Alteration(("account", "ada"), what, harm, mend)
    in_group = "gpasswd -{} games homelab-people"
    yield Alteration(("account", "games"), "a stranger", in_group.format("a"), in_group.format("d"))
    for what, harm in FIREWALL:
        yield Alteration(("firewall", "homelab"), what, f"{NFT}; {harm}", NFT_BACK)
    for name in state["mount"]:
        unit = "srv-data.mount"
        yield Alteration(("mount", name), "not mounted", f"systemctl stop {unit}", f"systemctl start {unit}")
        yield Alteration(("mount", name), "read-only", f"mount -o remount,ro {name}", f"mount -o remount,rw {name}")
        over = f"mount -t tmpfs tmpfs {name}"
        yield Alteration(("mount", name), "something else", over, f"umount {name}")
    for name in state["effective"]:
        for what, harm, mend in EFFECTIVE[name]:
            yield Alteration(("effective", name), what, harm, mend)
    for name, what, harm, mend in ROOT:
        yield Alteration(("root", name), what, harm, mend)


def _units(units: Mapping[str, Any]) -> Iterator[Alteration]:
    for name in units:
        drop = f"/run/systemd/system/{name}.d"
        piece = ("unit", name)
        if name not in ("ssh.service", "homelab-firewall.service"):
            yield Alteration(piece, "stopped", f"systemctl stop {name}", f"systemctl start {name}")
        if name == "homelab-firewall.service":
            yield Alteration(piece, "stopped", f"{NFT}; systemctl stop {name}", f"systemctl start {name}; {NFT_BACK}")
        yield Alteration(piece, "not at the next start", f"systemctl -q disable {name}", f"systemctl -q enable {name}")
        yield Alteration(
            piece,
            "changed by a drop-in",
            f"mkdir -p {drop}; printf '[Unit]\\nDescription=x\\n' >{drop}/x.conf; systemctl daemon-reload",
            f"rm -r {drop}; systemctl daemon-reload",
        )
        yield Alteration(
            piece,
            "changed and not read",
            f"mkdir -p {drop}; printf '[Unit]\\nDescription=x\\n' >{drop}/x.conf",
            f"rm -r {drop}; systemctl daemon-reload",
        )
        yield Alteration(
            piece,
            "masked",
            f"mkdir -p /root/kept.d; mv /etc/systemd/system/{name} /root/kept.d/ 2>/dev/null;"
            f" ln -s /dev/null /etc/systemd/system/{name}; systemctl daemon-reload",
            f"rm /etc/systemd/system/{name}; mv /root/kept.d/{name} /etc/systemd/system/ 2>/dev/null;"
            " systemctl daemon-reload",
        )
