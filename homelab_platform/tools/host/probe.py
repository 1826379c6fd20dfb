"""What a Debian or Raspberry Pi OS host is like, as one JSON object; runs on the host, from standard input.

Belongs here: looking, with the standard library of Python 3.7 and the host's own commands. It imports nothing of ours
and changes nothing. Not here: what that means (layers/hosts/state.py).
"""

import glob
import grp
import hashlib
import json
import os
import pwd
import subprocess
import sys
import urllib.request

STATE = "/var/lib/homelab"
RECORD = STATE + "/managed.json"
MARK = "homelab-look:"


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
    """Installed packages by name."""
    shown = "${Package} ${db:Status-Want} ${db:Status-Status}\n"
    rows = [
        row.split()
        for row in (output("dpkg-query", "--show", "--showformat", shown, *names) if names else "").splitlines()
    ]
    found = {row[0]: row[2] for row in rows if len(row) == 3}
    return {name: found.get(name, "missing") for name in names}


def held():
    """Packages that somebody keeps from being updated."""
    shown = output("dpkg-query", "--show", "--showformat", "${db:Status-Want} ${Package}\n")
    return {row.split()[1]: "held" for row in shown.splitlines() if row.startswith("hold ")}


def units(names):
    """States of systemd units."""
    if not names:
        return {}
    shown = output("systemctl", "show", "--property=Id,ActiveState,UnitFileState,DropInPaths,NeedDaemonReload", *names)
    found = {}
    for block in shown.strip().split("\n\n"):
        row = dict(line.partition("=")[::2] for line in block.splitlines())
        state = "%s %s" % (row.get("ActiveState", ""), row.get("UnitFileState", ""))
        drop_ins = row.get("DropInPaths", "").split()
        if drop_ins:
            whole = "".join(str(file_state(path)) for path in drop_ins)
            state += ", %s %s" % (" ".join(os.path.basename(path) for path in drop_ins), digest(whole.encode())[:8])
        if row.get("NeedDaemonReload") == "yes" or unread(row.get("Id", ""), drop_ins):
            state += ", changed since systemd read it"
        found[row.get("Id", "")] = state
    return {name: found.get(name, "missing") for name in names}


def unread(name, drop_ins):
    """Whether a drop-in lies there that systemd has not read: of a folder that is new to it, it says nothing."""
    read = {os.path.realpath(path) for path in drop_ins}
    places = ("/etc", "/run", "/usr/lib")
    there = {
        path for place in places for path in glob.glob("%s/systemd/system/%s.d/*.conf" % (place, glob.escape(name)))
    }
    return any(os.path.realpath(path) not in read for path in there)


def account(row):
    """Shell, groups, home and its owner, and whether the account is locked out, as the name service says."""
    groups = sorted(group.gr_name for group in grp.getgrall() if row.pw_name in group.gr_mem)
    try:
        info = os.stat(row.pw_dir)
        home = "%s %o %d:%d" % (row.pw_dir, info.st_mode & 0o7777, info.st_uid, info.st_gid)
    except OSError:
        home = "no " + row.pw_dir
    shadow: list[str] = next(
        (line.split(":") for line in text("/etc/shadow").splitlines() if line.startswith(row.pw_name + ":")), []
    )
    expires = shadow[7] if len(shadow) > 7 else ""
    password = "no password" if len(shadow) > 1 and shadow[1][:1] in ("!", "*") else "a password"
    return "%s %s, UID %d:%d, home %s, %s%s" % (
        row.pw_shell,
        ",".join(groups),
        row.pw_uid,
        row.pw_gid,
        home,
        password,
        ", expires " + expires if expires else "",
    )


def people(names, group):
    """Each account of the lab, and who else is in the people's group."""
    found = {}
    for name in names:
        try:
            found[name] = account(pwd.getpwnam(name))
        except KeyError:
            found[name] = None
    try:
        there = grp.getgrnam(group).gr_mem if group else []
    except KeyError:
        there = []
    found.update({name: "in " + group for name in there if name not in names})
    return found


def root_access(ours, people_here):
    """Every way to root beside the lab's people: accounts of UID 0, sudo by account, keys of who may, files of sudo."""
    found = {}
    rows = {row.pw_name: row for row in pwd.getpwall()}
    shells = [name for name, row in rows.items() if not row.pw_shell.endswith(("/nologin", "/false", "/sync"))]
    may = []
    for name in sorted({name for name, row in rows.items() if row.pw_uid == 0} | set(shells) - set(people_here)):
        if rows[name].pw_uid == 0:
            found["UID 0: " + name] = rows[name].pw_shell
            may.append(name)
        elif "may run the following" in output("sudo", "-n", "-l", "-U", name):
            found["sudo: " + name] = digest("\n".join(output("sudo", "-n", "-l", "-U", name).splitlines()[1:]).encode())
            may.append(name)
    for name in may:
        for path in key_files(name, rows[name].pw_dir):
            keys = file_state(path)
            if keys and path not in ours:
                found["keys: " + path] = keys
    for folder, _, files in os.walk("/etc/sudoers.d"):
        for file in sorted(files):
            path = os.path.join(folder, file)
            if path not in ours and "." not in file and not file.endswith("~"):  # sudoers(5): others are not read
                found["sudoers: " + path] = file_state(path)
    found["sudoers: /etc/sudoers"] = file_state("/etc/sudoers")
    return found


def key_files(name, home):
    """The files whose keys let `name` in, as SSH's server says."""
    shown = output("/usr/sbin/sshd", "-T", "-C", "user=%s,host=lab,addr=127.0.0.1" % name)
    words: list[str] = next(
        (line.split()[1:] for line in shown.splitlines() if line.startswith("authorizedkeysfile ")), []
    )
    for word in words or [".ssh/authorized_keys"]:
        path = word.replace("%%", "%").replace("%h", home).replace("%u", name)
        yield path if path.startswith("/") else os.path.join(home, path)


def effective(checks):
    """For each check of the record: a digest of what its command says, and which lines it lacks."""
    found = {}
    for name, check in checks.items():
        said = output(*check["command"])
        lines = {" ".join(line.split()) for line in said.splitlines()}
        lacks = [word for word in check.get("has", []) if not any(" ".join(word.split()) in line for line in lines)]
        found[name] = digest(said.encode()) + "".join("; lacks: " + word for word in lacks)
    return found


def mounts(points):
    """What is mounted where the lab wants it: type, device and whether it can be written to."""
    rows = {}
    for line in text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if right:
            mode = left.split()[5].split(",")[0]
            rows[left.split()[4].replace("\\040", " ")] = "%s %s %s" % (right.split()[0], right.split()[1], mode)
    return {point: rows.get(point) for point in points}


def swaps():
    return {row.split()[0]: row.split()[2] for row in text("/proc/swaps").splitlines()[1:] if "zram" in row}


def rules(table):
    """Digest of the firewall table in force as nftables has it, counters and handles left out."""
    try:
        rows = json.loads(output("nft", "--json", "list", "ruleset") or "{}").get("nftables", [])
    except ValueError:
        return "cannot be read"
    ours = [
        plain(row)
        for row in rows
        if any(isinstance(v, dict) and table in (v.get("table"), v.get("name")) for v in row.values())
    ]
    return digest(json.dumps(ours, sort_keys=True).encode()) if ours else None


def plain(value):
    """A rule without what counts."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in ("handle", "packets", "bytes", "index")}
    return [plain(one) for one in value] if isinstance(value, list) else value


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
    managed = document(RECORD) or {}
    release = dict(line.partition("=")[::2] for line in text("/etc/os-release").splitlines())
    room = os.statvfs("/")
    cmdline = text("/proc/cmdline").split()
    found = {
        "applied": document(STATE + "/applied.json"),
        "state": {
            "file": {path: file_state(path) for path in (*managed.get("files", []), *((RECORD,) if managed else ()))},
            "link": {path: link(path) for path in managed.get("links", [])},
            "package": packages(managed.get("packages", [])),
            "unit": units(managed.get("units", [])),
            "account": people(managed.get("people", []), managed.get("group", "")),
            "mount": mounts(managed.get("mounts", {})),
            "swap": swaps(),
            "held": held(),
            "effective": effective(managed.get("effective", {})),
            "root": root_access(managed.get("files", []), managed.get("people", [])) if managed else {},
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
    print("\n" + MARK + json.dumps(found))  # a shell that greets may have written before it


main(sys.argv[1:])
