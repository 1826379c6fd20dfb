"""The MQTT broker: Mosquitto from this system or from its distribution's package, as a process for the supervisor.

Belongs here: getting the program without installing it into the system, its settings, users and rights. Not here:
what is done with messages (agents/bridge/).
"""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import LOOPBACK, Say, silent
from homelab_platform.servers.install import apt, shared
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec

HOST = LOOPBACK
PACKAGE = "mosquitto"
PROGRAMS = ("usr/sbin/mosquitto", "usr/bin/mosquitto_passwd")
RECIPE = shared.Recipe("mosquitto", "2", f"the distribution's package {PACKAGE} and libraries that it lacks; 1")
MEMORY = 256 << 20
"""Bytes that messages may hold in memory while nobody fetches them. Beyond that it refuses new ones."""
LONGEST_MESSAGE = 1 << 20


@dataclass(frozen=True)
class MqttUser:
    """Somebody who may use the broker: topic filters that they may write and read (MQTT 5.0, section 4.7)."""

    name: str
    password: str = field(repr=False)
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def installed(progress: Say = silent) -> Path:
    """The folder below which `usr/sbin/mosquitto` lies: `/` when this system has it, else our own, filled if need be.

    Raises HomelabError when there is neither Mosquitto 2 nor a way to fetch its package.
    """
    return Path("/") if of_this_system() else shared.install(RECIPE, _build, progress)


def of_this_system() -> bool:
    """Whether this system has it already."""
    return all((Path("/") / program).exists() for program in PROGRAMS)


def _build(folder: Path, progress: Say) -> None:
    apt.unpack(PACKAGE, [folder / program for program in PROGRAMS], folder, progress)


def prepare(folder: Path, users: tuple[MqttUser, ...], port: int) -> None:
    """Write settings, password file and rights. Safe to repeat. Raises HomelabError when the program is unfit.

    A user reads and writes just the topics that they are told, and nobody comes in without a password. The queues
    are on disk after every second change: a kill of the broker loses the newest message at most, and only if the bridge
    has not fetched it yet (Mosquitto acknowledges before it saves; an orderly stop loses nothing).
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "data").mkdir(exist_ok=True)
    passwords = _write_secret(folder / "passwords", "".join(f"{user.name}:{user.password}\n" for user in users))
    _hash_passwords(passwords)
    rights = _write_secret(folder / "rights", "\n".join(_rights(user) for user in users))
    for written in (passwords, rights):  # in one step: a running broker may read them at any moment
        written.replace(folder / written.name.partition(".")[0])
    settings = {
        "listener": f"{port} {HOST}",
        "allow_anonymous": "false",
        "password_file": folder / "passwords",
        "acl_file": folder / "rights",
        "persistence": "true",
        "persistence_location": f"{folder / 'data'}/",
        "autosave_on_changes": "true",
        "autosave_interval": 1,
        "max_queued_messages": 0,  # no limit but the memory: a message over a limit would vanish after its PUBACK
        "memory_limit": MEMORY,
        "max_packet_size": LONGEST_MESSAGE,
        "persistent_client_expiration": "2m",  # two months
        "log_dest": "stderr",
        "log_type": "error\nlog_type warning",
        **({"user": "root"} if os.geteuid() == 0 else {}),  # else it changes to a user who cannot read these files
    }
    (folder / "mosquitto.conf").write_text(
        "# Written by homelab at every start.\n" + "".join(f"{name} {value}\n" for name, value in settings.items())
    )


def _rights(user: MqttUser) -> str:
    lines = [f"user {user.name}", *(f"topic write {topic}" for topic in user.writes)]
    return "\n".join([*lines, *(f"topic read {topic}" for topic in user.reads)]) + "\n"


def _write_secret(file: Path, text: str) -> Path:
    """Write a file beside `file`, for the owner's eyes only, and return it."""
    beside = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    return beside


def _hash_passwords(file: Path) -> None:
    """Have the passwords in the file replaced by their hashes; as arguments anybody here could read them."""
    root = installed()
    done = subprocess.run(
        [str(root / PROGRAMS[1]), "-U", str(file)],
        env=os.environ | apt.libraries(root),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        file.unlink(missing_ok=True)
        raise HomelabError.of("Mosquitto", f"passwords could not be stored: {(done.stderr or done.stdout).strip()}")


def process(folder: Path, port: int) -> ProcessSpec:
    """The broker as the supervisor runs it."""
    root = installed()
    return ProcessSpec(
        name="mqtt",
        command=(str(root / PROGRAMS[0]), "-c", str(folder / "mosquitto.conf")),
        folder=str(folder),
        environment=apt.libraries(root),
        port=port,
        health=Health((Answer(port, ""),)),
        stop_timeout=10,
    )
