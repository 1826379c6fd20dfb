#!/usr/bin/python3 -IS
"""Stands in for k3s where its binary cannot be had: the same command line, files and unit life, no Kubernetes.

server: reads /etc/rancher/k3s/config.yaml, makes tokens and kubeconfig, answers /readyz and takes nodes that show the
token. agent: joins with the token of its file, again and again until it is taken. kubectl get: asks the server here.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

VERSION = "v0.0.0"
ETC, VAR = Path("/etc/rancher/k3s"), Path("/var/lib/rancher/k3s/server")


def settings() -> dict[str, str]:
    """The scalars of the configuration."""
    lines = [
        line.partition(": ") for line in (ETC / "config.yaml").read_text().splitlines() if not line.startswith(" ")
    ]
    return {name: value.strip("'\"") for name, _, value in lines}


def notify() -> None:
    """Tell systemd that the service is ready (sd_notify)."""
    if place := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(b"READY=1", place.replace("@", "\0", 1))


def ask(host: str, port: int, question: dict[str, str]) -> dict[str, object]:
    """One question to a server."""
    with socket.create_connection((host, port), timeout=5) as one:
        one.sendall(json.dumps(question).encode() + b"\n")
        answer: dict[str, object] = json.loads(one.makefile().readline())
        return answer


def serve() -> None:
    """The first server: tokens, kubeconfig, then questions for ever."""
    said = settings()
    VAR.mkdir(parents=True, exist_ok=True)
    for name in ("token", "node-token"):
        if not (VAR / name).exists():
            (VAR / name).write_text(f"K10stand-in::{name}:{os.urandom(8).hex()}\n")
    nodes = VAR / "nodes.json"
    (ETC / "k3s.yaml").write_text(f"server: https://127.0.0.1:{said['https-listen-port']}\n")
    with socket.create_server(("0.0.0.0", int(said["https-listen-port"]))) as door:
        notify()
        while True:
            one, _ = door.accept()
            with one:
                question = json.loads(one.makefile().readline() or "{}")
                known = json.loads(nodes.read_text()) if nodes.exists() else {said["node-name"]: VERSION}
                if question.get("join"):
                    right = question["token"] == (VAR / "node-token").read_text().strip()
                    known |= {question["join"]: question["version"]} if right else {}
                    nodes.write_text(json.dumps(known))
                    answer: object = {"taken": right}
                else:
                    answer = {"nodes": known}
                one.sendall(json.dumps(answer).encode() + b"\n")


def join() -> None:
    """An agent: shows its token until it is taken, then stays."""
    said = settings()
    host, _, port = said["server"].removeprefix("https://").rpartition(":")
    token = Path(said["token-file"]).read_text().strip()
    while True:
        try:
            if ask(host, int(port), {"join": said["node-name"], "token": token, "version": VERSION})["taken"]:
                break
            print("not authorized", flush=True)
        except OSError as error:
            print(error, flush=True)
        time.sleep(1)
    while True:
        time.sleep(3600)


def kubectl(words: list[str]) -> int:
    """get --raw /readyz, and get node NAME -o name."""
    try:
        nodes = ask("127.0.0.1", int(settings()["https-listen-port"]), {})["nodes"]
    except OSError:
        return 1
    if "--raw" in words:
        print("ok")
        return 0
    print(f"node/{words[2]}" if words[2] in str(nodes) else "not found")
    return 0 if words[2] in str(nodes) else 1


if sys.argv[1] == "--version":
    print(f"k3s version {VERSION} (stand-in)")
elif sys.argv[1] == "kubectl":
    sys.exit(kubectl(sys.argv[2:]))
else:
    {"server": serve, "agent": join}[sys.argv[1]]()
