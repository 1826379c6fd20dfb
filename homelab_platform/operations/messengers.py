"""The ways by which a lab's people hear of trouble, as its file says them.

Belongs here: from `alerts:` to channels that send a notice, and the dead-man's switch. Not here: when (alerts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.lab.model.operations import Alerts
from homelab_platform.operations.alerts import Notice, Trouble
from homelab_platform.secrets.values import reveal
from homelab_platform.tools import notify

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

OWN_SERVER = "localhost:25"
"""Who takes e-mail where the lab names no server: this machine's own, if it has one."""


@dataclass(frozen=True)
class Channel:
    """A way to people. One that `wakes` them rests in quiet hours. `send` raises HomelabError if it was not taken."""

    name: str
    wakes: bool
    send: Callable[[Notice], None]


def alerts_of(lab: ResolvedLab) -> Alerts | None:
    """What the lab says of alerts; None if nothing."""
    said = lab.settings.get("alerts")
    return Alerts.model_validate(said) if said else None


def channels(lab: ResolvedLab, alerts: Alerts, folder: Path) -> Iterator[Channel]:
    """The lab's channels; references start from `folder` and are revealed when something is sent."""
    if alerts.email is not None:
        yield Channel("email", False, partial(_email, lab, alerts, folder))
    if alerts.ntfy is not None:
        yield Channel("ntfy", True, partial(_ntfy, alerts, folder))
    if alerts.webhook is not None:
        yield Channel("webhook", False, partial(_json, "webhook", alerts.webhook, folder))
    if alerts.home_assistant is not None:
        yield Channel("home_assistant", True, partial(_json, "home_assistant", alerts.home_assistant, folder))


def try_out(lab: ResolvedLab, alerts: Alerts, folder: Path) -> dict[str, str]:
    """Send a message of trial through every channel: what each said against it, empty for one that took it."""
    now = datetime.now(UTC)
    trial = Trouble(what="this is a trial, nothing is broken", remedy="", since=now)
    said: dict[str, str] = {}
    for channel in channels(lab, alerts, folder):
        try:
            channel.send(Notice(lab.name, {"alerts": trial}, ()))
        except HomelabError as error:
            said[channel.name] = error.problems[0].what
        else:
            said[channel.name] = ""
    return said


def still_here(alerts: Alerts, folder: Path) -> None:
    """Tell whoever misses us when we are gone that we are there. Raises HomelabError if it does not answer."""
    if alerts.dead_mans_switch is not None:
        notify.call("dead_mans_switch", reveal(alerts.dead_mans_switch, folder))


def document(notice: Notice) -> Mapping[str, object]:
    """A notice as a webhook gets it."""
    return {
        "lab": notice.lab,
        "title": notice.title,
        "text": notice.text,
        "broken": [
            {"where": where, "what": trouble.what, "remedy": trouble.remedy, "since": trouble.since.isoformat()}
            for where, trouble in notice.broken.items()
        ],
        "well_again": list(notice.over),
    }


def _email(lab: ResolvedLab, alerts: Alerts, folder: Path, notice: Notice) -> None:
    said = alerts.email
    if said is not None:
        password = reveal(said.password, folder) if said.password else ""
        sender = said.user if said.user and "@" in said.user else f"homelab@{lab.network.domain}"
        server = said.server or OWN_SERVER
        notify.send_email(
            server, said.to, notice.title, notice.text, sender=sender, user=said.user or "", password=password
        )


def _ntfy(alerts: Alerts, folder: Path, notice: Notice) -> None:
    said = alerts.ntfy
    if said is not None:
        token = reveal(said.token, folder) if said.token else ""
        notify.post_ntfy(said.url, notice.title, notice.text, token=token, urgent=bool(notice.broken))


def _json(channel: str, reference: str, folder: Path, notice: Notice) -> None:
    notify.post_json(channel, reveal(reference, folder), document(notice))
