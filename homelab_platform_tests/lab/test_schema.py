"""What editors are told: the schema accepts what we accept, and knows enough to complete and to warn."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from homelab_platform.lab.schema import json_schema
from homelab_platform_tests.lab.strategies import LAB_SETTINGS, documents, example_documents

SCHEMA = json_schema()
CHECKER = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("name", sorted(example_documents()))
def test_it_accepts_every_example(name: str) -> None:
    assert [error.json_path for error in CHECKER.iter_errors(example_documents()[name])] == []


@settings(LAB_SETTINGS, max_examples=25)
@given(document=documents())
def test_it_accepts_what_the_loader_accepts(document: dict[str, Any]) -> None:
    assert [error.json_path for error in CHECKER.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("path", "junk"),
    [(("hosts", "pi-master", "board"), "pi9"), (("hosts", "pi-master", "bord"), "pi3"), (("storge",), "nfs"),
     (("workloads", "trino", "memory"), "2Gb"), (("people", "ada", "role"), "boss"), (("lab",), 3),
     (("network", "dns", "cloudflare", "token"), "hunter2"), (("hosts", "pi-master", "services"), {"samab": None})],
)  # fmt: skip
def test_it_warns_of_mistakes(path: tuple[str, ...], junk: Any) -> None:
    document = copy.deepcopy(example_documents()["pi-cluster"])
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = junk
    assert not CHECKER.is_valid(document)


def test_every_key_is_described() -> None:
    silent = [
        f"{name}.{key}"
        for name, definition in {**SCHEMA["$defs"], "Lab": SCHEMA}.items()
        for form in [definition, *definition.get("anyOf", [])]
        for key, value in form.get("properties", {}).items()
        if not value.get("description") and "$ref" not in value
    ]
    assert silent == []
