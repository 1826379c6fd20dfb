"""`backup/<name>`: an item that is saved by a plan; its targets, its fingerprint there, and the backup itself.

Belongs here: observing and making what a backup needs before it can run. Not here: the backup (operations/backup.py),
which is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import Unreachable
from homelab_platform.files import write_whole
from homelab_platform.layers.backups.records import IDENTITY
from homelab_platform.layers.backups.targets import Target, WrongTargetKey, answers
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.wire.json_types import Document

PLANS = "plans"
Work = Callable[[DesiredState, Mapping[str, str], Say], Iterable[Exhibit]]


class PlanAdapter:
    """Backups or drills: each leaves its plan with its fingerprint at the site's own target, the first of `targets`.

    `protects` is the folder of what is saved; `work` does what such an asset does when it is run.
    """

    def __init__(self, targets: Callable[[], Sequence[Target]], protects: Path, work: Work) -> None:
        self._targets = targets
        self._protects = protects
        self._work = work

    def probe(self, desired: DesiredState) -> Observation:
        """Look at the plan that lies at the site's own target. Raises HomelabError for a wrong key."""
        own = self._targets()[0]
        file = _file(own, desired.key)
        if not answers(own.folder / IDENTITY) or not answers(file):
            return Observation(exists=False)
        own.identity()
        found = orjson.loads(file.read_bytes())
        facts = {"target": str(own.folder), "worth": own.note} if own.note else {"target": str(own.folder)}
        return Observation(exists=True, fingerprint=str(found["fingerprint"]), facts=facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make the targets that are not there yet, and leave the plan. A lab's target that is out of reach, or that was
        made with another key, is left: each backup names it.
        """
        own, *others = self._targets()
        own.establish(self._protects)
        for target in others:
            try:
                target.establish(self._protects)
            except (Unreachable, WrongTargetKey) as error:
                say(f"{target.name} is left for later: {error.problems[0].what}")
        document = {"fingerprint": desired.fingerprint, "document": desired.document}
        write_whole(_file(own, desired.key), orjson.dumps(document, option=orjson.OPT_INDENT_2))

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Take the plan away; the snapshots stay."""
        _file(self._targets()[0], key).unlink(missing_ok=True)
        say("the plan is gone; its snapshots stay at their targets")

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Save the item, or prove it."""
        yield from self._work(desired, request, say)


def _file(target: Target, key: str) -> Path:
    return target.folder / PLANS / f"{key.replace('/', '-')}.json"
