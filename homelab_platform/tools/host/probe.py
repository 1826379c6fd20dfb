"""What a Debian or Raspberry Pi OS host is like, as one JSON object; runs on the host, from standard input.

Belongs here: looking, with the standard library of Python 3.7 and the host's own commands. It imports nothing of ours
and changes nothing. Not here: what that means (layers/hosts/state.py).
"""

import hashlib
import json
import os
import subprocess
import sys
import urllib.request

STATE = "/var/lib/homelab"


def text(path):
    """The content of a file, empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def output(*command):
    """What a command prints, empty if it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def digest(data):
    """The SHA-256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def document(path):
    """The JSON document of a file, None if there is none."""
    try:
        return json.loads(text(path) or "null")
    except ValueError:
        return None


def file_state(path):
    """Mode, owner and content of a file; null if it is not there."""
    try:
        info = os.stat(path)
        with open(path, "rb") as file:
            return "%o %d:%d %s" % (info.st_mode & 0o7777, info.st_uid, info.st_gid, digest(file.read()))
    except OSError:
        return None


def packages(names):
    """Installed packages with their versions."""
    rows = output("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names) if names else ""
    found = dict(row.split() for row in rows.splitlines() if len(row.split()) == 2)
    return {name: found.get(name, "missing") for name in names}


def units(names):
    """States of systemd units."""
    if not names:
        return {}
    shown = output("systemctl", "show", "--property=Id,ActiveState,UnitFileState", *names)
    found = {}
    for block in shown.strip().split("\n\n"):
        row = dict(line.partition("=")[::2] for line in block.splitlines())
        found[row.get("Id", "")] = "%s %s" % (row.get("ActiveState", ""), row.get("UnitFileState", ""))
    return {name: found.get(name, "missing") for name in names}


def people(names, group):
    """Each account's shell and groups, and who else is in the people's group."""
    accounts = {row[0]: row for row in (line.split(":") for line in text("/etc/passwd").splitlines()) if len(row) == 7}
    groups = [row for row in (line.split(":") for line in text("/etc/group").splitlines()) if len(row) == 4]
    found = {}
    for name in names:
        row = accounts.get(name)
        member = sorted(g[0] for g in groups if name in g[3].split(","))
        found[name] = "%s %s" % (row[6], ",".join(member)) if row else None
    there: list[str] = next((g[3].split(",") for g in groups if g[0] == group), [])
    found.update({name: "in " + group for name in there if name and name not in names})
    return found


def rules(table):
    """Digest of the firewall table in force, counters left out."""
    shown = output("nft", "--stateless", "list", "table", "inet", table) if table else ""
    return digest(shown.encode()) if shown else None


def answers(listen):
    """Whether something answers like an exporter at host:port."""
    found = {}
    for place in listen:
        host, _, port = place.rpartition(":")
        try:
            with urllib.request.urlopen("http://%s:%s/metrics" % (host or "127.0.0.1", port), timeout=5) as answer:
                found[place] = "HTTP %d" % answer.status
        except (OSError, ValueError) as error:
            found[place] = str(getattr(error, "reason", error))
    return found


def link(path):
    return os.readlink(path) if os.path.islink(path) else None


def deploy():
    """Who deploys now, and what became of the last deploy, as the guard says."""
    return dict(line.partition("=")[::2] for line in output("sh", STATE + "/guard", "status").splitlines())


def main(what):
    """Print the look as one JSON object."""
    managed = document(STATE + "/managed.json") or {}
    release = dict(line.partition("=")[::2] for line in text("/etc/os-release").splitlines())
    room = os.statvfs("/")
    cmdline = text("/proc/cmdline").split()
    found = {
        "applied": document(STATE + "/applied.json"),
        "managed": digest(text(STATE + "/managed.json").encode()),
        "state": {
            "file": {path: file_state(path) for path in managed.get("files", [])},
            "link": {path: link(path) for path in managed.get("links", [])},
            "package": packages(managed.get("packages", [])),
            "unit": units(managed.get("units", [])),
            "account": people(managed.get("people", []), managed.get("group", "")),
            "firewall": {managed["table"]: rules(managed["table"])} if managed.get("table") else {},
        },
        "guard": file_state(STATE + "/guard"),
        "deploy": deploy(),
        "os": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": os.uname().release,
        "failed": [line.split()[0] for line in output("systemctl", "--failed", "--no-legend", "--plain").splitlines()],
        "restart": os.path.exists("/run/reboot-required") or any(w not in cmdline for w in managed.get("cmdline", [])),
        "free": room.f_bavail * room.f_frsize,
        "uptime": float(text("/proc/uptime").split()[0]),
        "boot": text("/proc/sys/kernel/random/boot_id").strip(),
    }
    if "health" in what:
        found["answers"] = answers(managed.get("listen", []))
    json.dump(found, sys.stdout)


main(sys.argv[1:])
