"""What a look at a host found that matters for patching it.

Belongs here: typed values, and reading them from what tools/host/updates.py prints. Not here: asking (machine.py), or
what must hold (operations/patch.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from homelab_platform.errors import HomelabError

MARK = b"homelab-updates:"


class Value(BaseModel):
    """A frozen value; what a newer program on the host adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Update(Value):
    """A package that changes: `before` is empty for a new one."""

    name: str
    before: str = ""
    after: str

    @property
    def pin(self) -> str:
        """The package and its version as apt writes them."""
        return f"{self.name}={self.after}"

    def __str__(self) -> str:
        return f"{self.name} {self.before or 'new'} → {self.after}"


class PatchRecord(Value):
    """What lies at a host after it was patched: by which run and when, how many updates, and whether it restarted."""

    run: str
    at: datetime
    updates: int
    rebooted: bool


class HostFacts(Value):
    """A host: `boot` is the id of its boot, `download` and the free room are bytes (`free_boot`: None where the files
    that start it lie on its only disk), `refreshed` seconds since 1970, `reboot` why it needs a restart, `start` why it
    might not come up again, `failed` its failed units, `deploy` who deploys to it.
    """

    boot: str
    kernel: str
    updates: tuple[Update, ...] = ()
    download: int = 0
    held: tuple[str, ...] = ()
    refreshed: float | None = None
    refresh_problem: str = ""
    reboot: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    free: int = 0
    free_boot: int | None = None
    deploy: str = ""
    patched: PatchRecord | None = None


class Installing(Value):
    """How the work of a run goes: `code` is None until it ends, `mine`: the host's last work was this run's."""

    running: bool
    mine: bool
    code: int | None = None
    said: str = ""
    line: str = ""


def read_facts(where: str, output: bytes) -> HostFacts:
    """The facts in what the program printed. Raises HomelabError if they are not whole."""
    return _document(where, output, HostFacts)


def read_installing(where: str, output: bytes) -> Installing:
    """The state of the work in what the program printed. Raises HomelabError if it is not whole."""
    return _document(where, output, Installing)


T = TypeVar("T", bound=Value)


def _document(where: str, output: bytes, kind: type[T]) -> T:
    try:
        return kind.model_validate_json(output.rpartition(MARK)[2])
    except ValidationError:
        shown = output.decode("utf-8", "replace").strip()[-200:] or "nothing"
        raise HomelabError.of(
            where,
            f"asking for its updates brought no answer but: {shown}",
            "Something there writes or ends when root's shell starts: look at /root/.bashrc and /root/.profile.",
        ) from None
