"""The lab file's `streams:` section: where readings come from, which sensors they carry, how long they are kept.

Belongs here: what a person writes about a stream of readings.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import Duration, Every, Many, Name, Node, Port, Secret, SensorsByName, TimeZone


class Mqtt(Node):
    """Messages of an MQTT broker, or in short the topic."""

    short: ClassVar[str | None] = "topic"
    topic: str = Field(description="Topic filter.", examples=["sensors/+/environment"])
    broker: str | None = Field(None, description="Address; the lab's mosquitto when not said.")
    port: Port = Field(1883, description="Port.")
    user: str | None = Field(None, description="User.")
    password: Secret | None = Field(None, description="Reference to the password.")
    qos: Literal[0, 1, 2] = Field(1, description="Quality of service.")
    levels: Many[Literal["device", "sensor", "site", "-"]] | None = Field(
        None, description="What each + or # of the topic stands for: device, then sensor, when not said."
    )
    fields: dict[str, str] | None = Field(None, description="Their fields to ours: {temp_c: temperature, time: ts}.")


class Http(Node):
    """Readings posted to an address of the lab, or in short the path."""

    short: ClassVar[str | None] = "path"
    path: str = Field("/readings", description="Path below the ingest address.")
    token: Secret | None = Field(None, description="Reference to the token that senders carry.")


class Files(Node):
    """Files that appear in a folder or bucket, or in short the folder."""

    short: ClassVar[str | None] = "path"
    path: str = Field(description="Folder, or prefix of the raw bucket.", examples=["drop/environment"])
    format: Literal["ndjson", "csv", "parquet", "any"] = Field("any", description="What the files are.")
    columns: dict[str, str] = Field({}, description="Their columns to ours: {temp_c: temperature}.")


class Prometheus(Node):
    """Samples of a Prometheus server, or of exporters asked directly; in short the query."""

    short: ClassVar[str | None] = "query"
    query: str = Field(
        "",
        description="PromQL; of an exporter, selectors joined by `or`, or nothing for all that it has.",
        examples=["node_hwmon_temp_celsius"],
    )
    server: str | None = Field(None, description="Address; the lab's Prometheus when not said.")
    exporter: Many[str] | None = Field(
        None, description="Exporters that are asked themselves.", examples=["http://192.168.0.120:9100/metrics"]
    )
    every: Every = Field(60, description="How often it is asked.")


class Rest(Node):
    """A REST address that is asked again and again, or in short its URL."""

    short: ClassVar[str | None] = "url"
    url: str = Field(description="Address.", examples=["https://api.example.org/weather"])
    every: Every = Field(300, description="How often it is asked.")
    token: Secret | None = Field(None, description="Reference to the token.")
    items: str | None = Field(None, description="JSON path of the readings in the answer.")
    shape: Literal["readings", "home-assistant"] | None = Field(
        None, description="What the items are: readings, or Home Assistant's long-term statistics."
    )
    statistics: Many[str] | None = Field(
        None, description="Statistics that Home Assistant is asked for.", examples=["sensor.kitchen_temperature"]
    )
    overlap: Duration | None = Field(None, description="How far back each poll of statistics asks; 2d when not said.")
    settle: Duration | None = Field(None, description="Age at which a period counts as final; 1h when not said.")
    fields: dict[str, str] | None = Field(None, description="Their fields to ours: {temp_c: temperature, time: ts}.")


class Machine(Node):
    """Telemetry of hosts themselves: CPU, memory, disk, temperature, network."""

    hosts: Many[Name] | None = Field(None, description="Hosts; this machine on the embedded site.")
    every: Every = Field(10, description="How often it is read.")


class Source(Node):
    """Where readings come from: exactly one of the kinds. In short a kind that needs no settings: `from: machine`."""

    mqtt: Mqtt | None = Field(None, description="Messages of an MQTT broker.", examples=["sensors/+/environment"])
    http: Http | None = Field(None, description="Readings posted to the lab.")
    files: Files | None = Field(None, description="Files that appear in a folder.")
    prometheus: Prometheus | None = Field(None, description="Samples of a Prometheus server.")
    rest: Rest | None = Field(None, description="A REST address asked again and again.")
    machine: Machine | None = Field(None, description="Telemetry of hosts.")

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {k: {} if v is None else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _one(self) -> Source:
        kinds = [k for k in type(self).model_fields if getattr(self, k) is not None]
        if len(kinds) != 1:
            said = "no source" if not kinds else f"{len(kinds)} sources ({', '.join(kinds)})"
            raise q.Bad(f"a stream has one source; this has {said}", "Make one stream per source.")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(k for k in type(self).model_fields if getattr(self, k) is not None)

    @classmethod
    def short_schemas(cls, full: dict[str, object]) -> list[dict[str, Any]]:
        """Kinds without settings."""
        return [{"enum": ["machine", "http"]}]


def _range(value: object) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = value
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
        if numbers and low <= high:
            return (float(low), float(high))
        if numbers:
            raise q.Bad(f"the range [{low}, {high}] ends before it starts", f"Write [{high}, {low}].")
    raise q.Bad(f"{q.shown(value)} is not a range", "Write the lowest and the highest plausible value: [-40, 85].")


class Sensor(Node):
    """A quantity that devices measure, or in short its unit."""

    short: ClassVar[str | None] = "unit"
    unit: str = Field("", description="Unit.", examples=["°C", "%", "hPa"])
    range: Annotated[tuple[float, float], BeforeValidator(_range)] | None = Field(
        None, description="Lowest and highest plausible value; others are marked.", examples=[[-40, 85]]
    )
    every: Every | None = Field(None, description="How often one is expected; gaps are found by it.", examples=["10s"])
    description: str | None = Field(None, description="One line for people.")


class Keep(Node):
    """How long readings are kept; for ever when not said. In short one duration for both."""

    raw: Duration | None = Field(None, description="Raw objects.", examples=["30d"])
    table: Duration | None = Field(None, description="Rows of the table.", examples=["2y"])

    @classmethod
    def from_short(cls, value: object) -> Any:
        """One duration for both."""
        return {"raw": value, "table": value}

    @classmethod
    def short_schemas(cls, full: dict[str, object]) -> list[dict[str, Any]]:
        """One duration."""
        return [{"type": "string", "examples": ["30d"]}]


ColumnType = Literal["boolean", "int", "long", "float", "double", "string", "date", "timestamptz"]
TABLE = "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$"


class Stream(Node):
    """One stream of readings."""

    from_: Source = Field(alias="from", description="Where readings come from.")
    description: str | None = Field(None, description="One line for people.")
    via: Literal["nifi", "direct"] | None = Field(
        None, description="nifi when the lab has it and the source is outside."
    )
    devices: Many[Name] = Field((), description="Devices known ahead; others are welcome too.")
    sensors: SensorsByName[Sensor] = Field({}, description="What is measured, by name.")
    columns: dict[str, ColumnType] = Field({}, description="Further columns of its rows.")
    table: Annotated[str, Field(pattern=TABLE)] = Field("default.sensor_data", description="Table its rows go to.")
    bucket: Name | None = Field(None, description="Bucket of its raw objects; the lab's raw bucket when not said.")
    keep: Keep = Field(Keep.model_construct(), description="How long readings are kept.")
    tz: TimeZone | None = Field(
        None, description="Zone of times that come without one; refused when not said.", examples=["Europe/Berlin"]
    )
    site: Name = Field("home", description="Site that its readings carry.")
