"""A round over many hosts: as long as the slowest that answers, and about a second for those that are silent."""

from __future__ import annotations

import socket
import time

import pytest

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.hosts.fanout import BEYOND_THE_SLOWEST_SECONDS, Fanout
from homelab_platform.tools.host.presence import answering_port


def silent(key: str) -> HomelabError:
    return Unreachable.of(key, "does not answer")


def is_there(key: str, seconds: float) -> bool:
    if key.startswith("off"):
        time.sleep(seconds)
        return False
    return True


def look(key: str) -> str:
    if key == "bad":
        raise HomelabError.of(key, "another host key")
    time.sleep(0.8 if key == "slow" else 0.05)
    return f"state of {key}"


@pytest.mark.slow
def test_silent_hosts_take_a_second_beyond_the_slowest_that_answers() -> None:
    keys = [*(f"on-{n}" for n in range(60)), "slow", "bad", *(f"off-{n}" for n in range(40))]
    began = time.monotonic()
    found = Fanout(is_there, look).round(keys, silent)
    took = time.monotonic() - began
    assert list(found) == keys
    assert found["slow"] == "state of slow", "whoever answers is waited for"
    assert [key for key, one in found.items() if isinstance(one, Unreachable)] == keys[-40:]
    assert "another host key" in str(found["bad"])
    assert took < 0.8 + BEYOND_THE_SLOWEST_SECONDS + 0.8


def test_a_fault_of_our_own_is_not_taken_for_a_host_that_is_off() -> None:
    def broken(key: str) -> str:
        raise ZeroDivisionError(key)

    with pytest.raises(ZeroDivisionError):
        Fanout(is_there, broken).round(["on"], silent)


def test_no_hosts_take_no_time() -> None:
    assert Fanout(is_there, look).round([], silent) == {}


def test_a_refusal_is_an_answer_and_silence_is_none() -> None:
    with socket.socket() as closed, socket.socket() as full:
        closed.bind(("127.0.0.1", 0))
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        refused, mute = closed.getsockname()[1], full.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:  # a queue of connections that is full drops further ones in silence
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", mute))
        try:
            assert answering_port("127.0.0.1", (mute,), 0.3) is None
            assert answering_port("127.0.0.1", (mute, refused), 0.3) == refused
            assert answering_port("no-such-name.invalid", (22,), 0.3) is None
        finally:
            for one in crowd:
                one.close()
