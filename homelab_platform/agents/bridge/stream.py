"""One MQTT stream: a session that the broker keeps, messages to readings, and the acknowledgement when they are stored.

Belongs here: the guarantee. A message is acknowledged only after its readings are in the bucket, so that a kill of
anything at any moment has the broker send it again; and a message sent again makes the same readings again, which the
table counts once. Not here: what a payload means (payload.py), the ways out (outlets.py), the memory of
arrival times (journal.py), which streams there are (settings.py).

Source: MQTT 5.0, sections 3.1.2.11.3 (Receive Maximum), 3.8.3.1 (Retain Handling), 4.3.2 (QoS 1), 4.6 (ordering).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.agents.bridge.journal import Entry, Journal, digest_of
from homelab_platform.agents.bridge.outlets import Outlet, Refused, Unavailable
from homelab_platform.readings.decode.record import ExtraColumns, read_line
from homelab_platform.tools.endpoints import MqttEndpoint
from homelab_platform.wire import payload
from homelab_platform.wire.contract import FUTURE_TOLERANCE_SECONDS
from homelab_platform.wire.payload import Shape

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

BATCH_MESSAGES = 1000
BATCH_BYTES = 4 << 20
BATCH_SECONDS = 1.0
KEPT_BY_BROKER = 30 * 86_400
"""Seconds for which the broker keeps the session, and with it what nobody fetched, while the bridge is away."""
MOST_UNPROMISED = 20_000
"""Messages of QoS 0 that wait here while the bucket is away: nobody promised to keep them, and memory has an end."""
NOT_STORED = "nothing can be stored, messages wait at the broker"
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

Log = Callable[[str], None]


@dataclass(frozen=True)
class BridgeStream:
    """A stream as the bridge is told it.

    `levels` says what the wildcards of the topic filter stand for, in order: `device`, `sensor`, `site` or `-`.
    `entrance` is the address of its flow in NiFi; None for straight into the bucket. `machines`: each message holds
    lines of readings as the hosts' collectors write them (machines.py). Messages are gathered for
    `batch_seconds` before they are stored.
    """

    name: str
    topic: str
    broker: MqttEndpoint
    client_id: str
    qos: int = 1
    levels: tuple[str, ...] = ("device", "sensor")
    shape: Shape = field(default_factory=Shape)
    entrance: str | None = None
    token: str | None = field(default=None, repr=False)
    machines: bool = False
    batch_seconds: float = BATCH_SECONDS


@dataclass
class Message:
    """A message on its way: `session` counts the sessions, for a packet identifier means something only within one."""

    topic: str
    data: bytes
    digest: str
    mid: int
    qos: int
    retained: bool
    again: bool
    session: int
    entry: Entry | None = None
    lines: bytes = b""

    @property
    def key(self) -> tuple[int, int]:
        """What tells the broker's messages apart until they are acknowledged."""
        return self.session, self.mid


def topic_says(pattern: str, topic: str, levels: tuple[str, ...]) -> dict[str, str]:
    """What the wildcards of a topic filter stand for in this topic, by the names in `levels`; `#` joins with dots."""
    found: dict[str, str] = {}
    names = iter(levels)
    parts = topic.split("/")
    wanted = pattern.split("/")
    if wanted[0] == "$share":
        wanted = wanted[2:]
    for place, step in enumerate(wanted):
        if step in ("+", "#"):
            name = next(names, "-")
            text = parts[place] if step == "+" and place < len(parts) else ".".join(parts[place:])
            if name != "-" and text:
                found[name] = text
    return found


class StreamBridge:
    """Carries one stream until stopped; `run` blocks. `folder` holds its journal."""

    def __init__(self, stream: BridgeStream, folder: Path, outlet: Outlet, rejects: Outlet, log: Log) -> None:
        self.stream = stream
        self._journal = Journal(folder / f"{stream.name}.journal")
        self._outlet = outlet
        self._rejects = rejects
        self._say = log
        self._inbox: deque[Message] = deque()
        self._bytes = 0  # of what is in the inbox
        self._waiting: dict[tuple[int, int], str] = {}  # what is not acknowledged: session, packet identifier; digest
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._session = 0
        self._lost = False
        self._dropped = 0
        self._troubled = ""
        self.stored = 0
        self.refused = 0

    def stop(self) -> None:
        """End `run` after the batch in hand; what is not acknowledged comes again. Safe from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Connect, carry, reconnect, until stopped. A broker, NiFi or bucket that is away is waited for."""
        client = self._client()
        broker = self.stream.broker
        client.connect_async(broker.host, broker.port, keepalive=30, **_session_properties())
        client.loop_start()
        try:
            while not self._stop.is_set():
                batch = self._collect()
                if batch:
                    self._deliver(client, batch)
        finally:
            client.disconnect()
            client.loop_stop()
            self._outlet.close()
            self._rejects.close()

    def _client(self) -> Client:
        import ssl

        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        broker = self.stream.broker
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.stream.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.ca is not None:
            client.tls_set_context(ssl.create_default_context(cafile=str(broker.ca)))
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = lambda _client, _data: self._trouble("the broker cannot be reached")
        client.on_message = self._on_message
        return client

    # Called by the client's own thread

    def _on_connect(self, client: Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        if reason.is_failure:
            self._trouble(f"the broker refuses the connection: {reason}")
            return
        with self._arrived:
            if not flags.session_present:
                self._session += 1
                self._lost = True
        self._log(f"connected, {'the session goes on' if flags.session_present else 'a new session'}")
        self._troubled = ""
        # A message that the broker retains comes when the subscription is new, not at each connection.
        options = SubscribeOptions(qos=min(self.stream.qos, 1), retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe(self.stream.topic, options=options)

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self._stop.is_set():
            self._trouble(f"the connection to the broker ended: {reason}")

    def _on_message(self, _client: Client, _data: Any, got: MQTTMessage) -> None:
        data = bytes(got.payload)
        digest = digest_of(got.topic, data)
        with self._arrived:
            message = Message(got.topic, data, digest, got.mid, got.qos, got.retain, got.dup, self._session)
            if message.qos and self._waiting.get(message.key) == digest:
                return  # sent again after a broken connection while the first copy waits here: one answer does for both
            if message.qos:
                self._waiting[message.key] = digest
            elif len(self._inbox) >= MOST_UNPROMISED:
                self._dropped += 1
                return
            self._inbox.append(message)
            self._bytes += len(data)
            self._arrived.notify()

    # Called by the thread of `run`

    def _collect(self) -> list[Message]:
        """The messages that came within a moment, oldest first; may be none."""
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._inbox) or self._stop.is_set(), timeout=0.5)
            if not self._inbox or self._stop.is_set():
                return []
            deadline = time.monotonic() + self.stream.batch_seconds
            while self._room_left() and not self._stop.is_set() and (left := deadline - time.monotonic()) > 0:
                self._arrived.wait(timeout=min(left, 0.5))
            batch: list[Message] = []
            size = 0
            while self._inbox and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
                batch.append(self._inbox.popleft())
                size += len(batch[-1].data)
            self._bytes -= size
            lost, self._lost = self._lost, False
            dropped, self._dropped = self._dropped, 0
        if lost:
            self._journal.forget()
        if dropped:
            self._log(f"{dropped} messages of QoS 0 were dropped: {MOST_UNPROMISED} wait already")
        return batch

    def _room_left(self) -> bool:
        return len(self._inbox) < BATCH_MESSAGES and self._bytes < BATCH_BYTES

    def _deliver(self, client: Client, batch: list[Message]) -> None:
        """Store a batch, however long that takes, and acknowledge it in the order in which it came."""
        for message in batch:
            message.lines = self._lines(message)
        if not self._keep(batch):
            return
        for message in batch:
            if message.entry is not None:
                message.entry.stored = True
            if message.qos and self._is_owed(message):
                client.ack(message.mid, message.qos)
        self.stored += len(batch)

    def _keep(self, batch: list[Message]) -> bool:
        """Store the lines of a batch; False when stopped before that was done."""
        timed = [message.entry for message in batch if message.entry is not None]
        return self._until_done(lambda: self._journal.save(timed)) and self._send(batch)

    def _is_owed(self, message: Message) -> bool:
        """Whether an acknowledgement by its packet identifier means this message.

        A broker that was killed may come back as it was a while ago and use the identifier for another message, which
        nobody has stored: that one must not be taken for acknowledged.
        """
        with self._arrived:
            if self._waiting.get(message.key) != message.digest:
                return False
            del self._waiting[message.key]
            return message.session == self._session

    def _lines(self, message: Message) -> bytes:
        """The readings of a message. One without times of its own is given its arrival's, and an entry that keeps it.

        What the broker retained may be of any age: without a time of its own it is none that anybody could date.
        """
        known = topic_says(self.stream.topic, message.topic, self.stream.levels)
        try:
            value = payload.decode(message.data)
        except ValueError:
            return payload.raw_line(message.topic.encode("utf-8", "replace"), message.data)
        plain = payload.lines(value, self.stream.shape, known, None)
        if message.retained:
            return b"".join(plain)
        count = len(value) if isinstance(value, list) else 1
        entry = self._journal.known(message.mid, message.digest, again=message.again) if message.qos else None
        at = self._journal.arrival(max(count, 1)) if entry is None else entry.at_us
        found = payload.lines(value, self.stream.shape, known, at)
        if found != plain and message.qos:
            message.entry = entry or Entry(message.mid, message.digest, at)
        return b"".join(found)

    def _send(self, batch: list[Message]) -> bool:
        """Send lines on. An entrance refuses a batch for one bad line, so what the table would refuse goes apart."""
        if self.stream.entrance is None:
            return self._store(batch)
        fit: list[Message] = []
        unfit: list[Message] = []
        for message in batch:
            (fit if _readable(message.lines) else unfit).append(message)
        self.refused += len(unfit)
        aside = b"".join(message.lines for message in unfit)
        return (not fit or self._store(fit)) and (not aside or self._until_done(lambda: self._rejects.put(aside)))

    def _store(self, batch: list[Message]) -> bool:
        """Send the lines on; what is refused is halved until single messages stand there, which are put aside."""
        try:
            return self._until_done(lambda: self._outlet.put(b"".join(message.lines for message in batch)))
        except Refused as refused:
            if len(batch) > 1:
                half = len(batch) // 2
                return self._store(batch[:half]) and self._store(batch[half:])
            self._log(f"{batch[0].topic}: put aside: {refused}")
            self.refused += 1
            return self._until_done(lambda: self._rejects.put(batch[0].lines))

    def _until_done(self, action: Callable[[], None]) -> bool:
        """Do it, again and again with growing pauses while it cannot be done; False when stopped meanwhile."""
        for pause in _pauses():
            try:
                action()
            except (Unavailable, OSError) as error:
                self._trouble(f"{NOT_STORED}: {error}")
                if self._stop.wait(pause):
                    return False
                continue
            if self._troubled.startswith(NOT_STORED):
                self._log("readings are stored again")
                self._troubled = ""
            return True
        raise AssertionError("pauses never end")

    def _log(self, text: str) -> None:
        self._say(f"{self.stream.name}: {text}")

    def _trouble(self, text: str) -> None:
        """Say it once, not at each attempt."""
        if text != self._troubled:
            self._troubled = text
            self._log(text)


def _readable(lines: bytes) -> bool:
    """Whether each of the lines is a reading, as far as a line can tell."""
    latest = (time.time_ns() // 1_000_000_000 + FUTURE_TOLERANCE_SECONDS) * 1_000_000
    try:
        for line in lines.split(b"\n")[:-1]:
            read_line(line, latest, ExtraColumns())
    except ValueError:
        return False
    return True


def _pauses() -> Iterator[float]:
    yield from PAUSES
    while True:
        yield PAUSES[-1]


def _session_properties() -> Mapping[str, Any]:
    """A session that outlives the connection, and as many messages on the way as a batch holds."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    wanted = Properties(PacketTypes.CONNECT)
    wanted.SessionExpiryInterval = KEPT_BY_BROKER
    wanted.ReceiveMaximum = BATCH_MESSAGES
    return {"clean_start": False, "properties": wanted}
