"""The NiFi processor that reads the answer of a polled address: lines of readings, or the reason why there are none.

What InvokeHTTP found out stands in the attributes that it writes; `asked.at` (ms since 1970) is set as a poll begins.

Belongs here: what NiFi sees, and which reader an answer gets. Not here: the readers, which are files of the project
itself (homelab_platform/wire/, copied beside this one as homelab_*.py), or asking (NiFi's InvokeHTTP).
"""

from __future__ import annotations

import json
import os
import sys
from urllib.parse import urlsplit

from nifiapi.flowfiletransform import FlowFileTransform, FlowFileTransformResult
from nifiapi.properties import PropertyDescriptor
from nifiapi.relationship import Relationship

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - NiFi adds it only for a NAR

import homelab_exposition
import homelab_payload
import homelab_poll
import homelab_statistics

LARGEST = 64 * 1024 * 1024
EXPORTER, PROMETHEUS, HOME_ASSISTANT, READINGS = "exporter", "prometheus", "home-assistant", "readings"


def _property(name, description, default="", allowed=None):
    return PropertyDescriptor(
        name=name,
        description=description,
        required=False,
        default_value=default,
        allowable_values=allowed,
    )


class Unusable(Exception):
    """An answer without readings; the text says why."""


class ReadAnswer(FlowFileTransform):
    """Turns an answer into lines of readings; routes it to success, nothing or refused."""

    class Java:
        """What NiFi's bridge looks for."""

        implements = ["org.apache.nifi.python.processor.FlowFileTransform"]

    class ProcessorDetails:
        """What NiFi shows of it."""

        version = "1.0.0"
        description = (
            "Reads what a polled address answered (a Prometheus exporter or server, Home Assistant's long-term"
            " statistics, readings in JSON) and gives lines of readings for PutReadings."
        )
        tags = ["readings", "sensor", "prometheus", "homelab"]
        dependencies = []

    KIND = _property("Kind", "What answers", EXPORTER, allowed=[EXPORTER, PROMETHEUS, HOME_ASSISTANT, READINGS])
    QUERY = _property("Query", "For an exporter: selectors joined by `or`; nothing for all that it has")
    ITEMS = _property("Items", "Where in a JSON answer the items lie: names with dots between")
    SENSORS = _property("Sensors", "JSON: the stream's sensors with their units", "{}")
    FIELDS = _property("Fields", "JSON: their fields to ours", "{}")
    DEVICE = _property("Device", "The device of readings that name none; else the address that was asked")
    SITE = _property("Site", "The site of the readings")
    SETTLE = _property("Settle", "Seconds after which a period of statistics counts as final", "3600")

    descriptors = [KIND, QUERY, ITEMS, SENSORS, FIELDS, DEVICE, SITE, SETTLE]
    relationships = [
        Relationship("success", "Lines of readings"),
        Relationship("nothing", "There is nothing new in it"),
        Relationship("refused", "It is no answer that readings could be made of; homelab.error says why"),
    ]

    def __init__(self, **kwargs):
        super().__init__()
        self._settings = None

    def getPropertyDescriptors(self):
        """For NiFi."""
        return self.descriptors

    def getRelationships(self):
        """For NiFi."""
        return self.relationships

    def onScheduled(self, context):
        """Read the settings once for all answers until the processor is stopped."""
        self._settings = _Settings(context, self)

    def transform(self, context, flowfile):
        """One answer."""
        if self._settings is None:  # NiFi has started our process anew after it died, and tells us nothing
            self._settings = _Settings(context, self)

        said = flowfile.getAttributes()
        address = _without_secrets(said.get("invokehttp.request.url") or "") or "the address"
        status = said.get("invokehttp.status.code") or ""
        trouble = said.get("invokehttp.java.exception.message") or said.get("invokehttp.java.exception.class") or ""
        try:
            if not status or trouble:
                raise Unusable(f"does not answer: {trouble or 'no reason is known'}")
            if not status.startswith("2"):
                raise Unusable(f"answers {status} {said.get('invokehttp.status.message') or ''}".rstrip())
            if flowfile.getSize() > LARGEST:
                raise Unusable(f"answers with {flowfile.getSize()} bytes; {LARGEST} is the most")
            body = bytes(flowfile.getContentsAsBytes())
            lines, count, note = self._settings.read(body, address, int(said["asked.at"]))
        except (Unusable, ValueError) as error:
            reason = str(error) if isinstance(error, Unusable) else f"answers, but {error}"
            self.logger.warn(f"{address} {reason}")
            return FlowFileTransformResult("refused", attributes={"homelab.error": f"{address} {reason}"[:500]})
        if note:
            self.logger.warn(f"{address}: {note}")
        if not lines:
            return FlowFileTransformResult("nothing")
        attributes = {"homelab.lines": str(count), "mime.type": "application/x-ndjson"}
        return FlowFileTransformResult("success", attributes, lines)


class _Settings:
    """The properties that are the same for every answer, and reading by them."""

    def __init__(self, context, names):
        def read(descriptor):
            return (context.getProperty(descriptor).getValue() or "").strip()

        self._kind = read(names.KIND)
        self._wanted = homelab_exposition.selectors(read(names.QUERY)) if self._kind == EXPORTER else []
        self._items = read(names.ITEMS)
        self._device = read(names.DEVICE)
        self._site = read(names.SITE)
        self._settle_ms = round(float(read(names.SETTLE) or 3600) * 1000)
        self._units = json.loads(read(names.SENSORS) or "{}")
        self._fields = json.loads(read(names.FIELDS) or "{}")

    def read(self, body, address, asked_ms):
        """Lines, how many they are, and a remark. Raises ValueError, whose text goes on from `answers, but`."""
        device = self._device or urlsplit(address).netloc or "unknown"
        if self._kind == EXPORTER:
            scrape = homelab_exposition.read(
                body, device=device, at_ms=asked_ms, wanted=self._wanted, site=self._site, units=self._units
            )
            return _with_faults(scrape)
        answer = homelab_poll.find(homelab_poll.parse(body), self._items)
        if self._kind == PROMETHEUS:
            scrape = homelab_exposition.read_query(answer, device=device, site=self._site, units=self._units)
            return _with_faults(scrape)
        if self._kind == HOME_ASSISTANT:
            found = homelab_statistics.lines(
                answer, now_ms=asked_ms, settle_ms=self._settle_ms, site=self._site, units=self._units
            )
            lines = list(found)
        else:
            shape = homelab_payload.Shape(self._units, self._fields, device, self._site)
            lines = homelab_payload.lines(answer, shape, {}, asked_ms * 1000) if answer != [] else []
        return b"".join(lines), len(lines), ""


def _with_faults(scrape):
    """Lines that are no samples go along: ingest puts them aside with the reason."""
    broken = b"".join(homelab_payload.raw_line(fault.text.encode()) for fault in scrape.faults)
    note = ""
    if scrape.faults:
        first = scrape.faults[0]
        note = f"{len(scrape.faults)} lines are no samples; line {first.line}: {first.reason}"
    return scrape.lines + broken, scrape.readings + len(scrape.faults), note


def _without_secrets(address):
    """The address without user, password and query, which may hold a key."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else address.partition("?")[0]
