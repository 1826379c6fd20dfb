"""Who may use the lab's own MQTT broker: its users, what each may write and read, and the files that tell it so.

Belongs here: pure functions from the lab and one secret to Mosquitto's password file, its rights, and the Kubernetes
Secrets that carry them. A password follows from the secret and the user's name, so nothing is stored and a lab that is
set up twice has the same ones. Not here: the broker of a site on this machine (servers/mosquitto.py), writing the
Secrets (layers/kubernetes/workloads.py), handing a host its own (layers/hosts/debian.py).

Sources: mosquitto.conf(5), `password_file` and `acl_file`; the `$7$` form is PBKDF2 with HMAC-SHA-512 (RFC 8018).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab import interfaces
from homelab_platform.lab.resolve.host_facts import MQTT_PORT, TOPIC, broker_address
from homelab_platform.plan.access import deployed

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedStream, ResolvedWorkload

BRIDGE, COLLECTOR = "bridge", "collector"
"""Who brings readings from the broker into the bucket, and the collector that runs as a pod on each node."""
PASSWORDS, ACL = "passwords", "acl"
"""Keys of the broker's Secret: files below /etc/mosquitto/users."""
USER, PASSWORD = "user", "password"
CHECKSUM = "homelab/users"
"""Annotation with a keyed hash of users and rights: another one means that the broker must read them again."""
_ITERATIONS = 101
"""Mosquitto's own number; what guards these passwords is that they are 128 random bits."""
_SALT_BYTES = 12
_LABELS = {"app.kubernetes.io/part-of": "homelab", "app.kubernetes.io/managed-by": "homelab"}


@dataclass(frozen=True)
class BrokerUser:
    """Somebody who may use the broker, and the topic filters that they may write and read."""

    name: str
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def broker_workload(lab: ResolvedLab) -> ResolvedWorkload | None:
    """The broker that the platform deploys and gives its users to the lab's cluster; the first by name."""
    return next((workload for workload in deployed(lab) if interfaces.BROKER_USERS in workload.provides), None)


def broker_place(lab: ResolvedLab) -> tuple[str, int] | None:
    """Host and port of the lab's broker as its hosts and this machine reach it; None if it has none."""
    said = broker_address(lab)
    if said is None:
        return None
    host, _, port = said.rpartition(":")
    return host, int(port or MQTT_PORT)


def broker_users(lab: ResolvedLab) -> tuple[BrokerUser, ...]:
    """Everybody who may use the lab's own broker, by name; nobody if the platform deploys none.

    Each host that publishes writes only its own topics, the collector's pods those of every host; the bridge reads
    these and the topics of the MQTT streams, and each such stream has a user for its senders.
    """
    if broker_workload(lab) is None:
        return ()
    streams = {name: _topic(stream) for name, stream in sorted(lab.streams.items()) if _is_at_own_broker(lab, stream)}
    users = [BrokerUser(BRIDGE, reads=(f"{TOPIC}/#", *streams.values()))]
    if _collectors(lab):
        users.append(BrokerUser(COLLECTOR, writes=(f"{TOPIC}/+/+",)))
    for name, host in sorted(lab.hosts.items()):
        if host.telemetry.get("user"):
            users.append(BrokerUser(str(host.telemetry["user"]), writes=(f"{TOPIC}/+/{name}",)))
    users += [BrokerUser(f"stream-{name}", writes=(topic,)) for name, topic in streams.items()]
    return tuple(sorted(users, key=lambda user: user.name))


def _collectors(lab: ResolvedLab) -> list[ResolvedWorkload]:
    return [workload for workload in deployed(lab) if interfaces.MACHINE_READINGS in workload.provides]


def _topic(stream: ResolvedStream) -> str:
    """What senders publish to: a shared subscription is the reader's business alone (MQTT 5.0, section 4.8.2)."""
    topic = str(stream.source_settings["topic"])
    topic = topic.split("/", 2)[-1] if topic.startswith("$share/") else topic
    if not topic.isprintable():
        raise HomelabError.of(f"stream {stream.name}", f"no topic: {topic!r}", "Leave out control characters.")
    return topic


def _is_at_own_broker(lab: ResolvedLab, stream: ResolvedStream) -> bool:
    return stream.source == "mqtt" and str(stream.source_settings.get("broker") or "") in own_names(lab)


def own_names(lab: ResolvedLab) -> frozenset[str]:
    """Every name and address by which the resolved lab calls its own broker; with the empty one, which means it too."""
    workload, place = broker_workload(lab), broker_place(lab)
    if workload is None:
        return frozenset()
    service = f"{workload.name}.{workload.namespace}.svc"
    names = {"", workload.name, workload.address, workload.hostname, service, f"{service}.cluster.local"}
    return frozenset(name for name in {*names, place[0] if place else None} if name is not None)


def password_of(secret: str, user: str) -> str:
    """A user's password: 128 bits that follow from the site's secret (RFC 2104), so that no start changes it."""
    return hmac.new(secret.encode(), user.encode(), hashlib.sha256).hexdigest()[:32]


def broker_files(lab: ResolvedLab, secret: str) -> dict[str, str]:
    """Mosquitto's password file and its rights, the same bytes for the same lab and secret."""
    users = broker_users(lab)
    rights = ["# From the lab file. What is not here is refused."]
    for user in users:
        rights += ["", f"user {user.name}"]
        rights += [f"topic write {topic}" for topic in user.writes]
        rights += [f"topic read {topic}" for topic in user.reads]
    hashed = (f"{user.name}:{_hashed(password_of(secret, user.name), _salt(secret, user.name))}" for user in users)
    return {PASSWORDS: "\n".join(hashed) + "\n", ACL: "\n".join(rights) + "\n"}


def _salt(secret: str, user: str) -> bytes:
    return hmac.new(secret.encode(), f"salt {user}".encode(), hashlib.sha256).digest()[:_SALT_BYTES]


def _hashed(password: str, salt: bytes) -> str:
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(found).decode()}"


def checksum(lab: ResolvedLab, secret: str) -> str:
    """A keyed hash of users and rights, for an annotation of the broker's pods; it tells nobody anything else."""
    text = "".join(f"{name}\0{content}\0" for name, content in sorted(broker_files(lab, secret).items()))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


def lab_secrets(lab: ResolvedLab, secret: str) -> list[dict[str, Any]]:
    """The Secrets that the broker (`<its name>-users`) and the collector's pods (`<name>-mqtt`) mount.

    They are to be there, as they are here, before the workload is applied. `<broker>-senders` is for people who set up
    devices: by user of an MQTT stream, its password. Empty if the platform deploys no broker.
    """
    return list(_secrets(lab, secret))


def _secrets(lab: ResolvedLab, secret: str) -> Iterator[dict[str, Any]]:
    broker = broker_workload(lab)
    if broker is None:
        return
    mark = {CHECKSUM: checksum(lab, secret)}
    yield _secret(f"{broker.name}-users", broker.namespace, broker_files(lab, secret), mark)
    told = {name: said[PASSWORD] for name, said in senders(lab, secret).items()}
    if told:
        yield _secret(f"{broker.name}-senders", broker.namespace, told, {})
    for workload in _collectors(lab):
        own = {USER: COLLECTOR, PASSWORD: password_of(secret, COLLECTOR)}
        yield _secret(f"{workload.name}-mqtt", workload.namespace, own, {})


def _secret(name: str, namespace: str, data: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in sorted(data.items())}
    metadata = {"name": name, "namespace": namespace, "labels": dict(_LABELS)}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": encoded}


def senders(lab: ResolvedLab, secret: str) -> dict[str, dict[str, Any]]:
    """For the owner's eyes only: by user of a stream, its password and what it may write, to set up devices with."""
    return {
        user.name: {PASSWORD: password_of(secret, user.name), "writes": list(user.writes)}
        for user in broker_users(lab)
        if user.name.startswith("stream-")
    }
