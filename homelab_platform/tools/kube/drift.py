"""Where live objects differ from what was applied: the server's own reckoning, in lines that a person understands.

Belongs here: comparing objects, telling what people changed from what controllers own, and putting back what people
added. Not here: where the applied objects come from (releases.py).

Two looks find everything. A server-side dry-run apply of what we want shows each field that would change
(https://kubernetes.io/docs/reference/using-api/server-side-apply/); fields that a controller or a default has set are
not ours, so they never show. What somebody added beside ours with kubectl is found in `managedFields`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from homelab_platform.tools.kube.api import Cluster, Object, name_of

_SERVER_OWNS = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"})
_HAND = ("kubectl", "Mozilla", "k9s", "lens", "Headlamp")
"""Beginnings of the names that tools which people work with leave in managedFields."""
_HARMLESS = ("kubectl.kubernetes.io/restartedAt", "kubectl.kubernetes.io/last-applied-configuration")
MASK = "(secret)"


@dataclass(frozen=True)
class Difference:
    """One field that is not as it should be; `is_` and `should` are short texts, None where there is nothing."""

    object: str
    path: str
    is_: str | None
    should: str | None

    def line(self) -> str:
        """As a person reads it."""
        if self.path == "":
            return f"{self.object} is gone"
        if self.should is None:
            return f"{self.object}: {self.path} = {self.is_} was added by hand"
        return f"{self.object}: {self.path} is {self.is_ if self.is_ is not None else 'gone'}, should be {self.should}"


def differences(cluster: Cluster, wanted: Object) -> list[Difference]:
    """Where the live object is not as `wanted` says; empty when it is. Reads only."""
    live = cluster.get(wanted)
    name = name_of(wanted)
    if live is None:
        return [Difference(name, "", None, "there")]
    after = cluster.would_become(wanted)
    found = [
        Difference(name, path, was, should)
        for path, was, should in compare(_comparable(live), _comparable(after))
        if not any(word in path for word in _HARMLESS)
    ]
    secret = wanted.get("kind") == "Secret"
    added = [Difference(name, _shown(path), _text(value), None) for path, value in by_hand(live, wanted)]
    return [_masked(difference) if secret else difference for difference in (*found, *added)]


def _masked(difference: Difference) -> Difference:
    return Difference(
        difference.object,
        difference.path,
        difference.is_ and MASK,
        difference.should and MASK,
    )


def _comparable(live: Object) -> Object:
    found = {key: value for key, value in live.items() if key != "status"}
    found["metadata"] = {key: value for key, value in live["metadata"].items() if key not in _SERVER_OWNS}
    return found


def compare(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str | None, str | None]]:
    """The fields in which two trees differ: path, old and new value as short texts (None: not there)."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from compare(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(old, new, path)
    elif old != new:
        yield path, _text(old), _text(new)


def _compare_lists(old: list[Any], new: list[Any], path: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Items with names are compared by name, others by their place."""
    if all(isinstance(item, dict) and "name" in item for item in (*old, *new)):
        olds, news = ({item["name"]: item for item in items} for items in (old, new))
        for name in [*news, *(n for n in olds if n not in news)]:
            yield from compare(olds.get(name), news.get(name), f"{path}[{name}]")
        return
    for index in range(max(len(old), len(new))):
        pair = [items[index] if index < len(items) else None for items in (old, new)]
        yield from compare(pair[0], pair[1], f"{path}[{index}]")


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", "⏎")
    return text if len(text) <= 80 else f"{text[:77]}…"


Step = tuple[str, object]
"""One step of a path in managedFields: ("f", field), ("k", {key: value}) or ("v", value)."""


def by_hand(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[tuple[Step, ...], Any]]:
    """Fields that people added beside ours, with their values: owned by a person's tool, and not in `wanted`."""
    found = []
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("subresource") or not str(entry.get("manager", "")).startswith(_HAND):
            continue
        for path in _leaves(entry.get("fieldsV1") or {}, ()):
            value = _follow(live, path)
            if value is not None and _follow(wanted, path) is None and not _is_harmless(path):
                found.append((path, value))
    return found


def _is_harmless(path: tuple[Step, ...]) -> bool:
    return any(step[1] in _HARMLESS or step[1] in ("status", *_SERVER_OWNS) for step in path if step[0] == "f")


def _leaves(fields: Mapping[str, Any], path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    children = [(key, value) for key, value in fields.items() if key != "."]
    # an item that the same hand added as a whole goes as a whole
    if path and (not children or ("." in fields and path[-1][0] == "k")):
        yield path
        return
    for key, value in children:
        kind, _, rest = key.partition(":")
        step: Step = (kind, rest if kind == "f" else json.loads(rest))
        yield from _leaves(value, (*path, step))


def _follow(value: object, path: tuple[Step, ...]) -> object:
    for kind, what in path:
        if kind == "f":
            value = value.get(what) if isinstance(value, Mapping) else None
        elif isinstance(value, list):
            value = next((item for item in value if _is_item(item, kind, what)), None)
        else:
            value = None
        if value is None:
            return None
    return value


def _is_item(item: object, kind: str, what: Any) -> bool:
    if kind == "v":
        return bool(item == what)
    return isinstance(item, dict) and all(item.get(key) == value for key, value in what.items())


def _shown(path: tuple[Step, ...]) -> str:
    text = ""
    for kind, what in path:
        if kind == "f":
            text = f"{text}.{what}" if text else str(what)
        else:
            text += f"[{','.join(map(str, what.values())) if isinstance(what, dict) else what}]"
    return text


def put_back(cluster: Cluster, wanted: Object) -> list[Difference]:
    """Take out what people added, then apply what we want; returns what was put back.

    Raises ClusterError if somebody changes the object at the same moment; the next try finds it anew.
    """
    found = differences(cluster, wanted)
    if not found:
        return []
    live = cluster.get(wanted)
    added = by_hand(live, wanted) if live is not None else []
    if live is not None and added:
        cleaned = copy.deepcopy(live)
        for path, _value in added:
            _remove(cleaned, path)
        cleaned["metadata"].pop("managedFields", None)
        cluster.replace(cleaned)
    cluster.apply(wanted)
    return found


def _remove(value: object, path: tuple[Step, ...]) -> None:
    parent = _follow(value, path[:-1]) if len(path) > 1 else value
    kind, what = path[-1]
    if kind == "f" and isinstance(parent, dict):
        parent.pop(what, None)
    elif isinstance(parent, list):
        parent[:] = [item for item in parent if not _is_item(item, kind, what)]
