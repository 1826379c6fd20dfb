"""A workload as asked for, beside the catalogue entry it was made from; and small helpers that resolving shares.

Belongs here: the working data of lab.py and its parts. Nothing of it leaves lab/.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from homelab_platform.lab import quantities as q
from homelab_platform.lab.bundles import expand
from homelab_platform.lab.catalogue import Catalogue, Entry
from homelab_platform.lab.load import LoadedLab
from homelab_platform.lab.model.lab import Lab
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.settings import SettingSpec, read_setting

MI = 1024**2
OWN_CPU, OWN_MEMORY = 50, 96 * MI  # what a workload of one's own asks for when it says nothing


@dataclass(frozen=True)
class Chosen:
    """One workload of the lab; `entry` is None for a workload of one's own."""

    name: str
    said: Workload
    entry: Entry | None

    @property
    def catalogue(self) -> str:
        """The catalogue entry's name; its own name when there is none."""
        return self.entry.name if self.entry else self.name

    @property
    def cpu(self) -> int:
        """Millicores of one copy."""
        return self.said.cpu if self.said.cpu is not None else self.entry.cpu if self.entry else OWN_CPU

    @property
    def memory(self) -> int:
        """Bytes of one copy."""
        return self.said.memory if self.said.memory is not None else self.entry.memory if self.entry else OWN_MEMORY

    @property
    def replicas(self) -> int:
        """Copies."""
        return self.said.replicas if self.said.replicas is not None else self.entry.replicas if self.entry else 1

    @property
    def kind(self) -> Any:
        """helm, kustomize, host or builtin."""
        if self.said.kustomize:
            return "kustomize"
        return self.entry.kind if self.entry and not self.said.chart else "helm"

    @property
    def arch(self) -> tuple[str, ...]:
        """Architectures its images exist for."""
        return self.entry.arch if self.entry else ("amd64", "arm64")

    @property
    def per_node(self) -> bool:
        """Whether a copy runs on every node."""
        return bool(self.entry and self.entry.per_node)

    @property
    def provides(self) -> tuple[str, ...]:
        """Interfaces that it offers to others (`s3`, `ingress`)."""
        return tuple(getattr(self.entry, "provides", ())) if self.entry else ()


@dataclass(frozen=True)
class Draft:
    """The lab under resolution."""

    loaded: LoadedLab
    catalog: Catalogue
    chosen: Mapping[str, Chosen] = field(default_factory=dict)

    @property
    def lab(self) -> Lab:
        """The lab as written."""
        return self.loaded.lab

    @cached_property
    def by_catalogue(self) -> dict[str, tuple[str, ...]]:
        """Names of the lab's workloads by catalogue entry and by interface that they provide."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.chosen):
            chosen = self.chosen[name]
            for word in sorted({name, chosen.catalogue, *chosen.provides}):
                found.setdefault(word, []).append(name)
        return {word: tuple(names) for word, names in found.items()}

    def first(self, *words: str) -> str | None:
        """The first workload that is called, is made from, or provides one of `words`."""
        for word in words:
            if self.by_catalogue.get(word):
                return self.by_catalogue[word][0]
        return None

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Hosts of the cluster by name."""
        return tuple(sorted(name for name, host in self.lab.hosts.items() if host.k3s))

    @cached_property
    def servers(self) -> tuple[str, ...]:
        """k3s servers by name."""
        return tuple(name for name in self.nodes if self.lab.hosts[name].k3s == "server")

    @cached_property
    def service_domain(self) -> str:
        """`<subdomain>.<domain>`."""
        return f"{self.lab.subdomain}.{self.lab.domain}" if self.lab.subdomain else self.lab.domain


def make_draft(loaded: LoadedLab, catalog: Catalogue) -> Draft:
    """Pairs every workload with its catalogue entry; bundles give way to their members."""
    loaded = expand(loaded, catalog)
    chosen = {}
    for name in sorted(loaded.lab.workloads):
        said = loaded.lab.workloads[name]
        found = catalog.resolve_name(said.catalogue or name)
        chosen[name] = Chosen(name, said, catalog[found] if found is not None else None)
    return Draft(loaded, catalog, chosen)


def spread(name: str, size: int) -> int:
    """A number below `size` that depends on the name alone, so that other names coming and going do not change it."""
    return zlib.crc32(name.encode()) % size


def free_slot(name: str, size: int, taken: Iterable[int]) -> int | None:
    """The first slot at or after `spread(name)` that is not taken; None when all are."""
    used = set(taken)
    start = spread(name, size) if size else 0
    return next((slot % size for slot in range(start, start + size) if slot % size not in used), None)


def settings_of(specs: Mapping[str, SettingSpec], said: Mapping[str, object] | None) -> dict[str, Any]:
    """Declared settings in plain units: what was said over the defaults; what cannot be read is left out."""
    result: dict[str, object] = {}
    for name, spec in specs.items():
        value = (said or {}).get(name, spec.default)
        if value is None:
            continue
        try:
            result[name] = plain(read_setting(spec, value))
        except q.Bad:
            continue
    return result


def facts_of(node: BaseModel, *, exclude_none: bool = False) -> dict[str, Any]:
    """The fields of a section of the lab as JSON-ready data; `exclude_none` leaves out fields without a value.

    As `plain(node.model_dump())`, for which pydantic would first make a serializer for the class of each section.
    """
    fields = {name: getattr(node, name) for name in type(node).model_fields} | (node.model_extra or {})
    kept = {name: value for name, value in fields.items() if value is not None or not exclude_none}
    return {name: _facts(value, exclude_none) for name, value in kept.items()}


def _facts(value: object, exclude_none: bool) -> Any:
    if isinstance(value, BaseModel):
        return facts_of(value, exclude_none=exclude_none)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _facts(below, exclude_none) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_facts(below, exclude_none) for below in value]
    return plain(value)


def plain(value: object) -> Any:
    """The value as JSON-ready data (tuples become lists)."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
