"""Patch: one host brought up to date, its pods moved away first, and let back once it is healthy.

Belongs here: the steps of the procedure, and what must hold before and after. Not here: apt and systemd
(layers/patches), nodes and pods (tools/kube/nodes.py), in which order hosts come (patch_night.py).

The cordon is recorded before it is made and carries the run's id, so that whatever happens to this process the run, the
next one, or the sweep takes back exactly that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.patches.facts import HostFacts, PatchRecord, Update
from homelab_platform.layers.patches.machine import Machine
from homelab_platform.names import Say
from homelab_platform.operations.journal import Outcome, ProcedureRecord
from homelab_platform.operations.patch_plan import RESTART_SECONDS, Turn
from homelab_platform.operations.patch_site import Fleet, Nodes
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out

KIND = "patch"
LOOK, CORDON, DRAIN, INSTALL, START, REBOOT, HEALTH, UNCORDON, SETTLE, NOTE = (
    "look at the host",
    "cordon the node",
    "drain the node",
    "install the updates",
    "check that it can restart",
    "restart",
    "check its health",
    "uncordon the node",
    "wait for the workloads",
    "note it at the host",
)
LEAST_ROOM = 256 << 20
"""Bytes that must be free beyond twice what apt fetches."""
LEAST_BOOT_ROOM = 64 << 20
"""Bytes that must be free where the files that start the host lie, when a kernel or firmware changes."""
BOOT_PACKAGES = ("linux-image", "raspi-firmware", "raspberrypi-kernel", "raspberrypi-bootloader", "initramfs-tools")
SAVING = ("backup", "drill", "restore")
"""Kinds of procedures during which no host changes."""
BACKUP_SECONDS = 1800.0
POLL_SECONDS = 2.0
SHOWN = 5


@dataclass(frozen=True)
class PatchResult:
    """What came of one host: whether anything was due, how many updates, whether it restarted, what it still lacks."""

    run: str
    updates: int
    rebooted: bool
    note: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """The result as the journal keeps it."""
        return {"run": self.run, "updates": self.updates, "rebooted": self.rebooted, "note": self.note}


def subject_of(host: str) -> str:
    """What patching a host locks."""
    return f"host/{host}"


def patch_host(fleet: Fleet, turn: Turn, say: Say) -> PatchResult:
    """Bring one host up to date, or go on where a dead process stopped.

    Raises HomelabError if something that must hold does not; its node is then as it was before, if it was reached.
    """
    with fleet.holding(turn.host, say), fleet.machine(turn.host) as machine:
        work = _Patch(fleet, turn, machine, say)
        return work.result(carry_out(fleet.journal, work.procedure(), say, patience=fleet.patience))


class _Patch:
    """The steps of patching one host."""

    def __init__(self, fleet: Fleet, turn: Turn, machine: Machine, say: Say) -> None:
        self.fleet, self.turn, self.machine, self.say = fleet, turn, machine, say
        self.where = subject_of(turn.host)
        self.clock = fleet.clock

    def procedure(self) -> Procedure:
        """The procedure as a whole."""
        return Procedure(KIND, self.where, self._steps, undo=self._undo)

    def _steps(self, run: str) -> Sequence[Step]:
        def when(wanted: Callable[[Outcome], JsonValue], work: Callable[[Outcomes], Outcome]) -> Callable[..., Outcome]:
            return lambda done: work(done) if wanted(done[LOOK]) else {}

        def due(look: Outcome) -> JsonValue:
            return look["due"]

        def moving(look: Outcome) -> JsonValue:
            return look["due"] and look["drain"]

        return [
            Step(LOOK, lambda _done: self._look()),
            Step(CORDON, when(moving, lambda _done: self._cordon(run))),
            Step(DRAIN, when(moving, lambda _done: self._drain(run))),
            Step(INSTALL, when(due, lambda done: self._install(run, done))),
            Step(START, when(due, lambda _done: self._check_start())),
            Step(REBOOT, when(due, self._reboot)),
            Step(HEALTH, when(due, self._check_health)),
            Step(UNCORDON, when(moving, lambda _done: self._uncordon(run))),
            Step(SETTLE, when(due, self._settle)),
            Step(NOTE, lambda done: self._note(run, done)),
        ]

    def _undo(self, run: str) -> None:
        """Take back the cordon of a run; nothing else of it is half done."""
        if self.turn.node and self.fleet.nodes is not None:
            self.fleet.nodes().uncordon(self.turn.host, run)

    @property
    def _nodes(self) -> Nodes:
        if self.fleet.nodes is None:
            raise HomelabError.of(self.where, "is a node of a cluster that this site does not reach")
        return self.fleet.nodes()

    def _refusal(self, what: str, remedy: str = "") -> HomelabError:
        return HomelabError.of(self.where, what, remedy)

    # Before anything is changed

    def _look(self) -> Outcome:
        facts = self.machine.look(refresh=True)
        self._require_host(facts)
        due = (
            bool(facts.updates) or self.turn.reboot == "always" or (bool(facts.reboot) and self.turn.reboot != "never")
        )
        outcome: dict[str, JsonValue] = {
            "due": due,
            "drain": False,
            "updates": [update.model_dump() for update in facts.updates],
            "held": list(facts.held),
            "boot": facts.boot,
            "failed": list(facts.failed),
            "unready": [],
            "kubelet_boot": False,
        }
        if not due:
            self.say("nothing is due")
            return outcome
        self._require_backups()
        self._wait_for_backups()
        if self.turn.node:
            outcome["drain"] = self._require_cluster()
            outcome["unready"] = list[JsonValue](sorted(self._nodes.unready()))
            outcome["kubelet_boot"] = self._nodes.states()[self.turn.host].boot == facts.boot
        self.say(f"updates: {', '.join(update.name for update in facts.updates[:SHOWN]) or 'none'}")
        return outcome

    def _require_host(self, facts: HostFacts) -> None:
        if facts.deploy:
            raise self._refusal(f"is being deployed to: {facts.deploy}", "Wait until that is done.")
        if facts.refresh_problem:
            raise self._refusal(
                f"its package archives do not answer: {facts.refresh_problem}", "At the host: sudo apt-get update."
            )
        need = 2 * facts.download + LEAST_ROOM
        if facts.updates and facts.free < need:
            raise self._refusal(
                f"{facts.free >> 20} MiB are free, the updates need {need >> 20} MiB",
                "Make room there: sudo apt-get clean; sudo journalctl --vacuum-size=50M.",
            )
        starts = any(update.name.startswith(BOOT_PACKAGES) for update in facts.updates)
        if starts and facts.free_boot is not None and facts.free_boot < LEAST_BOOT_ROOM:
            raise self._refusal(
                f"{facts.free_boot >> 20} MiB are free where its kernel lies, {LEAST_BOOT_ROOM >> 20} MiB are needed",
                "Remove old kernels there: sudo apt-get autoremove --purge.",
            )

    def _require_backups(self) -> None:
        unproven = self.fleet.unproven() if self.fleet.plan.backup_first else []
        if unproven:
            raise self._refusal(
                f"waits for proven backups: {'; '.join(unproven[:SHOWN])}",
                "homelab backup run; homelab drill. Or let it not wait: patching.backup_first: false.",
            )

    def _wait_for_backups(self) -> None:
        """Let what is being saved or restored end first: its target may be this very host."""
        until = self.clock.ticks() + BACKUP_SECONDS
        while busy := self.fleet.journal.alive(SAVING):
            self.say(f"waits for the {busy[0].kind} of {busy[0].subject}")
            if self.clock.ticks() >= until:
                raise self._refusal(
                    f"the {busy[0].kind} of {busy[0].subject} does not end within {BACKUP_SECONDS / 60:.0f} min",
                    "Move the window, or the plan below backups:, apart.",
                )
            self.clock.sleep(POLL_SECONDS * 5)

    def _require_cluster(self) -> bool:
        """Whether the node's pods can go elsewhere. Raises HomelabError if the cluster cannot spare the node."""
        states = self._nodes.states()
        if self.turn.host not in states:
            raise self._refusal("is no node of the cluster", "homelab apply makes it one.")
        down = sorted(name for name, state in states.items() if not state.ready and name != self.turn.host)
        if down:
            raise self._refusal(f"the cluster is short of {', '.join(down)} already", "Bring that back first.")
        others = any(state.takes_pods for name, state in states.items() if name != self.turn.host)
        if not others:
            self.say("no other node takes pods: they stay, and restart with it")
            return False
        obstacles = self._nodes.obstacles(self.turn.host, others=others)
        if obstacles:
            raise self._refusal(
                f"its pods would not leave: {'; '.join(obstacles[:SHOWN])}",
                "Give the workload another replica, or move it by hand; then run it again.",
            )
        return True

    # Pods leave

    def _cordon(self, run: str) -> Outcome:
        ours = self._nodes.cordon(self.turn.host, run)
        if not ours:
            self.say("is cordoned by somebody else; that cordon stays")
        return {"ours": ours}

    def _drain(self, run: str) -> Outcome:
        """Ask pods to leave until all have; a time-out ends the procedure, which uncordons the node."""
        self._nodes.cordon(self.turn.host, run)  # the sweep may have taken the cordon of a process that died
        until = self.clock.ticks() + self.turn.drain_timeout
        gone: set[str] = set()
        while True:
            left = self._nodes.to_leave(self.turn.host)
            if not left:
                return {"evicted": len(gone)}
            refused: dict[str, str] = {}
            for pod in left:
                gone.add(str(pod))
                why = "" if pod.leaving else self._nodes.evict(pod)
                if why:
                    refused[str(pod)] = why
                if self.clock.ticks() >= until:
                    break
            if self.clock.ticks() >= until:
                first = next(iter(refused.items()), None)
                why = f"{first[0]}: {first[1]}" if first else f"{left[0]} does not end"
                raise self._refusal(
                    f"{len(left)} pods did not leave within {self.turn.drain_timeout:.0f} s ({why})",
                    "It is uncordoned again, nothing was updated. Give the workload another replica, or raise "
                    "drain_timeout.",
                )
            self.clock.sleep(min(POLL_SECONDS, max(until - self.clock.ticks(), 0.0)))

    # The host changes

    def _install(self, run: str, done: Outcomes) -> Outcome:
        updates = _updates(done)
        if not updates:
            return {"updates": 0}
        self.machine.install(run, updates, self.say)
        return {"updates": len(updates)}

    def _check_start(self) -> Outcome:
        """Whether it needs a restart now; refused if it might not come up again."""
        self._boot(RESTART_SECONDS)
        facts = self.machine.look()
        if facts.updates:
            names = ", ".join(update.name for update in facts.updates[:SHOWN])
            self.say(f"not updated, because the list was made before: {names}")
        wanted = self.turn.reboot == "always" or (bool(facts.reboot) and self.turn.reboot == "when-needed")
        if wanted and facts.start:
            raise self._refusal(
                f"was updated but not restarted, because it might not come up: {'; '.join(facts.start[:SHOWN])}",
                "Correct it at the host, then run it again.",
            )
        return {"restart": wanted, "reasons": list(facts.reboot)}

    def _reboot(self, done: Outcomes) -> Outcome:
        if not done[START]["restart"]:
            return {"rebooted": False}
        before = str(done[LOOK]["boot"])
        if self._boot(RESTART_SECONDS) == before:
            reasons = done[START]["reasons"]
            self.say(f"restarts: {', '.join(map(str, reasons)) if isinstance(reasons, list) and reasons else 'always'}")
            self.machine.reboot()
        return {"rebooted": True, "boot": self._boot(RESTART_SECONDS, other_than=before)}

    def _boot(self, seconds: float, *, other_than: str = "") -> str:
        """The id of its boot, once it answers and has another one. Raises HomelabError if not within `seconds`."""
        until, why = self.clock.ticks() + seconds, "it has not restarted"
        while True:
            try:
                boot = self.machine.boot()
                if boot != other_than:
                    return boot
            except Unreachable as error:
                why = error.problems[0].what
            if self.clock.ticks() >= until:
                raise self._refusal(
                    f"does not come back within {seconds:.0f} s: {why}",
                    "Go and look at its console. The rest of the hosts is left as it was.",
                )
            self.clock.sleep(POLL_SECONDS)

    # It is healthy, and stays so

    def _check_health(self, done: Outcomes) -> Outcome:
        before = done[LOOK]["failed"]
        failed = [str(unit) for unit in before] if isinstance(before, list) else []
        boot = self._boot(RESTART_SECONDS)
        self._wait(lambda: self.machine.ailments(failed), RESTART_SECONDS / 2, "is not healthy")
        if self.turn.node and "node-ready" in self.fleet.plan.health:
            reported = self._kubelet_boot(done, boot)
            self._wait(lambda: self._node_lacks(reported), RESTART_SECONDS, "its node is not ready")
        return {"boot": boot}

    def _kubelet_boot(self, done: Outcomes, boot: str) -> str:
        """The boot that the kubelet must report; empty where it never reported the host's own (some containers)."""
        return boot if done[LOOK]["kubelet_boot"] else ""

    def _node_lacks(self, boot: str) -> list[str]:
        """Why the node does not count as back: Ready of before the restart is no answer."""
        state = self._nodes.states().get(self.turn.host)
        if state is None:
            return ["the cluster has no such node"]
        if boot and state.boot != boot:
            return ["its kubelet has not reported since the restart"]
        return [] if state.ready else ["it is NotReady"]

    def _wait(self, lacks: Callable[[], list[str]], seconds: float, fault: str) -> None:
        """Ask until nothing is lacking. Raises HomelabError with what is after `seconds`."""
        until = self.clock.ticks() + seconds
        while True:
            try:
                found = lacks()
            except Unreachable as error:  # the API server may be on this very host
                found = [error.problems[0].what]
            if not found:
                return
            if self.clock.ticks() >= until:
                raise self._refusal(f"{fault} after the update: {'; '.join(found[:SHOWN])}", "Look at it there.")
            self.clock.sleep(POLL_SECONDS)

    def _uncordon(self, run: str) -> Outcome:
        return {"uncordoned": self._nodes.uncordon(self.turn.host, run)}

    def _settle(self, done: Outcomes) -> Outcome:
        """Workloads that were whole before are whole again, and the host stays healthy for as long as the lab says."""
        known = done[LOOK]["unready"]
        before = {str(name) for name in known} if isinstance(known, list) else set()
        checks = self.fleet.plan.health
        if self.turn.node and "workloads" in checks:
            self._wait(
                lambda: sorted(self._nodes.unready() - before), RESTART_SECONDS, "workloads do not come back whole"
            )
        until = self.clock.ticks() + self.turn.settle
        boot = str(done[HEALTH]["boot"])
        reported = self._kubelet_boot(done, boot)
        while self.clock.ticks() < until:
            self.clock.sleep(min(POLL_SECONDS * 5, max(until - self.clock.ticks(), 0.0)))
            if self._boot(POLL_SECONDS * 15) != boot:
                raise self._refusal("restarted by itself after the update", "Look at journalctl --boot=-1 there.")
            if self.turn.node and "node-ready" in checks:
                self._wait(lambda: self._node_lacks(reported), POLL_SECONDS * 15, "its node is not ready")
        return {}

    def _note(self, run: str, done: Outcomes) -> Outcome:
        result = self._result(run, done)
        self.machine.note(PatchRecord(run=run, at=self.clock.now(), updates=result.updates, rebooted=result.rebooted))
        return {"note": result.note}

    def result(self, record: ProcedureRecord) -> PatchResult:
        """What the finished procedure did."""
        return self._result(record.run, record.outcomes)

    def _result(self, run: str, done: Outcomes) -> PatchResult:
        start = done.get(START) or {}
        waiting = bool(start.get("reasons")) and not start.get("restart")
        updates = int(str((done.get(INSTALL) or {}).get("updates") or 0))
        rebooted = bool((done.get(REBOOT) or {}).get("rebooted"))
        return PatchResult(run, updates, rebooted, "needs a restart, the lab says never" if waiting else "")


def _updates(done: Outcomes) -> list[Update]:
    rows = done[LOOK]["updates"]
    return [Update.model_validate(row) for row in rows] if isinstance(rows, list) else []
