"""The NiFi processor that takes readings in: one FlowFile becomes one immutable object in the raw bucket, or a reason.

Belongs here: what NiFi sees, its properties, relationships and answers. Not here: what a reading is (homelab_door.py),
or how an object is written (homelab_s3.py).

Each call across the bridge between Java and Python costs about a tenth of a millisecond, so a request is taken whole:
its bytes in one call, and as few attributes as can be.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import os
import re
import sys
import time

from nifiapi.flowfiletransform import FlowFileTransform, FlowFileTransformResult
from nifiapi.properties import ExpressionLanguageScope, PropertyDescriptor, StandardValidators
from nifiapi.relationship import Relationship

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - NiFi adds it only for a NAR

from homelab_door import Door, Refused, as_it_came, day_of, unpack
from homelab_s3 import Target, Unavailable, Writer
from py4j import protocol

RETRY_AFTER = "5"
LATE = "late"
PLAIN_FACTOR = 8
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


def _decoded(text):
    return bytearray(base64.b64decode(text))


# The bridge turns bytes into a list of numbers and back, one by one: for a batch of 1,000 readings that takes longer
# than everything else together. Only how is changed here, not what comes out.
protocol.decode_bytearray = _decoded


def _property(name, description, default=None, required=True, sensitive=False, attributes=False, allowed=None):
    scope = ExpressionLanguageScope.FLOWFILE_ATTRIBUTES if attributes else ExpressionLanguageScope.NONE
    return PropertyDescriptor(
        name=name,
        description=description,
        required=required,
        sensitive=sensitive,
        default_value=default,
        allowable_values=allowed,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR] if required and not attributes else None,
        expression_language_scope=scope,
    )


class PutReadings(FlowFileTransform):
    """Checks a batch of readings and writes it to S3; routes it to success, invalid or unavailable."""

    class Java:
        """What NiFi's bridge looks for."""

        implements = ["org.apache.nifi.python.processor.FlowFileTransform"]

    class ProcessorDetails:
        """What NiFi shows of it."""

        version = "1.0.0"
        description = (
            "Takes a batch of sensor readings (a JSON array, one object or lines of objects, gzip or not), checks it"
            " and writes it to an S3 bucket as one object under <stream>/<day>/<producer>/<hash of the content>."
        )
        tags = ["s3", "readings", "sensor", "homelab"]
        dependencies = []

    ENDPOINT = _property("Endpoint URL", "Where the S3 server answers: http://host:port")
    BUCKET = _property("Bucket", "The bucket of raw objects")
    REGION = _property("Region", "The region that requests are signed for", "us-east-1")
    ACCESS = _property("Access Key ID", "The key's name")
    SECRET = _property("Secret Access Key", "The key's secret", sensitive=True)
    STREAM = _property("Stream", "The stream that the readings belong to: the first part of each key")
    PRODUCER = _property("Producer", "Who sent them: the third part of each key", "nifi", attributes=True)
    TOKEN = _property("Token", "What a sender must present; nothing when anybody may send", "", False, sensitive=True)
    PRESENTED = _property("Presented Token", "What the sender presents: Bearer and the token", "", False, False, True)
    INVALID = _property(
        "Invalid Readings",
        "refuse: a batch with one bad item is stored not at all, and answered with the reasons. store: everything is"
        " written as it came, and ingest puts what is no reading aside with its reason",
        "refuse",
        allowed=["refuse", "store"],
    )
    REPLY = _property(
        "Reply",
        "json: the content becomes the answer to the sender. none: it stays, and a batch that could not be written"
        " makes the processor pause",
        "json",
        allowed=["json", "none"],
    )
    LARGEST = _property("Largest Request", "Bytes that are taken at once; unpacked, 8 times as many", "16777216")
    ZONE = _property("Time Zone", "Zone of times without one, which are taken if there is one here", "", False)
    ROUTE = _property(
        "Route",
        "late: the request has waited too long, and the sender is told to come back; its content is not looked at",
        "${RouteOnAttribute.Route}",
        False,
        attributes=True,
    )

    descriptors = [
        ENDPOINT, BUCKET, REGION, ACCESS, SECRET, STREAM, PRODUCER, TOKEN, PRESENTED, INVALID, REPLY, LARGEST, ZONE,
        ROUTE,
    ]  # fmt: skip
    relationships = [
        Relationship("success", "The object is in the bucket"),
        Relationship("invalid", "It was refused, and would be again; the answer says why"),
        Relationship("unavailable", "The bucket did not take it; later it may"),
    ]

    def __init__(self, **kwargs):
        super().__init__()
        self._door = Door()
        self._settings = None

    def getPropertyDescriptors(self):
        """For NiFi."""
        return self.descriptors

    def getRelationships(self):
        """For NiFi."""
        return self.relationships

    def onScheduled(self, context):
        """Read the settings once for all requests until the processor is stopped."""
        self._set(context)

    def _set(self, context):
        self._settings = _Settings(context, self)
        self._door.take_zoneless(bool(self._settings.zone))

    def transform(self, context, flowfile):
        """One request: to the bucket, and an answer."""
        if self._settings is None:  # NiFi has started our process anew after it died, and tells us nothing
            self._set(context)
        settings = self._settings
        try:
            if _text(context, self.ROUTE, flowfile) == LATE:
                raise Unavailable("there is too much to do, and the request has waited for too long", tried=False)
            self._admit(context, settings, flowfile)
            return self._store(context, settings, flowfile)
        except Refused as refused:
            return self._result(settings, "invalid", refused.status, refused.answer())
        except Unavailable as error:
            if error.tried:
                self.logger.warn(f"nothing was stored: {error}")
            if not settings.replies:
                context.yield_resources()
            answer = {"status": 503, "error": f"nothing was stored: {error}", "retry_after_seconds": int(RETRY_AFTER)}
            return self._result(settings, "unavailable", 503, answer)

    def _admit(self, context, settings, flowfile):
        """Raises Refused for a sender without the token, and for what is too large to look at."""
        if settings.token:
            presented = _text(context, self.PRESENTED, flowfile)
            if not hmac.compare_digest(presented.encode(), f"Bearer {settings.token}".encode()):
                raise Refused(401, "the token is missing or wrong: send the header Authorization: Bearer TOKEN")
        size = flowfile.getSize()
        if size > settings.largest:
            raise Refused(413, f"the request holds {size} bytes; {settings.largest} is the most that is taken at once")

    def _store(self, context, settings, flowfile):
        now = time.time_ns() // 1000
        body = bytes(flowfile.getContentsAsBytes())
        lines, count, day = self._lines(settings, body, now)
        producer = _UNFIT.sub("-", _text(context, self.PRODUCER, flowfile)).strip("-.")[:100] or "unnamed"
        digest = hashlib.sha256(lines).hexdigest()[:32]
        key = f"{settings.stream}/{day}/{producer}/{digest}.ndjson.gz"
        fresh = settings.writer.put(key, gzip.compress(lines, 1, mtime=0), {"If-None-Match": "*"})
        answer = {"status": 201 if fresh else 200, "readings": count, "object": key}
        return self._result(settings, "success", answer["status"], answer)

    def _lines(self, settings, body, now):
        """The lines to write, how many readings they are, and the day of their key."""
        try:
            batch = self._door.read(unpack(body, settings.largest * PLAIN_FACTOR), now)
            return batch.lines, batch.readings, day_of(batch.first_us, now)
        except Refused as refused:
            if settings.refuses or refused.status == 413:
                raise
        plain = as_it_came(_plain_if_possible(body, settings.largest * PLAIN_FACTOR))
        if not plain:
            raise Refused(400, "there is nothing in it")
        return plain, plain.count(b"\n"), day_of(now, now)

    def _result(self, settings, relationship, status, answer):
        attributes = {"homelab.status": str(status)}
        if "object" in answer:
            attributes["homelab.object"] = answer["object"]
            attributes["homelab.readings"] = str(answer["readings"])
        else:
            attributes["homelab.error"] = answer["error"][:500]
        if status == 503:
            attributes["homelab.retry_after"] = RETRY_AFTER
        if not settings.replies:
            return FlowFileTransformResult(relationship, attributes)
        attributes["mime.type"] = "application/json"
        return FlowFileTransformResult(relationship, attributes, json.dumps(answer, ensure_ascii=False) + "\n")


class _Settings:
    """The properties that are the same for every request."""

    def __init__(self, context, names):
        def read(descriptor):
            return context.getProperty(descriptor).getValue() or ""

        target = Target(
            read(names.ENDPOINT), read(names.BUCKET), read(names.REGION), read(names.ACCESS), read(names.SECRET)
        )
        self.writer = Writer(target)
        self.stream = read(names.STREAM)
        self.token = read(names.TOKEN)
        self.refuses = read(names.INVALID) == "refuse"
        self.replies = read(names.REPLY) == "json"
        self.largest = int(read(names.LARGEST))
        self.zone = read(names.ZONE)


def _text(context, descriptor, flowfile):
    """A property whose value names attributes of the FlowFile."""
    return context.getProperty(descriptor).evaluateAttributeExpressions(flowfile).getValue() or ""


def _plain_if_possible(body, most):
    try:
        return unpack(body, most)
    except Refused:
        return body
