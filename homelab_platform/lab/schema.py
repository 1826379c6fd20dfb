"""The JSON Schema of the lab file, so that editors complete, describe and check it while it is written.

Belongs here: the schema only. It is made from the model; what it cannot say (rules across fields, settings of single
workloads) `homelab check` says.
"""

from __future__ import annotations

from typing import Any

from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.settings import SettingSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: dict[str, dict[str, object]] = {
    "text": {"type": "string"},
    "path": {"type": "string"},
    "time": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "mapping": {"type": "object"},
    "secret": {"type": "string", "pattern": "^(sops:[^#]+#.+|env:.+|file:.+|vault:[^#]+#.+)$"},
}


def json_schema() -> dict[str, Any]:
    """The schema with descriptions, examples and enums."""
    schema = Lab.model_json_schema(by_alias=True)
    schema["$schema"] = DIALECT
    schema["title"] = "Lab file of homelab_platform"
    definitions = schema.get("$defs", {})
    _whole(schema)
    for name, definition in definitions.items():
        definition.setdefault("title", name)
    _host_services(definitions)
    return schema


def _whole(schema: dict[str, Any]) -> None:
    """The lab itself is always a mapping: the empty forms that its parts allow are taken away."""
    forms = schema.pop("anyOf", None)
    if forms:
        schema.update(forms[0])


def _host_services(definitions: dict[str, Any]) -> None:
    """Host services by name with their settings, under hosts.<name>.services."""
    services = {
        name: {
            "description": service.title,
            "anyOf": [
                {"type": "null"},
                {"type": "object", "properties": {key: _setting(spec) for key, spec in service.settings.items()}},
            ],
        }
        for name, service in sorted(HOST_SERVICES.items())
    }
    host = definitions["Host"]["anyOf"][0]["properties"]["services"]
    host["anyOf"] = [
        {"type": "object", "properties": services, "additionalProperties": False},
        {"type": "array", "items": {"enum": sorted(HOST_SERVICES)}},
        {"type": "null"},
    ]


def _setting(spec: SettingSpec) -> dict[str, Any]:
    schema = dict(_TYPES.get(spec.kind, {}))
    if spec.description:
        schema["description"] = spec.description
    if spec.choices:
        schema["enum"] = list(spec.choices)
    if spec.default is not None:
        schema["default"] = spec.default
    return schema
