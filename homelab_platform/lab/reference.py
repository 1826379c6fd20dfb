"""The reference page of the lab file, made from the model and from what this version does with each key.

Belongs here: the page. Not here: what a key means (model/), or whether it has an effect (served.yaml).
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.served import ANY, entry_of

SINCE = "0.1.0"
SITES: Mapping[str, str] = {
    "network": "lab; the LAN and the domain everywhere",
    "hosts": "lab",
    "cluster": "lab",
    "storage": "lab",
    "secrets": "all",
    "people": "lab; SQL accounts on full",
    "identity": "lab",
    "workloads": "lab",
    "streams": "machine and files: all; http, mqtt, prometheus, rest: full; mqtt: lab",
    "backups": "all, as far as the site reaches what is saved",
    "patching": "none yet",
    "alerts": "none yet",
    "logs": "none yet",
    "nix": "lab",
    "tooling": "lab",
    "tasks": "all",
}
"""On which kinds of site each section has an effect."""
_HEAD = """# The lab file

Every key of `lab.yaml`, made from the model by `scripts/lab-reference`. `<name>` stands for a name of your choice. The
last column says whether anything reads a key; one without effect is named by `homelab check` at its line.

Keys of single host services and workloads are in the [catalogue](catalogue.md). `homelab schema` prints the JSON Schema
for editors, `homelab show --why` where each value of your lab comes from.
"""


def reference_page() -> str:
    """The whole page as Markdown."""
    lines = [_HEAD]
    whole = [(name, field) for name, field in Lab.model_fields.items() if not list(_models(field.annotation))]
    lines += ["## The lab itself", "", *_table(whole, ())]
    for name, field in Lab.model_fields.items():
        models = dict.fromkeys(_models(field.annotation))
        if not models:
            continue
        site = SITES.get(name, "all")
        lines += [f"## `{name}`", "", f"{field.description} On sites of kind: {site}. Since {SINCE}.", ""]
        for model, named in models:
            lines += _section(model, (name, ANY) if named else (name,))
    return "\n".join(lines).rstrip() + "\n"


def _section(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    fields = [(field.alias or name, field) for name, field in model.model_fields.items()]
    lines = _table(fields, path)
    for name, field in fields:
        for inner, named in dict.fromkeys(_models(field.annotation)):
            below = (*path, name, ANY) if named else (*path, name)
            lines += [f"### `{_shown(below)}`", "", (inner.__doc__ or "").split("\n")[0], "", *_section(inner, below)]
    return lines


def _table(fields: list[tuple[str, FieldInfo]], path: tuple[str, ...]) -> list[str]:
    rows = ["| key | default | what it says | in this version |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {_default(field)} | {_cell(field.description or '')} | {_effect((*path, name))} |"
        for name, field in fields
    ]
    return [*rows, ""]


def _effect(path: tuple[str, ...]) -> str:
    found = entry_of(path)
    entry = found[1] if found else None
    if entry is None or entry.says is None:
        return "read" if entry is not None else ""
    kind = "refused" if entry.danger else "no effect"
    return _cell(f"{kind}: {entry.says}")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None or value in ({}, (), "") or isinstance(value, BaseModel):
        return ""
    return f"`{_cell(str(value if not isinstance(value, tuple) else ', '.join(map(str, value))))}`"


def _models(kind: object) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models inside a type, and whether each stands behind a name of a person's own choice."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, False
    arguments = typing.get_args(kind)
    named = typing.get_origin(kind) is dict
    for argument in arguments[1:] if named else arguments:
        for model, inner in _models(argument):
            yield model, named or inner


def _shown(path: tuple[str, ...]) -> str:
    return ".".join("<name>" if part == ANY else part for part in path)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
