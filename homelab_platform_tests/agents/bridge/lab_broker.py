"""A Mosquitto as the lab's cluster runs it, on this machine: the settings, users and rights that its pod would get.

Belongs here: what tests of the hosts' way to the bucket share. The broker's settings are those of helm/mosquitto, with
this machine's paths; users and rights are those of plan/broker_access.py.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.broker_access import broker_files, password_of
from homelab_platform.plan.values import values_of
from homelab_platform.servers import mosquitto
from homelab_platform.servers.install import apt
from homelab_platform.servers.supervise import ports, processes
from homelab_platform.tools.endpoints import MqttEndpoint

SECRET = "a site's secret"
SETTINGS = "/mosquitto/config/mosquitto.conf"


def lab_of(folder: Path, hosts: int = 2, *, collector: bool = False) -> ResolvedLab:
    """A lab with a broker on its cluster, `hosts` hosts that publish, and an MQTT stream."""
    named = {
        f"h-{number}": {"board": "pi5-8gb", "os": "raspios", "address": f"10.9.0.{number}"}
        for number in range(1, hosts + 1)
    }
    named["h-1"]["k3s"] = "server"
    said = {
        "version": 1,
        "lab": "brokers",
        "domain": "brokers.test",
        "network": {"lan": "10.9.0.0/24", "gateway": "10.9.0.254"},
        "hosts": named,
        "people": {"ada": {"role": "admin"}},
        "workloads": {"mosquitto": {"on": "h-1", "expose": "lan"}, **({"collector": None} if collector else {})},
        "streams": {
            "machines": {"from": {"machine": {"every": "5s"}}, "sensors": {"cpu": {"unit": "%"}}},
            "rooms": {"from": {"mqtt": "sensors/+/environment"}, "sensors": {"temperature": {"unit": "°C"}}},
            "far": {"from": {"mqtt": {"topic": "far/+", "broker": "192.0.2.7", "user": "me"}}},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab.yaml").write_text(yaml.safe_dump(said))
    return load_resolved(folder / "lab.yaml", load_catalogue())


@dataclass
class LabBroker:
    """The broker of one test in `folder`, at an address of this machine.

    With `saves_every` (seconds) it saves that seldom, and a kill costs it whatever it acknowledged since.
    """

    lab: ResolvedLab
    folder: Path
    port: int = field(default_factory=lambda: ports.choose(1)[0])
    host: str = "127.0.0.1"
    secret: str = SECRET
    saves_every: int | None = None

    def __post_init__(self) -> None:
        (self.folder / "data").mkdir(parents=True)
        self.tell(self.lab)
        workload = self.lab.workloads["mosquitto"]
        values = values_of(self.lab, workload, load_catalogue().entries["mosquitto"])
        text = str(values["config"][SETTINGS])
        text = text.replace("/etc/mosquitto/users", str(self.folder)).replace("/mosquitto/data", f"{self.folder}/data")
        text = re.sub(r"listener 1883.*", f"listener {self.port} {self.host}", text)
        if self.saves_every is not None:
            text = text.replace("autosave_on_changes true", "autosave_on_changes false")
            text = re.sub(r"autosave_interval \d+", f"autosave_interval {self.saves_every}", text)
        (self.folder / "mosquitto.conf").write_text(text + ("user root\n" if os.geteuid() == 0 else ""))

    def tell(self, lab: ResolvedLab) -> None:
        """Write users and rights as the cluster's Secret has them."""
        for name, content in broker_files(lab, self.secret).items():
            file = self.folder / name
            file.touch(mode=0o600)
            file.write_text(content)

    def start(self) -> None:
        """Start it and wait until it listens."""
        root = mosquitto.installed()
        command = [str(root / mosquitto.PROGRAMS[0]), "-c", str(self.folder / "mosquitto.conf")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=os.environ | apt.libraries(root), stdout=log, stderr=log)
        assert processes.wait_until(self._answers, 10), (self.folder / "log").read_text()

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def read_users(self) -> None:
        """Have it read users and rights again; who is connected stays so until the connection ends."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def endpoint(self, user: str) -> MqttEndpoint:
        """The broker as one of its users."""
        return MqttEndpoint(self.host, self.port, user, password_of(self.secret, user))
