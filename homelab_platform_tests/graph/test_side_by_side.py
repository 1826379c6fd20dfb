"""Hosts side by side: together as long as the slowest, in the order of their needs, each with its own result."""

from __future__ import annotations

import threading

import pytest

from homelab_platform.graph.side_by_side import NotTried, SideBySide
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState


def host(name: str, *needs: str) -> DesiredState:
    return DesiredState(f"host/{name}", "host", {}, deps=tuple(f"host/{need}" for need in needs))


def test_all_are_under_way_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    def work(state: DesiredState, say: Say) -> str:
        say(f"changing {state.key}")
        together.wait()  # fails unless three are here at once
        return state.key

    hosts = SideBySide[str](most=3)
    hosts.begin("run", [host("a"), host("b"), host("c")], work)
    assert [hosts.result("run", f"host/{name}") for name in "abc"] == ["host/a", "host/b", "host/c"]
    assert hosts.messages("run", "host/b") == ["changing host/b"]


def test_a_host_waits_for_what_it_needs_and_is_not_tried_without() -> None:
    done: list[str] = []

    def work(state: DesiredState, say: Say) -> None:
        if state.key == "host/broken":
            raise ValueError("no power")
        done.append(state.key)

    hosts = SideBySide[None]()
    hosts.begin("run", [host("agent", "server"), host("lost", "broken"), host("server"), host("broken")], work)
    hosts.result("run", "host/agent")
    assert done == ["host/server", "host/agent"]
    with pytest.raises(ValueError, match="no power"):
        hosts.result("run", "host/broken")
    with pytest.raises(NotTried, match="host/broken failed"):
        hosts.result("run", "host/lost")


def test_a_run_begins_once_and_another_begins_anew() -> None:
    begun: list[str] = []

    def work(state: DesiredState, say: Say) -> None:
        begun.append(state.key)

    hosts = SideBySide[None]()
    for run in ("first", "first", "second"):
        hosts.begin(run, [host("a")], work)
        hosts.result(run, "host/a")
    assert begun == ["host/a", "host/a"]
