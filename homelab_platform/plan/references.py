"""`${…}` in values and manifests: what it may name, what it may do with it, and how all of it is filled in.

Belongs here: the facts of the lab under the names that a file knows them by, and the functions of references. Not here:
which files count (values.py, workload/manifests.py), or the lab's facts themselves (lab/resolve).

Only these functions exist: none reads the environment, and `text` reads files of this project alone, so that the same
lab gives the same bytes on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Position
from homelab_platform.lab.quantities import did_you_mean
from homelab_platform.paths import project_path
from homelab_platform.plan.neighbours import client_facts, database_facts, provider_of, sso_facts, uses_of

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

MI, GI = 1024**2, 1024**3
SECTIONS = ("hosts", "network", "people", "storage", "streams", "buckets", "workloads", "identity", "cluster")
"""The sections of the resolved lab that a reference may name."""
READ_BY = {"hosts": "host_address", "workloads": "service", "people": "people_with"}
"""The function that reads a section without a reference that names it."""
PROJECT_FOLDERS = ("ansible", "dashboards", "helm", "homelab_platform", "nifi", "notebooks")
"""Folders of this project whose files `${text:…}` may read."""


TEMPLATES = "templates"
"""The key of a file below which `${each:…}` and `${text_each:…}` find their texts; it is no value itself."""
CERTIFICATE_AUTHORITIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}


PUBLIC_ISSUERS = {
    "https://github.com": "github",
    "https://gitlab.com": "gitlab",
    "https://accounts.google.com": "google",
}
"""Public issuers that sign-in proxies know by a name of their own; GitHub's is no OpenID Connect issuer."""


@dataclass(frozen=True)
class Layer:
    """Some values, and the file that they stand in; None for what is derived or stands in the lab file."""

    values: Mapping[str, Any]
    file: Path | None = None


def filled(lab: ResolvedLab, workload: ResolvedWorkload, layers: Sequence[Layer]) -> dict[str, Any]:
    """The layers merged, the later over the earlier, with every reference filled in.

    Maps are merged, lists and scalars replaced; a key that a later layer sets to null goes. Raises HomelabError with
    file, line and column for a reference to what the lab does not have.

    A large lab takes OmegaConf a tenth of a second to take in, for each workload: it is given what the layers name.
    """
    context = context_of(lab, workload)
    text = repr([layer.values for layer in layers])
    unnamed = {name for name in SECTIONS if not any(f"{{{word}" in text for word in (name, READ_BY.get(name, name)))}
    try:
        return _filled({name: value for name, value in context.items() if name not in unnamed}, workload, layers)
    except HomelabError:
        return _filled(context, workload, layers)  # whatever a reference may name in a way that is not seen above


def _filled(known: Mapping[str, object], workload: ResolvedWorkload, layers: Sequence[Layer]) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _register()
    context = OmegaConf.create(dict(known))
    try:
        context["values"] = OmegaConf.merge(*(OmegaConf.create(dict(layer.values)) for layer in layers))
        found = OmegaConf.to_container(context["values"], resolve=True)
    except OmegaConfBaseException as error:
        raise _explain(error, workload, layers) from None
    except _Unknown as error:
        raise _placed(str(error.args[0]), error.args[1], error.args[2], workload, layers) from None
    return {str(key): value for key, value in found.items() if key != TEMPLATES} if isinstance(found, dict) else {}


def context_of(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, Any]:
    """What a reference may name; text of the lab is data, never a reference itself."""
    whole = lab.model_dump(mode="json")
    known: dict[str, object] = {name: whole[name] for name in SECTIONS}
    nodes = sorted({*lab.cluster.servers, *lab.cluster.agents}) if lab.cluster else []
    services = f"{lab.network.subdomain}.{lab.network.domain}" if lab.network.subdomain else lab.network.domain
    known["lab"] = {
        "name": lab.name, "timezone": lab.timezone, "domain": lab.network.domain, "service_domain": services,
        "scheme": "https" if lab.network.tls else "http",
    }  # fmt: skip
    known["workload"] = whole["workloads"].get(workload.name, workload.model_dump(mode="json"))
    known["nodes"] = nodes
    known["single_node"] = len(nodes) == 1
    addresses = {name: lab.hosts[name].address for name in nodes if lab.hosts[name].address}
    known["node_addresses"] = sorted(str(address) for address in addresses.values())
    servers = lab.cluster.servers if lab.cluster else ()
    known["server_addresses"] = sorted(str(addresses[name]) for name in servers if name in addresses)
    one = workload.placement[0] if len(workload.placement) == 1 else None
    known["selector"] = {"kubernetes.io/hostname": one} if one else {}
    known["affinity"] = _affinity(workload.placement)
    balanced = provider_of(lab, "load-balancer") is not None
    known["pinned"] = {"metallb.io/loadBalancerIPs": workload.address} if workload.address and balanced else {}
    known["https"] = bool(lab.network.tls)
    known["emails"] = "\n".join(sorted({person.email for person in lab.people.values() if person.email}))
    known["uses"] = uses_of(lab, workload)
    known["sso"] = sso_facts(lab, workload)
    known["databases"] = database_facts(lab, workload)
    known["clients"] = client_facts(lab, workload)
    known["pages"] = {n: w.hostname for n, w in sorted(lab.workloads.items()) if w.hostname and w.exposure != "lan"}
    known["scrape"] = _scrape(lab)
    return {str(key): value for key, value in escaped(known).items()}


def _affinity(placement: Sequence[str]) -> dict[str, Any]:
    """The hosts that it may run on, as a pod's affinity; empty where the scheduler decides."""
    if not placement:
        return {}
    match = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(placement)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [match]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _scrape(lab: ResolvedLab) -> list[dict[str, Any]]:
    """Prometheus' `scrape_configs` for every exporter of the lab, one job each."""
    jobs: dict[tuple[str, str], list[dict[str, object]]] = {}
    for target in sorted(lab.scrape_targets, key=lambda t: (t.job, t.instance)):
        jobs.setdefault((target.job, target.path), []).append(
            {"targets": [target.address], "labels": {"instance": target.instance}}
        )
    return [
        {"job_name": job if path == "/metrics" else f"{job}{path.replace('/', '-')}",
         "metrics_path": path, "static_configs": targets}
        for (job, path), targets in jobs.items()
    ]  # fmt: skip


def escaped(value: object) -> Any:
    if isinstance(value, str):
        return value.replace("${", r"\${")
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value


class _Unknown(Exception):
    """A resolver was asked for what the lab does not have: what, remedy, the words to look for in the file."""


def _register() -> None:
    from omegaconf import OmegaConf

    resolvers: dict[str, Callable[..., object]] = {
        "memory": lambda size: f"{max(1, int(size) // MI)}Mi",
        "gib": lambda size: f"{max(1, -(-int(size) // GI))}Gi",
        "hours": lambda seconds: f"{max(1, round(int(seconds) / 3600))}h",
        "number": lambda value: int(value),  # noqa: PLW0108 - OmegaConf wants a signature
        "not": lambda value: not value,
        "join": lambda items, sign=",": sign.join(map(str, _container(items))),
        "lines": lambda pairs, sign=" ": sign.join(
            f"{value} {key}" for key, value in sorted(_container(pairs).items())
        ),
        "share": lambda size, part: f"{max(1, int(int(size) * float(part)) // MI)}Mi",
        "heap": lambda size, part=0.7: f"{max(1, int(int(size) * float(part)) // MI)}M",
        "cpu": lambda millicores: f"{int(millicores)}m",
        "days": lambda seconds: f"{max(1, round(int(seconds) / 86_400))}d",
        "yaml": _yaml,
        "word": lambda value: str(value).lower() if isinstance(value, bool) else str(value),
        "service": _service,
        "text": _project_text,
        "same": lambda value, other: str(str(value) == str(other)).lower(),
        "base_dn": lambda domain: ",".join(f"dc={part}" for part in str(domain).split(".")),
        "issuer_kind": lambda issuer: PUBLIC_ISSUERS.get(str(issuer).rstrip("/"), "oidc"),
        "people_with": _people_with,
        "each": _each,
        "text_each": _text_each,
        "host_address": _host_address,
        "acme": lambda issuer: CERTIFICATE_AUTHORITIES.get(str(issuer), str(issuer)),
    }
    for name in ("oc.env", "oc.decode", "oc.create", "oc.select", "oc.deprecated", "oc.dict.keys", "oc.dict.values"):
        OmegaConf.clear_resolver(name)
    for name, resolver in resolvers.items():
        OmegaConf.register_resolver(name, resolver, replace=True)


def _container(value: object) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _yaml(value: object) -> str:
    """A part of the lab as YAML text, for a chart that takes a file's text."""
    import yaml

    return str(yaml.safe_dump(_container(value), sort_keys=True, allow_unicode=True))


def _each(rows: object, name: str, *, _root_: object) -> Any:
    """A list with one item for each row: the template `name`, a YAML text, with `$key` replaced by the row's values."""
    import yaml
    from omegaconf import OmegaConf

    return OmegaConf.create([yaml.safe_load(text) for text in _from_template(rows, name, _root_)])


def _text_each(rows: object, name: str, *, _root_: object) -> str:
    """The same as one text."""
    return "".join(_from_template(rows, name, _root_))


def _from_template(rows: Any, name: str, root: Any) -> list[str]:
    import json
    from string import Template

    known = root.get("values", {}).get(TEMPLATES) or {}
    if name not in known:
        raise _Unknown(f"there is no template {name}", did_you_mean(name, known, "Templates"), f",{name}")
    template = Template(str(known[name]))
    texts = []
    for row in _container(rows):
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}
        texts.append(template.substitute(words))
    return texts


def _people_with(role: str, *, _root_: Any) -> Any:
    """Names of the people of a role."""
    from omegaconf import OmegaConf

    return OmegaConf.create(sorted(name for name, person in _root_.people.items() if person.role == role))


def _host_address(name: str, *, _root_: Any) -> str:
    """The address of a host of the lab; what is none stays as it is."""
    found = _root_.hosts.get(name)
    return str(found.address or name) if found is not None else str(name)


def _project_text(place: str) -> str:
    """The text of a file of this project, for a chart that mounts it."""
    file = project_path(*place.split("/")).resolve()
    allowed = any(file.is_relative_to(project_path(folder).resolve()) for folder in PROJECT_FOLDERS)
    if not allowed or not file.is_file():
        raise _Unknown(f"the project has no file {place}", "Correct the path.", f"text:{place}")
    return file.read_text()


def _service(name: str, port: str = "", *, _root_: Any) -> str:
    """`host:port` under which pods reach a workload of the lab; without a port only the host."""
    workloads = _root_.workloads
    if name not in workloads:
        raise _Unknown(f"the lab has no workload {name}", did_you_mean(name, workloads), f"service:{name}")
    found = workloads[name]
    host = f"{found.services.get(port, name)}.{found.namespace}.svc"
    if not port:
        return host
    if port not in found.ports:
        raise _Unknown(f"{name} has no port {port}", did_you_mean(port, found.ports), f"service:{name}")
    return f"{host}:{found.ports[port].port}"


_QUOTED = re.compile(r"'([^']+)'")


def _explain(error: Exception, workload: ResolvedWorkload, layers: Sequence[Layer]) -> HomelabError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _Unknown):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, _Unknown):
        return _placed(cause.args[0], cause.args[1], cause.args[2], workload, layers)
    said = str(error).splitlines()[0]
    found = _QUOTED.search(said)
    words = found[1] if found else ""
    known = "lab, workload, workloads, uses, sso, databases, clients, hosts, nodes, network, people, storage, scrape"
    remedy = f"It may name {known}; `homelab show --json` has them all. Write \\${{ where the text itself is meant."
    return _placed(f"cannot be filled in: {said}", remedy, words, workload, layers)


def _placed(what: str, remedy: str, words: str, workload: ResolvedWorkload, layers: Sequence[Layer]) -> HomelabError:
    """The problem at the place where the reference stands, the last file that says it first."""
    for layer in reversed(layers):
        if layer.file is None or not words:
            continue
        for number, line in enumerate(layer.file.read_text().splitlines(), 1):
            if words in line and "${" in line:
                position = Position(str(layer.file), number, line.index("${") + 1)
                return HomelabError.of(position, f"{workload.name}: {what}", remedy)
    return HomelabError.of(f"workload {workload.name}", f"its values {what}", remedy)
