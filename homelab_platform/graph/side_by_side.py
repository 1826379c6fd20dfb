"""Hosts side by side: a run takes its steps one after the other, and a host's step is mostly waiting for the host.

Belongs here: beginning the work of a run's other hosts when the first one's step begins, each in a thread of its own,
and handing each result to its own step. A host begins once the hosts that it needs are done; if one of them failed it
is not tried, as Dagster skips its step too. Not here: what is done (assets.py, layers/hosts).
"""

import os
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState

T = TypeVar("T")
MOST = max(4, 2 * (os.cpu_count() or 1))
"""Hosts that are changed at once. Each takes an Ansible of some 100 MB on this machine."""


class NotTried(Exception):
    """Something that the asset needs failed, so it was not tried."""


@dataclass
class _Work(Generic[T]):
    future: Future[T] = field(default_factory=Future)
    messages: list[str] = field(default_factory=list)


class SideBySide(Generic[T]):
    """The work of runs that was begun ahead of its steps, by run and asset key. One instance for each process."""

    def __init__(self, most: int = MOST) -> None:
        self._slots = threading.Semaphore(most)
        self._runs: dict[str, dict[str, _Work[T]]] = {}

    def begin(self, run: str, states: Collection[DesiredState], work: Callable[[DesiredState, Say], T]) -> None:
        """Begin `work` for all of `states`, unless that was done for this run already.

        What a state depends on is waited for if it is among them. The threads end with the process: a person who
        stops a run does not wait for the slowest host.
        """
        if run in self._runs:
            return
        begun: dict[str, _Work[T]] = {state.key: _Work() for state in states}
        self._runs[run] = begun
        for state in states:
            needs = {key: begun[key].future for key in state.deps if key in begun}
            arguments = (begun[state.key], needs, state, work)
            threading.Thread(target=self._one, args=arguments, name=state.key, daemon=True).start()

    def messages(self, run: str, key: str) -> list[str]:
        """What the work of one asset has said so far."""
        return list(self._runs[run][key].messages)

    def result(self, run: str, key: str) -> T:
        """What became of one asset, once it is done. Raises what its work raised, or NotTried."""
        return self._runs[run][key].future.result()

    def _one(
        self, own: _Work[T], needs: Mapping[str, Future[T]], state: DesiredState, work: Callable[[DesiredState, Say], T]
    ) -> None:
        failed = [key for key, other in needs.items() if other.exception() is not None]
        if failed:
            own.future.set_exception(NotTried(f"{', '.join(failed)} failed"))
            return
        with self._slots:
            try:
                own.future.set_result(work(state, own.messages.append))
            except BaseException as error:  # noqa: BLE001 (it is raised where the result is asked for)
                own.future.set_exception(error)
