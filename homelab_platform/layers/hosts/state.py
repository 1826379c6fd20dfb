"""What a look at a host found, and how that differs from what was applied there.

Belongs here: the value, and comparing. Not here: looking (debian.py, nixos.py).

A host carries `applied.json`: the fingerprint that it was brought to, and the state of everything that is looked after
there (files, packages, units, accounts, firewall) as it was when that was confirmed. A look takes the same state anew.
So "nothing to do" is never taken from the fingerprint alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from homelab_platform.apply.adapter import Observation

State = Mapping[str, Mapping[str, object]]
"""kind → name → what it is. Kinds are file, link, package, unit, account, firewall, mount, swap, held, effective, root,
system."""

_MOST_LINES = 20


@dataclass(frozen=True)
class HostLook:
    """What one look found. `deploy` is what the guard says; `answers` of exporters only where they were asked."""

    applied: Mapping[str, Any] | None
    state: State
    failed: tuple[str, ...] = ()
    guard: str | None = None
    deploy: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def observation(self, setup: str) -> Observation:
        """The look as the graph takes it; `setup` is the digest of what would be used to change the host."""
        applied = self.applied or {}
        return Observation(
            exists=bool(applied),
            fingerprint=str(applied.get("fingerprint", "")),
            differences=tuple(differences(applied, self.state, setup)) if applied else (),
            facts=dict(self.facts),
        )


def differences(applied: Mapping[str, Any], now: State, setup: str) -> Iterator[str]:
    """Lines that say where a host is not as it was when its deploy was confirmed."""
    found = list(_differences(applied.get("state") or {}, now))
    was, _, password = str(applied.get("setup") or "").partition(" ")
    roles, _, wanted = setup.partition(" ")
    if password != wanted:
        found.insert(0, "was given another password for the broker than it has there now")
    if was != roles:
        found.insert(0, "was set up by other roles than there are now")
    yield from found[:_MOST_LINES]
    if len(found) > _MOST_LINES:
        yield f"and {len(found) - _MOST_LINES} more"


def _differences(then: State, now: State) -> Iterator[str]:
    for kind in sorted({*then, *now}):
        before, after = then.get(kind, {}), now.get(kind, {})
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                yield _line(kind, name, before.get(name), after.get(name))


def _line(kind: str, name: str, then: object, now: object) -> str:
    wording = _WORDING.get(kind)
    said = wording(name, then, now) if wording else None
    return said or f"{kind} {name}: {then or 'not there'} → {now or 'not there'}"


def _file_line(name: str, then: object, now: object) -> str:
    if now is None:
        return f"{name} is gone"
    same_content = then and len(str(then).split()) > 1 and str(then).split()[-1] == str(now).split()[-1]
    return f"{name}: mode or owner was changed at the host" if same_content else f"{name} was changed at the host"


def _account_line(name: str, then: object, now: object) -> str | None:
    return f"account {name} is gone" if now is None else f"account {name} is not of the lab" if then is None else None


def _effective_line(name: str, _then: object, now: object) -> str:
    lacks = str(now or "").partition("; ")[2]
    return f"{name}: not what was confirmed{f' ({lacks})' if lacks else ''}"


def _root_line(name: str, then: object, now: object) -> str:
    change = "is new" if then is None else "is gone" if now is None else "was changed"
    return f"a way to become root {change} at the host: {name}"


_WORDING: Mapping[str, Callable[[str, object, object], str | None]] = {
    "file": _file_line,
    "link": lambda name, _then, now: f"{name} is gone" if now is None else f"{name} was changed at the host",
    "firewall": lambda _name, _then, now: (
        "the firewall is not loaded" if now is None else "the firewall's rules in force are not those of the lab"
    ),
    "account": _account_line,
    "effective": _effective_line,
    "root": _root_line,
    "mount": lambda name, then, now: f"{name}: {then or 'nothing'} was mounted there, now {now or 'nothing'}",
    "held": lambda name, _then, now: (
        f"package {name} is {'held back from updates' if now else 'no longer held back from updates'}"
    ),
}


def unhealthy(look: HostLook, before: HostLook) -> Iterator[str]:
    """What is wrong with a host after a deploy: units, exporters, files that are missing, settings without effect."""
    for unit in look.failed:
        if unit not in before.failed:
            yield f"unit {unit} failed"
    for unit, state in look.state.get("unit", {}).items():
        if not str(state).startswith("active") and unit not in look.failed:
            yield f"unit {unit} is {state}"
    for package, state in look.state.get("package", {}).items():
        if state != "installed":
            yield f"package {package} is {state}"
    for name, state in look.state.get("effective", {}).items():
        if lacks := str(state).partition("; ")[2]:
            yield f"{name}: {lacks}"
    yield from _absent(look)
    for place, answer in look.answers.items():
        if answer != "HTTP 200":
            yield f"nothing answers at {place}: {answer}"


def _absent(look: HostLook) -> Iterator[str]:
    for kind in ("file", "link", "account", "firewall", "mount"):
        for name, state in look.state.get(kind, {}).items():
            if state is None:
                yield f"{kind} {name} is not there"


def intrusions(look: HostLook) -> Iterator[str]:
    """Ways to become root that came to the host since its last deploy. No role takes them away: a person decides."""
    if not look.applied:
        return
    before, now = (look.applied.get("state") or {}).get("root") or {}, look.state.get("root", {})
    for name in sorted(now) if before else ():
        if before.get(name) != now[name]:
            yield f"{name} ({'new' if name not in before else 'changed'})"
