"""What is made of a host's answer, computed from answers that a real host gave (test_roles.py recorded them)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pytest

from homelab_platform.layers.hosts.debian import DebianWay
from homelab_platform.layers.hosts.state import HostLook, unhealthy
from homelab_platform.tools.ssh.client import Done, Ssh
from homelab_platform_tests.suite.recording import Recordings


@dataclass
class Replayed:
    """A connection to a host that answers what was recorded."""

    answer: dict[str, Any]

    def run(self, script: str, **_words: object) -> Done:
        """The recorded answer."""
        assert script.startswith("python3 -I -S -"), script
        return Done(0, json.dumps(self.answer).encode())


def look(answer: dict[str, Any]) -> HostLook:
    """The look that an answer gives."""
    return DebianWay().look(cast(Ssh, Replayed(answer)), health=True)


def differences(answer: dict[str, Any]) -> tuple[str, ...]:
    """What a probe would tell, by a controller that has the roles and the password of the last deploy."""
    return look(answer).observation(str((answer["applied"] or {}).get("setup", ""))).differences


def test_a_fresh_host_has_nothing_of_the_lab(recordings: Recordings) -> None:
    found = look(recordings.replay("host-fresh")).observation("")
    assert not found.exists
    assert found.differences == ()
    assert str(found.facts["system"]).startswith("Debian GNU/Linux 12")


def test_a_confirmed_host_is_well_and_as_it_was_confirmed(recordings: Recordings) -> None:
    answer = recordings.replay("host-confirmed")
    assert differences(answer) == ()
    assert list(unhealthy(look(answer), look(recordings.replay("host-fresh")))) == []
    answer |= {"kernel": "6.99", "uptime": 1.0, "free": 0, "boot": "another", "restart": True}
    assert differences(answer) == (), "what no deploy sets is no drift"


def test_real_drift_is_told_line_by_line(recordings: Recordings) -> None:
    lines = differences(recordings.replay("host-drifted"))
    assert {
        "account games is not of the lab",
        "/etc/ssh/sshd_config.d/10-homelab.conf was changed at the host",
        "the firewall is not loaded",
        "unit homelab-collector.service: active enabled → inactive enabled",
    } <= set(lines)
    assert any("prometheus-node-exporter.service: active enabled" in line and "masked" in line for line in lines)


@pytest.mark.parametrize("kind", ["file", "package", "unit", "account", "firewall"])
def test_every_single_thing_that_goes_is_one_line_that_names_it(recordings: Recordings, kind: str) -> None:
    names = list(recordings.replay("host-confirmed")["state"][kind])
    assert names, f"the recorded host has no {kind}"
    for name in names:
        answer = recordings.replay("host-confirmed")
        answer["state"][kind][name] = None
        [line] = differences(answer)
        assert kind == "firewall" or name in line


def test_a_file_whose_mode_changed_is_told_apart_from_one_whose_content_did(recordings: Recordings) -> None:
    answer = recordings.replay("host-confirmed")
    path, state = next((path, state) for path, state in answer["state"]["file"].items() if state)
    mode, owner, content = state.split()
    answer["state"]["file"][path] = f"777 {owner} {content}"
    assert differences(answer) == (f"{path}: mode or owner was changed at the host",)
    answer["state"]["file"][path] = f"{mode} {owner} {'0' * 32}"
    assert differences(answer) == (f"{path} was changed at the host",)


def test_a_host_on_which_everything_changed_is_told_in_few_lines(recordings: Recordings) -> None:
    answer = recordings.replay("host-confirmed")
    count = sum(len(names) for names in answer["state"].values())
    answer["state"] = {kind: dict.fromkeys(names, "other") for kind, names in answer["state"].items()}
    lines = differences(answer)
    assert len(lines) == 21
    assert lines[-1] == f"and {count - 20} more"


def test_roles_and_password_of_another_deploy_are_told(recordings: Recordings) -> None:
    found = look(recordings.replay("host-confirmed"))
    assert found.observation("other roles").differences == (
        "was set up by other roles than there are now",
        "was given another password for the broker than it has there now",
    )


def test_what_ails_a_host_after_a_deploy_is_named(recordings: Recordings) -> None:
    before, answer = look(recordings.replay("host-fresh")), recordings.replay("host-confirmed")
    package, unit = next(iter(answer["state"]["package"])), next(iter(answer["state"]["unit"]))
    [exporter] = answer["answers"]
    answer["state"]["package"][package] = "missing"
    answer["state"]["unit"][unit] = "activating enabled"
    answer["answers"][exporter] = "Connection refused"
    answer["failed"] = ["cron.service"]
    assert set(unhealthy(look(answer), before)) == {
        f"package {package} is missing",
        f"unit {unit} is activating enabled",
        "unit cron.service failed",
        f"nothing answers at {exporter}: Connection refused",
    }
