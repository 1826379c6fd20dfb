"""NiFi under the supervisor: killed with data in its queues, it goes on where it was."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.scratch.engines import scratch_nifi
from homelab_platform.servers.supervise import launch
from homelab_platform.tools.endpoints import Lakehouse, NifiEndpoint
from homelab_platform.tools.nifi import flows as probes
from homelab_platform.tools.nifi import states
from homelab_platform.tools.nifi.client import NifiClient
from homelab_platform_tests.layers.flows.nifi_lab import nifi_lab, post, reading, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def folder() -> Path:
    """The folder of a NiFi of this test's own: it is killed."""
    return Path(tempfile.gettempdir()) / f"homelab-nifi-{secrets.token_hex(4)}"


@pytest.fixture
def own_nifi(folder: Path) -> Iterator[NifiEndpoint]:
    """A NiFi under a supervisor of its own."""
    with scratch_nifi(folder) as running:
        yield running


def pid_of(folder: Path) -> int:
    state = launch.live_state(folder / "run")
    assert state is not None
    return state.children["nifi"].pid


def answers(endpoint: NifiEndpoint, stream: str) -> bool:
    try:
        return bool(probes.flow_health(endpoint, stream).exists)
    except HomelabError:
        return False


def test_it_listens_on_loopback_alone_and_makes_no_environment_for_our_processor(
    folder: Path, own_nifi: NifiEndpoint, lakehouse: Lakehouse, tmp_path: Path
) -> None:
    with nifi_lab(lakehouse, own_nifi, tmp_path) as flow:
        flow.apply()
        root = psutil.Process(pid_of(folder))
        family = [root, *root.children(recursive=True)]
        listening = {c.laddr.ip for one in family for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        assert not list((folder / "nifi" / "work").glob("python/extensions/*/*/bin"))

        # killed with readings in its queue
        with NifiClient(own_nifi) as client:
            entity = probes.find(client, flow.stream)
            assert entity is not None
            store = next(
                one for one in probes.read_group(client, entity).processors if one["component"]["name"] == "store"
            )
            states.stop_processor(client, flow.desired.key, store["id"])
        senders = [threading.Thread(target=_post_once, args=(flow.url, n), daemon=True) for n in range(4)]
        for sender in senders:
            sender.start()
        wait_for(lambda: probes.flow_health(own_nifi, flow.stream).waiting == 4)
        first = pid_of(folder)
        children = [child.pid for child in root.children(recursive=True)]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pid_of(folder) not in (0, first), 60)
        wait_for(lambda: answers(own_nifi, flow.stream), 300)
        assert not [pid for pid in children if psutil.pid_exists(pid)], "its Python processes ended with it"
        flow.apply()  # the processor was stopped by hand: drift, put back
        wait_for(lambda: len(flow.objects()) == 4, 60)
        assert post(flow.url, [reading(1)]).status == 200, "a sender that repeats meets what was written for it"
        assert len(flow.objects()) == 4

        # its Python process killed alone
        for child in psutil.Process(pid_of(folder)).children(recursive=True):
            child.kill()
        wait_for(lambda: post(flow.url, [reading(9)]).status in (200, 201), 60)
        assert len(flow.objects()) == 5


def _post_once(url: str, number: int) -> None:
    try:
        post(url, [reading(number)])
    except OSError:
        return  # cut off by the kill
