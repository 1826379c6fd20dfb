"""Updates of a Debian or Raspberry Pi OS host: which there are, and making them; lies and runs on the host.

Belongs here: apt, dpkg and what a restart of the host needs, with the standard library of Python 3.7. It imports
nothing of ours. Not here: when a host is patched and what must hold before and after (operations/patch.py).

  look [refresh] [node]   what is there, as one JSON object; refresh: ask the archives first; node: of a Kubernetes
  install RUN             make the updates that standard input lists (name=version a line) in a unit that outlives us
  state RUN               how that went, as one JSON object
  note                    keep the JSON object of standard input as the record of the last patching
"""

import glob
import json
import os
import re
import subprocess
import sys
import time

STATE = "/var/lib/homelab"
SELF = STATE + "/updates.py"
FOLDER = STATE + "/patching"
HOLDS, PINNED, LOG, RESULT = (FOLDER + "/" + name for name in ("holds", "pinned", "log", "result.json"))
REFRESHED, RECORD = FOLDER + "/refreshed", STATE + "/patched.json"
UNIT = "homelab-patching"
MARK = "homelab-updates:"
EXTRA = 65  # exit code of the work: more would change than was listed
NODE_PACKAGES = ("containerd", "containerd.io", "cri-o", "docker-ce", "kubelet", "kubeadm", "kubectl", "kubernetes-cni")
OPTIONS = ("DPkg::Lock::Timeout=300", "Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold")
INST = re.compile(r"^Inst (\S+)(?: \[([^\]]+)\])? \((\S+)")
RELEASE = re.compile(r"(\d[\w.+~]*?(?:-\d+)?)-([a-z].*)$")


def text(path):
    """The content of a file, empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def write(path, content):
    """Write a file whole or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def document(path):
    """The JSON object of a file, None if there is none."""
    try:
        found = json.loads(text(path) or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def run(*command):
    """Exit code, output and errors of a command in the C locale."""
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive", NEEDRESTART_MODE="l")
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def apt(*words):
    """The words of apt-get with what is held on nodes, and with conffiles kept as they are."""
    options = [word for option in ("Dir::Etc::preferences=" + HOLDS, *OPTIONS) for word in ("-o", option)]
    return ["apt-get", *options, *words]


def write_holds():
    """Keep what carries Kubernetes where it is, beside the host's own preferences. Nothing of dpkg is changed."""
    own = text("/etc/apt/preferences").rstrip()
    stanza = "Package: %s\nPin: version *\nPin-Priority: -1\n" % " ".join(NODE_PACKAGES)
    write(HOLDS, (own + "\n\n" if own else "") + stanza)


def simulated():
    """What an upgrade would change: name, version before (empty for a new package), version after."""
    code, output, errors = run(*apt("-s", "upgrade", "--with-new-pkgs"))
    if code:
        raise SystemExit("apt-get -s upgrade failed: " + last(errors or output))
    rows = (INST.match(line) for line in output.splitlines())
    return [{"name": row.group(1), "before": row.group(2) or "", "after": row.group(3)} for row in rows if row]


def download_size():
    """Bytes that an upgrade would fetch."""
    code, output, _ = run(*apt("-y", "--print-uris", "upgrade", "--with-new-pkgs"))
    sizes = re.findall(r"^'[^']+' \S+ (\d+)", output, re.MULTILINE)
    return sum(map(int, sizes)) if code == 0 else 0


def last(output):
    """The last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"


def refresh():
    """Ask the archives what there is; what went wrong, empty if nothing did."""
    code, output, errors = run(*apt("-q", "-o", "APT::Update::Error-Mode=any", "update"))
    if code:
        lines = [line for line in (errors or output).splitlines() if line[:2] in ("E:", "W:")]
        return lines[0][:500] if lines else last(errors or output)
    write(REFRESHED, "")
    return ""


def held():
    """Packages that are kept where they are: by the host's own holds, and what carries Kubernetes."""
    _, output, _ = run("dpkg-query", "--show", "--showformat", "${db:Status-Want} ${db:Status-Status} ${Package}\n")
    rows = [row.split() for row in output.splitlines()]
    return sorted(
        row[2] for row in rows if len(row) == 3 and (row[0] == "hold" or (row[2] in NODE_PACKAGES and "inst" in row[1]))
    )


def newest_kernel(running):
    """The newest installed kernel of the same flavour as the one that runs; that one if there is no other."""
    own = RELEASE.match(running)
    newest = running
    for path in glob.glob("/boot/vmlinuz-*"):
        release = os.path.basename(path)[len("vmlinuz-") :]
        found = RELEASE.match(release)
        same = own and found and own.group(2) == found.group(2)
        if same and run("dpkg", "--compare-versions", release, "gt", newest)[0] == 0:
            newest = release
    return newest


def reboot_reasons(running, newest, wanted):
    """Why the host needs a restart; none if it does not."""
    found = []
    if os.path.exists("/run/reboot-required"):
        names = sorted(set(text("/run/reboot-required.pkgs").split()))
        found.append("/run/reboot-required" + (" (%s)" % ", ".join(names[:5]) if names else ""))
    if newest != running:
        found.append("kernel %s is installed, %s runs" % (newest, running))
    line = text("/proc/cmdline").split()
    found += ["the kernel runs without " + word for word in wanted if word not in line]
    return found


def start_problems(running, newest, wanted, node):
    """Why the host might not come up after a restart, or come up without what it needs."""
    found = []
    for path in ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt"):
        if os.path.exists(path):
            found += line_problems(path, wanted)
            break
    if newest != running:
        for path in ("/boot/vmlinuz-" + newest, "/lib/modules/%s/modules.dep" % newest):
            if not os.path.exists(path) or os.path.getsize(path) == 0:
                found.append(path + " is missing or empty")
        if os.path.exists("/boot/initrd.img-" + running) and not os.path.exists("/boot/initrd.img-" + newest):
            found.append("/boot/initrd.img-%s is missing" % newest)
        config = text("/boot/config-" + newest)
        if node and config and "CONFIG_MEMCG=y" not in config:
            found.append("kernel %s is built without CONFIG_MEMCG, which Kubernetes needs" % newest)
    return found


def line_problems(path, wanted):
    """What is wrong with the one line that a Pi's firmware hands to the kernel."""
    lines = [line for line in text(path).splitlines() if line.strip()]
    words = lines[0].split() if lines else []
    found = [] if len(lines) == 1 else ["%s has %d lines; the firmware reads one" % (path, len(lines))]
    if not any(word.startswith("root=") for word in words):
        found.append(path + " names no root=")
    found += ["%s lacks %s" % (path, word) for word in wanted if word not in words]
    if wanted and "cgroup_disable=memory" in words:
        found.append(path + " has cgroup_disable=memory")
    return found


def room(path):
    """Bytes free where a path lies."""
    try:
        info = os.statvfs(path)
    except OSError:
        return 0
    return info.f_bavail * info.f_frsize


def failed_units():
    _, output, _ = run("systemctl", "--failed", "--no-legend", "--plain")
    return sorted(line.split()[0] for line in output.splitlines() if line.strip())


def deploy():
    """Who deploys to this host right now, as the guard has it; empty if nobody does."""
    info = dict(line.partition("=")[::2] for line in text(STATE + "/deploy/lock/info").splitlines())
    return "%s at %s since %s" % (info.get("who"), info.get("where"), info.get("since")) if info else ""


def look(words):
    """Print what is there."""
    write_holds()
    trouble = refresh() if "refresh" in words else ""
    running = os.uname().release
    newest = newest_kernel(running)
    wanted = (document(STATE + "/managed.json") or {}).get("cmdline", [])
    boots = [place for place in ("/boot/firmware", "/boot") if os.path.ismount(place)]
    found = {
        "boot": text("/proc/sys/kernel/random/boot_id").strip(),
        "kernel": running,
        "updates": simulated(),
        "download": download_size(),
        "held": held(),
        "refreshed": os.path.getmtime(REFRESHED) if os.path.exists(REFRESHED) else None,
        "refresh_problem": trouble,
        "reboot": reboot_reasons(running, newest, wanted),
        "start": start_problems(running, newest, wanted, "node" in words),
        "failed": failed_units(),
        "unfinished": run("dpkg", "--audit")[1].strip().splitlines()[:1],
        "free": room("/var/cache/apt/archives"),
        "free_boot": room(boots[0]) if boots else None,
        "deploy": deploy(),
        "patched": document(RECORD),
    }
    print("\n" + MARK + json.dumps(found))  # a shell that greets may have written before it


def working():
    return run("systemctl", "is-active", "--quiet", UNIT + ".service")[0] == 0


def install(name):
    """Start the work in a unit of its own; whoever asks again while it runs, or after it is done, starts nothing."""
    wanted = sys.stdin.read()
    said = document(RESULT) or {}
    if working() or (said.get("run") == name and said.get("code") == 0):
        return state(name)
    write(PINNED, wanted)
    write(RESULT, json.dumps({"run": name}))
    words = ["systemd-run", "--quiet", "--collect", "--no-ask-password", "--unit=" + UNIT, "--service-type=exec"]
    code, output, errors = run(*words, sys.executable, "-I", "-S", SELF, "work", name)
    if code:
        raise SystemExit("the unit %s does not start: %s" % (UNIT, last(errors or output)))
    return state(name)


def work(name):
    """Make the listed updates, and nothing but them."""
    code, said = 0, ""
    with open(LOG, "w", encoding="utf-8") as log:
        try:
            run("dpkg", "--configure", "-a")
            listed = set(text(PINNED).split())
            more = [row for row in simulated() if "%(name)s=%(after)s" % row not in listed]
            if more:
                code = EXTRA
                said = "more would change than was listed: " + ", ".join("%(name)s=%(after)s" % row for row in more[:5])
            else:
                environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive", NEEDRESTART_MODE="l")
                code = subprocess.call(
                    apt("-y", "-q", "upgrade", "--with-new-pkgs"),
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                )  # fmt: skip
        except SystemExit as error:
            code, said = 1, str(error)
    lines = [line for line in text(LOG).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg: error"))]
    write(RESULT, json.dumps({"run": name, "code": code, "said": said or last("\n".join(errors or lines))}))


def state(name):
    """Print how the work of a run goes."""
    alive = working()  # asked first: the result is written before the unit ends
    said = document(RESULT) or {}
    mine = said.get("run") == name
    code = said.get("code")
    found = {
        "running": alive,
        "mine": mine,
        "code": code if mine and code is not None else None,
        "said": said.get("said", ""),
        "line": last(text(LOG)) if alive else "",
    }
    print("\n" + MARK + json.dumps(found))


def main(words):
    """Do what the first word says."""
    os.makedirs(FOLDER, exist_ok=True)
    if words[0] == "look":
        look(words[1:])
    elif words[0] == "note":
        write(RECORD, sys.stdin.read())
        os.chmod(RECORD, 0o644)
        print("\n" + MARK + json.dumps({"at": time.time()}))
    else:
        {"install": install, "state": state, "work": work}[words[0]](words[1])


main(sys.argv[1:])
