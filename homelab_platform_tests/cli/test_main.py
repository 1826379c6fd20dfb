"""What every command has in common, whichever it is."""

from __future__ import annotations

import signal
import subprocess
import sys

_WAITING = """
import sys, time
from homelab_platform.cli import main

@main.app.command("wait")
def wait() -> None:
    print("waiting", flush=True)
    time.sleep(60)

sys.argv = ["homelab", "wait"]
main.run()
"""


def test_ctrl_c_ends_a_command_with_a_word_about_what_is_safe_and_how_to_go_on() -> None:
    command = [sys.executable, "-c", _WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "Stopped. Nothing that was acknowledged is lost; run the same command again to go on.\n"
