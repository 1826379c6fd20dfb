"""The process that a lab hangs on: it starts the lab, watches who uses it, and clears everything away in the end.

Belongs here: the life of one lab as a whole. It runs outside the lab's namespaces in a session of its own, so the end
of the process that asked for the lab, however it ends, is not its end. When it is killed itself, the kernel ends the
lab's processes and with them their namespaces, mounts and links; the control groups and the folder that stay are
removed by the next start (`sweep`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise import launch, processes
from homelab_platform_tests.testlab import cgroups, store, watches
from homelab_platform_tests.testlab.hosts import Place
from homelab_platform_tests.testlab.space import UNSHARE

LOOK = 0.3  # seconds between looks at who uses the lab


class Guardian:
    """One lab's life."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._ending = False

    def work(self) -> None:
        """Start the lab's first process; return once nobody uses the lab and nothing is left of it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        log = (self._place.folder / "lab.log").open("ab")
        group = cgroups.top(self._place.id)
        with log:
            inside = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", *UNSHARE, "--net", *self._place.space.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/root"},
                preexec_fn=lambda: cgroups.join(f"{group}/lab"),  # noqa: PLW1509  (this process has one thread)
            )
        cgroups.prefer(self._place.id)
        while not self._ending and inside.poll() is None and store.used(self._place.folder):
            time.sleep(LOOK)
        if inside.poll() is None:
            inside.kill()
        inside.wait()
        clear(self._place)
        # whoever ends a lab while holding the lock waits for us; then the next sweep gives it back
        with suppress(HomelabError), launch.exclusive(store.home() / ".lock", timeout=5):
            watches.give_back()

    def _end(self, *_args: object) -> None:
        self._ending = True


def clear(place: Place) -> None:
    """Remove what the lab left: its processes are dead or dying."""
    for _ in range(3):
        for pid in cgroups.members(place.id):
            processes.send(pid, signal.SIGKILL)
        if cgroups.remove(place.id, 5):
            break
    link = Path("/sys/class/net") / place.outside_link
    if not processes.wait_until(lambda: not link.exists(), 5):
        subprocess.run(["ip", "link", "delete", place.outside_link], check=False, capture_output=True)
    processes.wait_until(lambda: _removed(place.folder), 10)
    place.folder.with_name(f".{place.id}.boot").unlink(missing_ok=True)


def _removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def launch_guardian(place: Place) -> None:
    """Start the guardian of a prepared lab, and wait until the lab's first process runs.

    Raises HomelabError with the end of its log when it does not come up.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    with (place.folder / "guardian.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "homelab_platform_tests.testlab.guardian", str(place.folder)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )
    _CHILDREN.append(process)
    come_up = processes.wait_until(lambda: process.poll() is not None or place.space.pid() is not None, 20)
    if not come_up or process.poll() is not None:
        end = "\n      ".join(launch.tail(place.folder / "guardian.log", 6) + launch.tail(place.folder / "lab.log", 6))
        raise HomelabError.of(f"test lab {place.id}", "did not start", f"Its log ends:\n      {end}")


_CHILDREN: list[subprocess.Popen[bytes]] = []  # kept so that ended ones are reaped instead of warned about


def reap() -> None:
    """Collect ended guardians that this process started."""
    _CHILDREN[:] = [process for process in _CHILDREN if process.poll() is None]


def sweep() -> list[str]:
    """Clear away labs whose guardian is dead; returns their ids."""
    swept = []
    for place in store.all_labs():
        if store.guardian_of(place.folder) is None and store.abandoned(place.folder):
            clear(place)
            swept.append(place.id)
    watches.give_back()
    return swept


def main() -> int:
    """Guard the lab of the folder named on the command line."""
    folder = Path(sys.argv[1])
    place = store.load(folder)
    store.claim(folder)
    Guardian(place).work()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
