"""Where every value of the resolved lab comes from: the file, the catalogue, the board, or a rule of ours.

Belongs here: origins, in words. Used by `homelab show --why`; nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from homelab_platform.lab import quantities as q
from homelab_platform.lab.catalogue import Catalogue
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.positions import Path
from homelab_platform.lab.resolve.chosen import Draft, make_draft, plain
from homelab_platform.lab.resolve.lab import resolve
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab, ResolvedWorkload
from homelab_platform.lab.why.reasons import CATALOGUE_FIELDS, DERIVED, RENAMED, SHOWN_AS

Row = tuple[str, object, str]
_FROM_MODEL = ("storage", "secrets", "people", "identity", "patching", "alerts", "logs", "nix", "tooling")


def explain(loaded: LoadedLab, catalog: Catalogue) -> list[Row]:
    """(path, value, origin) of every value, by section. Origins: 'lab.yaml:12:3', 'catalogue helm/trino/workload.yaml',
    'board pi5-8gb', 'default: …', 'derived: …'. Sizes and durations are shown as people write them."""
    draft = make_draft(loaded, catalog)
    loaded = draft.loaded
    resolved = resolve(loaded, catalog)
    rows: list[Row] = []
    for field in ("version", "lab", "domain", "subdomain", "timezone", "environment"):
        rows += _model_rows(loaded, field, getattr(loaded.lab, field), (field,), _description(type(loaded.lab), field))
    rows += _network_rows(loaded, resolved)
    for host in resolved.hosts.values():
        rows += _host_rows(loaded, host)
    rows += _cluster_rows(loaded, resolved)
    for workload in resolved.workloads.values():
        rows += _workload_rows(draft, workload)
    rows += _data_rows(loaded, resolved)
    for section in _FROM_MODEL:
        value = getattr(loaded.lab, section)
        rows += _model_rows(loaded, section, value, (section,), _description(type(loaded.lab), section))
    return rows


def _description(model: type[BaseModel], field: str) -> str:
    return model.model_fields[field].description or ""


def _written(loaded: LoadedLab, path: Path, least: int) -> str | None:
    """Position of `path`, or of the scalar that stands for it in short (`ssd: 500Gi`); None when nothing is written.

    An ancestor shorter than `least` does not count: the name of a host says nothing of its disks.
    """
    found, mark = loaded.positions.nearest(path)
    if mark is None or len(found) < least or (found != path and mark.raw in (None, "")):
        return None
    return str(loaded.positions.at(*found))


def show(key: str, value: object) -> Any:
    """A value as people write it: sizes as 20Gi, durations as 30d, millicores as 500m."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        kind = SHOWN_AS.get(key)
        if kind == "size":
            exact = q.show_size(int(value))
            return exact if not exact.isdigit() else f"{value / 1024**3:.2f}Gi"
        if kind == "duration":
            return q.show_duration(value)
        if kind == "cpu":
            return f"{value:g}m" if value % 1000 else f"{value / 1000:g}"
    return value


def _leaves(value: object, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _leaves(value[key], (*path, key))
    elif value not in (None, {}, [], ()):
        yield path, value


def _rename(section: str, path: Path) -> Path:
    """The path as it is written in the lab file."""
    field = str(path[0])
    renamed = RENAMED.get(f"{section}.{field}")
    path = (*renamed, *path[1:]) if renamed is not None else path
    if path and path[-1] in ("low", "high"):
        return (*path[:-1], "range", int(path[-1] == "high"))
    return path


def _rows(loaded: LoadedLab, section: str, base: Path, document: Mapping[str, Any], other: Any) -> Iterator[Row]:
    """Rows of one resolved object: positions of what is written, else what `other(path)` says."""
    for path, value in _leaves(document, ()):
        if path[-1] == "name":
            continue
        where = _written(loaded, (*base, *_rename(section, path)), len(base) + 1)
        dotted = ".".join(str(part) for part in (*base, *path))
        yield dotted, show(str(path[-1]), plain(value)), where or other(path)


def _derived(section: str, path: Path) -> str:
    field = str(path[0])
    return DERIVED.get(f"{section}.{field}") or "default: as the platform has it"


def _network_rows(loaded: LoadedLab, resolved: ResolvedLab) -> Iterator[Row]:
    document = resolved.network.model_dump(exclude={"domain", "subdomain", "settings"})
    return _rows(loaded, "network", ("network",), document, lambda path: _derived("network", path))


def _host_rows(loaded: LoadedLab, host: ResolvedHost) -> Iterator[Row]:
    def other(path: Path) -> str:
        if path[0] in ("arch", "cpu", "memory") or path == ("settings", "page_size"):
            return f"board {host.board}"
        return _derived("hosts", path)

    return _rows(loaded, "hosts", ("hosts", host.name), host.model_dump(), other)


def _cluster_rows(loaded: LoadedLab, resolved: ResolvedLab) -> Iterator[Row]:
    if resolved.cluster is None:
        return iter(())
    way = resolved.cluster.deploy

    def other(path: Path) -> str:
        followed = _written(loaded, ("cluster", "deploy", way, *path[1:]), 3) if path[0] == "gitops" else None
        return followed or _derived("cluster", path)

    return _rows(loaded, "cluster", ("cluster",), resolved.cluster.model_dump(), other)


def _workload_rows(draft: Draft, workload: ResolvedWorkload) -> Iterator[Row]:
    chosen = draft.chosen[workload.name]
    entry = f"catalogue helm/{chosen.catalogue}/workload.yaml" if chosen.entry else None

    def other(path: Path) -> str:
        field = str(path[0])
        if field == "volumes" and path[-1] in ("storage_class", "on_host"):
            return _derived("workloads", (path[-1],))
        if entry and field in CATALOGUE_FIELDS:
            return entry
        return _derived("workloads", path)

    for dotted, value, origin in _rows(
        draft.loaded, "workloads", ("workloads", workload.name), workload.model_dump(), other
    ):
        parts = dotted.split(".")
        yield dotted, value, _size_origin(draft, workload, parts) or origin


def _size_origin(draft: Draft, workload: ResolvedWorkload, parts: list[str]) -> str | None:
    """`size:` of a workload stands for its main volume's."""
    if parts[2:3] != ["volumes"] or parts[-1] != "size":
        return None
    said = draft.lab.workloads[workload.name]
    main = next((v for v, volume in workload.volumes.items() if volume.storage_class != "media"), None)
    own = parts[3] in said.volumes
    return None if own or main != parts[3] else _written(draft.loaded, ("workloads", workload.name, "size"), 3)


def _data_rows(loaded: LoadedLab, resolved: ResolvedLab) -> Iterator[Row]:
    for stream in resolved.streams.values():
        yield from _rows(
            loaded, "streams", ("streams", stream.name), stream.model_dump(), lambda path: _derived("streams", path)
        )
    for section in ("buckets", "tables", "marts", "backups", "targets"):
        for name, item in getattr(resolved, section).items():
            for path, value in _leaves(item.model_dump(), ()):
                if path[-1] == "name":
                    continue
                origin = _operation_origin(loaded, section, name, path)
                yield ".".join((section, name, *map(str, path))), show(str(path[-1]), plain(value)), origin


def _operation_origin(loaded: LoadedLab, section: str, name: str, path: Path) -> str:
    if section == "targets":
        return _written(loaded, ("backups", "to", name, *path[-1:]), 3) or "default: none"
    if section == "backups":
        plans = loaded.lab.backups.plans
        plan = next((p for p in plans if name.endswith(f"-{p}")), next(iter(plans), ""))
        keys = {"schedule": "at", "keep": "keep", "drill": "drill", "targets": "to"}
        key = keys.get(str(path[0]))
        where = _written(loaded, ("backups", plan, key, *path[1:]), 3) if key else None
        return where or _derived("backups", path)
    return _derived(section, path)


def _model_rows(loaded: LoadedLab, dotted: str, value: object, path: Path, description: str) -> Iterator[Row]:
    """Rows of a section that resolves to itself: what is written, and the default of what is not."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            key = info.alias or name
            child = getattr(value, name)
            yield from _model_rows(loaded, f"{dotted}.{key}", child, (*path, key), info.description or "")
    elif isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _model_rows(loaded, f"{dotted}.{key}", value[key], (*path, key), description)
    elif value not in (None, (), {}):
        origin = _written(loaded, path, min(2, len(path))) or f"default: {description}".rstrip(": ")
        yield dotted, show(str(path[-1]), plain(value)), origin
