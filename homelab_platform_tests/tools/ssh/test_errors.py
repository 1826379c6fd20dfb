"""What a host says, told with the way out."""

from __future__ import annotations

import pytest

from homelab_platform.tools.ssh.errors import of_command
from homelab_platform.tools.ssh.target import Target


@pytest.mark.parametrize(
    ("said", "what", "remedy"),
    [
        ("sh: 1: python3: not found", "has no Python", "apt-get install python3"),
        ("sh: python3: command not found", "has no Python", "apt-get install python3"),
        ("mkdir: cannot create directory '/var/lib/x': Read-only file system", "mounted read-only", "SD card"),
    ],
)
def test_a_host_that_cannot_be_worked_on_says_what_to_do_there(said: str, what: str, remedy: str) -> None:
    error = of_command(Target("pi-1", "192.168.0.11"), 127, said, "looking at the host")
    assert error.problems[0].where == "host/pi-1 (192.168.0.11)"
    assert what in error.problems[0].what
    assert "looking at the host" in error.problems[0].what
    assert remedy in error.problems[0].remedy
