"""The building blocks of the lab file's model: strict base classes, and scalars in human units as pydantic types.

Belongs here: types that several model modules share. Not here: how a scalar is read (quantities.py, ranges.py,
calendar.py).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from homelab_platform.lab import calendar as cal
from homelab_platform.lab import quantities as q
from homelab_platform.lab.ranges import AddressRange, address_range

T = TypeVar("T")


class Node(BaseModel):
    """A mapping of the lab file: strict scalars, unknown keys refused, immutable. Nothing after the key means {}.

    `short` names the field that a bare scalar stands for (`ssd: 500Gi` is `ssd: {size: 500Gi}`).
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True, defer_build=True
    )
    short: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _from_short(cls, value: Any) -> Any:
        if value is None:
            return {}
        if isinstance(value, (dict, BaseModel)):
            return value
        return cls.from_short(value)

    @classmethod
    def from_short(cls, value: object) -> Any:
        """The mapping that a bare value stands for; returned unchanged (and then refused) where there is none."""
        return value if cls.short is None else {cls.short: value}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        target = handler.resolve_ref_schema(schema)
        forms: list[dict[str, object]] = [{"type": "null"}, *cls.short_schemas(target)]
        full = {k: target[k] for k in ("type", "properties", "required", "additionalProperties") if k in target}
        for key in full:
            target.pop(key)
        target["anyOf"] = [full, *forms]
        return schema

    @classmethod
    def short_schemas(cls, full: dict[str, Any]) -> list[dict[str, Any]]:
        """JSON schemas of the short forms, for editors."""
        if cls.short is None:
            return []
        form = full["properties"].get(cls.short, {})
        return [{k: v for k, v in form.items() if k not in ("default", "title", "description")}]


class OneOrMany:
    """Tells editors that one value may stand where a list is meant."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return {"anyOf": [schema, schema["items"]]} if "items" in schema else schema


class NamesOrMapping:
    """Tells editors that a list of names may stand where a mapping by name is meant."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}


def _many(value: object) -> Any:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, (tuple, dict)) else (value,)


def _empty(value: object) -> Any:
    return {} if value is None else value


def _names_or_mapping(value: object) -> Any:
    if value is None:
        return {}
    if isinstance(value, str):
        return {value: None}
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return dict.fromkeys(value)
    return value


def _whole_duration(value: object) -> Any:
    seconds = q.duration(value)
    if isinstance(seconds, float):
        raise q.Bad(f"{value} is not a whole number of seconds", "Write at least 1s here.")
    return seconds


def _like(pattern: str, *examples: str, kind: str = "string") -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "pattern": pattern, "examples": list(examples)})


def _said(*examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": list(examples)})


Name = Annotated[str, BeforeValidator(q.name), _like("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "pi-1")]
SensorName = Annotated[str, BeforeValidator(q.sensor_name), _like("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "cpu_percent")]
Domain = Annotated[str, BeforeValidator(q.domain), _said("lab.example.org")]
Size = Annotated[int, BeforeValidator(q.size), _like(r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|Pi)$", "512Mi", "20Gi", "1Ti")]
Duration = Annotated[int, BeforeValidator(_whole_duration), _like(r"^(\d+(s|m|h|d|w|y))+$", "15m", "30d", "2y")]
Every = Annotated[float, BeforeValidator(q.duration), _like(r"^(\d+(ms|s|m|h|d|w|y))+$", "10s", "500ms")]
Cpu = Annotated[
    int,
    BeforeValidator(q.cpu),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+m$"}, {"type": "number"}], "examples": ["500m", 2]}),
]
Secret = Annotated[
    str,
    BeforeValidator(q.secret),
    _like("^(sops:[^#]+#.+|env:.+|file:.+|vault:[^#]+#.+)$", "sops:secrets/dns.yaml#cloudflare", "env:TOKEN"),
]
Mac = Annotated[str, BeforeValidator(q.mac), _like("^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$", "d8:3a:dd:00:00:01")]
Version = Annotated[str, BeforeValidator(q.version), _said("v1.33.13+k3s1")]
Cidr = Annotated[str, BeforeValidator(q.cidr), _said("192.168.0.0/24")]
Address = Annotated[str, BeforeValidator(q.address), _said("192.168.0.10")]
Range = Annotated[AddressRange, BeforeValidator(address_range), _said("192.168.0.200-250")]
TimeOfDay = Annotated[str, BeforeValidator(q.time_of_day), _like("^[0-2]?[0-9]:[0-5][0-9]$", "02:30")]
Cron = Annotated[str, BeforeValidator(cal.cron), _said("30 2 * * *")]
PatchWindow = Annotated[cal.Window, BeforeValidator(cal.window), _said("first Sunday 03:00-06:00")]
Blackout = Annotated[str, BeforeValidator(cal.blackout), _said("2026-12-20..2027-01-05")]
Port = Annotated[int, Field(ge=1, le=65535)]
Many = Annotated[tuple[T, ...], BeforeValidator(_many), OneOrMany()]
Named = Annotated[dict[Name, T], BeforeValidator(_empty)]
NamedOrList = Annotated[dict[Name, T], BeforeValidator(_names_or_mapping), NamesOrMapping()]
SensorsByName = Annotated[dict[SensorName, T], BeforeValidator(_names_or_mapping), NamesOrMapping()]
Free = Annotated[dict[str, Any], BeforeValidator(_empty)]  # plain data of another tool, such as Helm values


def _timezone(value: object) -> str:
    """An IANA zone, looked up in the system's or the tzdata package's list."""
    import zoneinfo

    text = value if isinstance(value, str) else ""
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zones = zoneinfo.available_timezones()
        near = q.nearest(text, zones) or q.nearest(text, {z.split("/")[-1] for z in zones})
        full = next((z for z in sorted(zones) if z == near or z.endswith(f"/{near}")), None)
        hint = f"Did you mean {full}?" if full else "Write it as the IANA list does: Europe/London."
        raise q.Bad(f"{q.shown(value)} is not a time zone", hint) from None
    return text


TimeZone = Annotated[str, BeforeValidator(_timezone)]
"""An IANA time zone."""
