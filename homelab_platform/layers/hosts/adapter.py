"""`host/<name>`: look, compare, change under guard, health, confirm; the same for every kind of system.

Belongs here: the order of a deploy, and which way a host goes. Not here: how one way looks and changes
(debian.py, nixos.py), the guard (deploy.py), what differs (state.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Protocol

from homelab_platform.apply.adapter import Answering, Exhibit, Observation
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import HostAccess, Task
from homelab_platform.layers.hosts.debian import DebianWay
from homelab_platform.layers.hosts.deploy import Deploy
from homelab_platform.layers.hosts.fanout import SIDE_BY_SIDE, Fanout
from homelab_platform.layers.hosts.nixos import NixosWay
from homelab_platform.layers.hosts.state import HostLook, State, intrusions, unhealthy
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import name_of
from homelab_platform.plan.specs import read
from homelab_platform.tools import who
from homelab_platform.tools.host.presence import answering_port
from homelab_platform.tools.ssh.client import Ssh, knock, opened
from homelab_platform.tools.ssh.errors import NoAnswer
from homelab_platform.tools.ssh.target import Target
from homelab_platform.wire.json_types import Document

ANSWER_WITHIN = 4.0
"""Seconds for the first word of a host's SSH server."""
_KNOCK = (22, 443, 80, 445, 2049, 53)
"""Ports by which a machine that we do not configure may show that it is up."""


class Way(Protocol):
    """How one kind of system is looked at and changed."""

    kind: str

    def setup(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """What identifies the programs that set a host up: a change of it runs them again."""

    def look(self, ssh: Ssh, *, fresh: bool = False, health: bool = False) -> HostLook:
        """What the host is like now; `fresh` opens a connection of its own, `health` asks its own checks too."""

    def change(self, ssh: Ssh, task: Task) -> str:
        """Bring the host to the task's state under the guard; returns what was done in a line."""

    def claims(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """What a change may write, in the guard's words; empty where undoing needs none."""
        ...

    def logins(self, ssh: Ssh, lab: ResolvedLab, host: ResolvedHost) -> list[str]:
        """Who of the lab's people cannot log in, and why; empty if all can, or the way does not ask."""
        ...

    def kept(self, state: State) -> State:
        """The state that a healthy host will have once it is confirmed, which itself may change it."""
        ...


class HostAdapter:
    """The hosts of one lab, reached by SSH. Safe to use from several threads, one host each."""

    def __init__(self, lab: ResolvedLab, access: HostAccess, nixos: Way | None = None) -> None:
        self.lab = lab
        self.access = access
        self._debian = DebianWay()
        self._nixos: Way = nixos or NixosWay()

    def probe(self, desired: DesiredState) -> Observation:
        """What the host runs, compared with what was confirmed there; one round trip.

        Raises Unreachable if it does not answer.
        """
        host = self._host(desired.key, desired.document)
        if host.os == "external":
            return self._seen(host, desired)
        way = self._way(host)
        # A connection of its own: a shared one would take its time to notice that the host is gone, and stay behind.
        return way.look(self._ssh(host), fresh=True).observation(self._setup(way, host))

    def probe_all(self, desired: Iterable[DesiredState]) -> dict[str, Observation | HomelabError]:
        """Look at many hosts side by side: about as long as the slowest that answers; silent ones are Unreachable."""
        states = {state.key: state for state in desired}
        fanout = Fanout(lambda key, seconds: self._is_there(states[key], seconds), lambda key: self.probe(states[key]))
        return fanout.round(states, lambda key: self._silent(states[key]))

    def _is_there(self, desired: DesiredState, seconds: float) -> bool:
        """Whether its machine answers at all; taken for granted where another one lies in between."""
        host = self._host(desired.key, desired.document)
        if host.os == "external":
            return answering_port(self._elsewhere(host).address, _KNOCK, seconds) is not None
        if any("Proxy" in word or word.startswith("-J") for word in self.access.ssh.options):
            return True
        try:
            target = self._target(host)
        except HomelabError:
            return True  # looking at it says what is wrong
        return answering_port(target.address, (target.port,), seconds) is not None

    def _silent(self, desired: DesiredState) -> HomelabError:
        host = self._host(desired.key, desired.document)
        where = (self._elsewhere(host) if host.os == "external" else self._target(host)).where
        return NoAnswer.of(
            where, "does not answer", "Is it switched on and in the network? It is skipped, and asked again later."
        )

    def answering(self, desired: Iterable[DesiredState]) -> dict[str, Answering]:
        """Ask many hosts at once whether they are there: a word from their SSH server, no login."""
        states = list(desired)
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, max(1, len(states)))) as pool:
            return dict(zip((s.key for s in states), pool.map(self._answers, states), strict=True))

    def _answers(self, desired: DesiredState) -> Answering:
        host, began = self._host(desired.key, desired.document), time.monotonic()
        try:
            if host.os == "external":
                self._seen(host, desired)
            else:
                knock(self._target(host), ANSWER_WITHIN)
        except HomelabError as error:
            return Answering(False, said=error.problems[0].what, remedy=error.problems[0].remedy)
        return Answering(True, time.monotonic() - began)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Bring the host to `desired`, or leave it as it was.

        Raises Locked if somebody else deploys to it, RolledBack with reason and log if the change failed or the host
        was not healthy afterwards, Unreachable if it does not answer before anything was changed.
        """
        host = self._host(desired.key)
        if host.os == "external":
            raise HomelabError.of(desired.key, "is not installed by the platform", "Look after it where it stands.")
        way = self._way(host)
        self.access.secret_values(host)  # one that leads nowhere is found out before anything is touched
        with opened(self._target(host), self.access.ssh) as ssh, self._deploy(ssh, way, host) as deploy:
            before = way.look(ssh)
            refuse_intruders(ssh.target.where, before)
            deploy.begin(before)
            say("saved what is there; it undoes the change by itself unless it is confirmed")
            failed = self._bring(deploy, before, desired, say)
            if failed:
                raise deploy.undo(failed, say)
        say("healthy, confirmed over a new connection")

    def _deploy(self, ssh: Ssh, way: Way, host: ResolvedHost) -> Deploy:
        return Deploy(ssh, self.access, way.kind, way.claims(self.lab, host))

    def _bring(self, deploy: Deploy, before: HostLook, desired: DesiredState, say: Say) -> str:
        """Change, health, confirmation; the reason to undo it, empty if there is none."""
        host = self._host(desired.key)
        way = self._way(host)
        try:
            failed = way.change(deploy.ssh, Task(self.lab, host, self.access, deploy.token, say))
            if failed:
                return failed
            look = _patiently(lambda: way.look(deploy.ssh, fresh=True, health=True), self.access.confirm_within / 2)
            ill = [*unhealthy(look, before), *way.logins(deploy.ssh, self.lab, host)]
            if ill:
                return "; ".join(ill[:5])
            deploy.confirm(self._applied(way, host, look, desired))
        except Unreachable as error:
            return f"it {error.problems[0].what} after the change"
        except HomelabError as error:
            return "; ".join(problem.what for problem in error.problems)
        return ""

    def _applied(self, way: Way, host: ResolvedHost, look: HostLook, desired: DesiredState) -> dict[str, object]:
        return {
            "fingerprint": desired.fingerprint,
            "setup": self._setup(way, host),
            "state": way.kept(look.state),
            "lab": self.lab.name,
            "host": host.name,
            "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "by": f"{who.person()} at {who.machine()}",
            "commit": self.access.commit,
        }

    def _setup(self, way: Way, host: ResolvedHost) -> str:
        """What the host is set up with beside the lab's document: the roles or modules, and which password."""
        marks = [self.access.broker_mark(host), self.access.secret_marks(host, self.lab.secrets)]
        return " ".join([way.setup(self.lab, host), *filter(None, marks)])

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Let go of a host that left the lab: what runs there stays, but it is no longer ours to put back."""
        host = self._host(key, document)
        if host.os == "external":
            return
        forget = "rm -f /var/lib/homelab/applied.json"
        self._ssh(host).run(forget, fresh=True, doing="letting go of the host")
        say("is no longer looked after; what runs there was left as it is")

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """A host has no daily work."""
        return ()

    def _host(self, key: str, document: Document | None = None) -> ResolvedHost:
        """The host of the lab, or what `document` knows of one that left it."""
        known = self.lab.hosts.get(name_of(key))
        if known is not None:
            return known
        if not document:
            raise HomelabError.of(key, "the lab has no such host")
        return read(ResolvedHost, {"role": "", "cpu": 0, "memory": 0, **document})

    def _way(self, host: ResolvedHost) -> Way:
        tool = host.settings.get("configured_by") or ("nix" if host.os == "nixos" else "ansible")
        ways = {"nix": self._nixos, "ansible": self._debian}
        if tool not in ways:
            raise HomelabError.of(
                f"host/{host.name}",
                f"is configured by {tool}, which the platform does not run",
                "Say configured_by: ansible at the host, or tooling.configuration: ansible for all.",
            )
        return ways[tool]

    def _target(self, host: ResolvedHost) -> Target:
        return self.access.target(self.lab, host)

    def _ssh(self, host: ResolvedHost) -> Ssh:
        return Ssh(self._target(host), self.access.ssh)

    def _elsewhere(self, host: ResolvedHost) -> Target:
        """Where a machine that we do not configure is found."""
        return Target(host.name, self.access.addresses.get(host.name) or host.address or host.name)

    def _seen(self, host: ResolvedHost, desired: DesiredState) -> Observation:
        """A machine that others look after: it is as it should be when it is there."""
        target = self._elsewhere(host)
        port = answering_port(target.address, _KNOCK, ANSWER_WITHIN)
        if port is not None:
            return Observation(True, desired.fingerprint, facts={"answers": f"on port {port}"})
        raise Unreachable.of(target.where, "does not answer", "Is it switched on and in the network?")


def refuse_intruders(where: str, look: HostLook) -> None:
    """Raises HomelabError if there are ways to become root that came since the last deploy, by whatever hand.

    A deploy would confirm the host as it is, and they would read as in order from then on.
    """
    ways = list(intrusions(look))
    if ways:
        raise HomelabError.of(
            where,
            f"has ways to become root that the last deploy did not find: {', '.join(ways[:5])}",
            "Remove what is not yours (userdel, rm). To take all of it as given: sudo rm "
            "/var/lib/homelab/applied.json at the host, then apply again.",
        )


def _patiently(look: Callable[[], HostLook], seconds: float) -> HostLook:
    """Look again while the host does not answer: one connection that breaks is no reason to undo a deploy."""
    until = time.monotonic() + seconds
    while True:
        try:
            return look()
        except Unreachable:
            if time.monotonic() + 1 > until:
                raise
            time.sleep(1)
