"""YAML as Go's libraries read it, which is how Helm, kubectl and the API server understand a manifest.

Belongs here: the loader only. It differs from YAML 1.1, PyYAML's own, where manifests are hurt by it: `yes` and `on`
are text, `0o755` is a number, a plain `=` is text, a date stays text
(https://github.com/kubernetes-sigs/yaml, https://github.com/go-yaml/yaml/blob/v3/resolve.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)


class GoLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe: makes plain data only."""


GoLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", re.compile(r"<<$"), ["<"]),
):
    GoLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


def _integer(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if digits.startswith("0") and digits[1:].isdigit():
        return sign * int(digits, 8)
    return sign * int(digits, 0)


def _float(loader: Any, node: Any) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


GoLoader.add_constructor("tag:yaml.org,2002:int", _integer)
GoLoader.add_constructor("tag:yaml.org,2002:float", _float)


def documents(text: str) -> Iterator[Any]:
    """Every document of a text that is none of nothing. Raises yaml.YAMLError for what is no YAML."""
    return (item for item in yaml.load_all(text, Loader=GoLoader) if item)
