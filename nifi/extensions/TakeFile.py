"""The NiFi processor that takes a dropped file: unchanged into the raw bucket, then aside; or refused, with a reason.

Belongs here: what NiFi sees. Not here: what is done with the file (homelab_files.py). It gets what ListFile lists, not
the file's content: a file of gigabytes then goes to the bucket once, not through NiFi's repository and the bridge to
Python first.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from nifiapi.flowfiletransform import FlowFileTransform, FlowFileTransformResult
from nifiapi.properties import PropertyDescriptor, StandardValidators
from nifiapi.relationship import Relationship

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - NiFi adds it only for a NAR

from homelab_files import DONE, REFUSED, Known, Moved, Unfit, digest_of, key_of, look, put_away, send, state_ms
from homelab_s3 import Target, Unavailable


def _property(name, description, default=None, required=True, sensitive=False):
    return PropertyDescriptor(
        name=name,
        description=description,
        required=required,
        sensitive=sensitive,
        default_value=default,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR] if required else None,
    )


class TakeFile(FlowFileTransform):
    """Takes one listed file; routes what became of it to taken, refused, later or unavailable."""

    class Java:
        """What NiFi's bridge looks for."""

        implements = ["org.apache.nifi.python.processor.FlowFileTransform"]

    class ProcessorDetails:
        """What NiFi shows of it."""

        version = "1.0.0"
        description = (
            "Takes a file that ListFile has listed: puts it unchanged into an S3 bucket, with the mapping of its"
            " columns, and moves it to done/ after that; one that cannot be read goes to refused/ with the reason."
        )
        tags = ["s3", "files", "readings", "homelab"]
        dependencies = []

    ENDPOINT = _property("Endpoint URL", "Where the S3 server answers: http://host:port")
    BUCKET = _property("Bucket", "The bucket of raw objects")
    REGION = _property("Region", "The region that requests are signed for", "us-east-1")
    ACCESS = _property("Access Key ID", "The key's name")
    SECRET = _property("Secret Access Key", "The key's secret", sensitive=True)
    STREAM = _property("Stream", "The stream that the files belong to: the first part of each key")
    FORMAT = _property("Format", "What the files are: any, csv, ndjson or parquet", "any", False)
    COLUMNS = _property("Columns", "JSON: their columns to ours", "{}", False)
    DEVICE = _property("Device", "The device of files that name none", "", False)
    SENSOR = _property("Sensor", "The sensor of files that name none", "", False)

    descriptors = [ENDPOINT, BUCKET, REGION, ACCESS, SECRET, STREAM, FORMAT, COLUMNS, DEVICE, SENSOR]
    relationships = [
        Relationship("taken", "It is in the bucket and lies in done/"),
        Relationship("refused", "It lies in refused/, and why beside it; homelab.error says it too"),
        Relationship("later", "It is being written still, or is gone; it is listed again if it is there"),
        Relationship("unavailable", "The bucket did not take it; it stays where it is and is listed again"),
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
        """Read the settings once for all files until the processor is stopped."""
        self._settings = _Settings(context, self)

    def transform(self, context, flowfile):
        """One file."""
        if self._settings is None:  # NiFi has started our process anew after it died, and tells us nothing
            self._settings = _Settings(context, self)

        listed = flowfile.getAttributes()
        path = Path(listed["absolute.path"], listed["filename"])
        try:
            size, changed = state_ms(path)
            if str(size) != listed["file.size"] or changed // 1000 != _seconds(listed["file.lastModifiedTime"]):
                return FlowFileTransformResult("later")
            return self._take(path)
        except Moved:
            return FlowFileTransformResult("later")
        except Unavailable as error:
            self.logger.warn(f"{path.name} stays where it is: {error}")
            context.yield_resources()
            return FlowFileTransformResult("unavailable", {"homelab.error": str(error)[:500]})
        except OSError as error:
            self.logger.error(f"{path}: {error.strerror or error}; NiFi's user must be able to read and move it")
            return FlowFileTransformResult("unavailable", {"homelab.error": str(error)[:500]})

    def _take(self, path):
        settings = self._settings
        try:
            found = look(path, settings.known)
        except Unfit as error:
            put_away(path, REFUSED, digest_of(path), str(error))
            self.logger.warn(f"{path.name} was refused: {error}")
            return FlowFileTransformResult("refused", {"homelab.error": f"{path.name}: {error}"[:500]})
        key = key_of(settings.stream, path, found)
        fresh = send(settings.target, path, key, found)
        goal = put_away(path, DONE, found.digest)
        attributes = {"homelab.object": key, "homelab.file": str(goal), "homelab.fresh": str(fresh).lower()}
        return FlowFileTransformResult("taken", attributes)


def _seconds(listed):
    """Whole seconds since 1970 of a time as ListFile writes it."""
    return int(datetime.strptime(listed, "%Y-%m-%dT%H:%M:%S%z").timestamp())


class _Settings:
    """The properties that are the same for every file."""

    def __init__(self, context, names):
        def read(descriptor):
            return context.getProperty(descriptor).getValue() or ""

        self.target = Target(
            read(names.ENDPOINT), read(names.BUCKET), read(names.REGION), read(names.ACCESS), read(names.SECRET)
        )
        self.stream = read(names.STREAM)
        columns = json.loads(read(names.COLUMNS) or "{}")
        self.known = Known(read(names.FORMAT) or "any", columns, read(names.DEVICE), read(names.SENSOR))
