"""`homelab init`, `check`, `show`, `schema`: everything about the lab file that needs no server.

Belongs here: reading, explaining and starting a lab file. Not here: what needs a site or a host.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError, Problem
from homelab_platform.paths import project_path

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

SCHEMA_FILE = "lab.schema.json"


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(init)
    app.command()(check)
    app.command()(show)
    app.command()(schema)


def _examples() -> list[str]:
    return sorted(path.parent.name for path in project_path("examples").glob("*/lab.yaml"))


def init(
    folder: Annotated[Path, typer.Argument(help="Where the lab file goes; made if it does not exist.")] = Path(),
    example: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="EXAMPLE",
            help="Start from an example lab instead of the small template.",
            autocompletion=_examples,
        ),
    ] = None,
) -> None:
    """Write a first lab.yaml, with the schema that makes editors check and complete it."""
    from homelab_platform.lab.schema import json_schema
    from homelab_platform.lab.template import starter

    target = folder / common.LAB_FILE
    if target.exists():
        raise HomelabError.of(str(target), "is here already; it was left as it was", "Choose another folder.")
    if example is not None and example not in _examples():
        raise HomelabError.of(f"--from {example}", "no such example", f"Examples: {', '.join(_examples())}.")
    with common.as_the_user_writes():
        folder.mkdir(parents=True, exist_ok=True)
        if example is None:
            name = folder.resolve().name
            target.write_text(starter(name), encoding="utf-8")
        else:
            shutil.copytree(project_path("examples", example), folder, dirs_exist_ok=True)
        (folder / SCHEMA_FILE).write_bytes(_schema_bytes(json_schema()))
    output.say(f"Wrote {target} and {folder / SCHEMA_FILE}.")
    where = "" if folder == Path() else f" {folder}"
    output.say(f"Next: edit it, then `homelab check{where}`, then `homelab up{where}`.")


def check(lab: common.LabArgument = None, as_json: common.JsonOption = False) -> None:
    """Say everything that is wrong with the lab file, all at once. Changes nothing."""
    from homelab_platform.lab.check import ADVICE, check_lab, lab_warnings

    path = common.find_lab(lab)
    catalogue = common.catalogue_for(path)
    problems = common.from_here(check_lab(path, catalogue), path)
    warnings = [] if problems else common.from_here(lab_warnings(path, catalogue), path)
    dead = [] if problems else common.from_here(_missing_secrets(path), path)
    unsaved = [] if problems else _unsaved(path)
    if as_json:
        told = [p.to_dict() for p in (*problems, *warnings, *dead)]
        output.write_json({"lab": str(path), "problems": told, "without_backup": unsaved})
    elif problems:
        output.print_problems(problems, closing=f"{output.count(len(problems), 'error')}. Nothing was changed.")
    else:
        resolved = common.resolved_lab(path)
        output.say(f"{path}: {_inventory(resolved)}. No errors.")
        for name in resolved.workloads:
            if old_name := catalogue.warning(name):
                output.say(f"  {name}: {old_name}")
        if unsaved:
            output.note(f"{output.count(len(unsaved), 'item')} with state and no backup: {', '.join(unsaved)}")
            output.note("  Add a plan that covers them below backups:.")
        _print_warnings([warning for warning in warnings if warning.rule not in ADVICE])
        output.print_problems([warning for warning in warnings if warning.rule in ADVICE])
        if dead:
            output.note(f"{output.count(len(dead), 'secret')} without a value: {dead[0].remedy}")
            for problem in dead:
                output.note(f"  {problem.where}: {problem.what}")
    raise typer.Exit(1 if problems else 0)


def _unsaved(path: Path) -> list[str]:
    from homelab_platform.lab.resolve.backups import uncovered

    return uncovered(common.resolved_lab(path))


def _missing_secrets(path: Path) -> list[Problem]:
    from homelab_platform.lab.load import load_lab
    from homelab_platform.secrets.audit import missing_values

    return missing_values(load_lab(path))


def _print_warnings(warnings: Sequence[Problem]) -> None:
    """What has no effect, each kind once at the first line that asks for it."""
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for warning in warnings:
        kinds.setdefault((warning.what, warning.remedy), []).append(warning)
    if not kinds:
        return
    output.note(f"{output.count(len(warnings), 'line')} without effect in this version:")
    firsts = [
        replace(same[0], what=f"{same[0].what}{f' (and {len(same) - 1} more lines)' if len(same) > 1 else ''}")
        for same in kinds.values()
    ]
    output.print_problems(firsts)


def _inventory(lab: ResolvedLab) -> str:
    counts = {
        "host": len(lab.hosts),
        "workload": len(lab.workloads),
        "stream": len(lab.streams),
        "backup": len(lab.backups),
    }
    return ", ".join(output.count(number, noun) for noun, number in counts.items())


def show(
    what: Annotated[
        str | None, typer.Argument(help="hosts, workloads, streams, backups, dns, or one: host/pi-1, workload/trino.")
    ] = None,
    lab: common.LabOption = None,
    why: Annotated[bool, typer.Option("--why", help="Say of every value where it comes from.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Show the resolved lab: what you wrote and every fact that follows from it."""
    path = common.find_lab(lab)
    if why:
        _show_why(path, what, as_json)
        return
    resolved = common.resolved_lab(path)
    if as_json and what is None:
        output.write_bytes(resolved.to_json())
        return
    document = resolved.model_dump(mode="json", exclude_defaults=not as_json)
    if what is None:
        _show_summary(resolved)
        return
    found = _pick(document, what, path)
    if as_json:
        output.write_json(found)
    elif what in ("hosts", "workloads", "streams", "backups"):
        output.say(_listing(resolved, what))
    else:
        for line in _flat(found):
            output.say(line)


def _show_why(path: Path, what: str | None, as_json: bool) -> None:
    from homelab_platform.lab.load import load_lab
    from homelab_platform.lab.why.trace import explain

    prefix = (what or "").replace("/", ".")
    singular = {"host": "hosts", "workload": "workloads", "stream": "streams", "backup": "backups"}
    head, dot, tail = prefix.partition(".")
    prefix = f"{singular.get(head, head)}{dot}{tail}"
    rows = [
        row
        for row in explain(load_lab(path), common.catalogue_for(path))
        if not prefix or row[0] == prefix or row[0].startswith(prefix + ".")
    ]
    if not rows:
        raise HomelabError.of(str(path), f"nothing in the lab is called {what}", "Try `homelab show` for an overview.")
    if as_json:
        output.write_json([{"path": p, "value": v, "origin": o} for p, v, o in rows])
    else:
        output.say(output.table(("value of", "is", "because"), [(p, _short(v), o) for p, v, o in rows]))


def _short(value: Any, limit: int = 60) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _pick(document: dict[str, Any], what: str, path: Path) -> Any:
    plurals = {
        "host": "hosts",
        "workload": "workloads",
        "stream": "streams",
        "backup": "backups",
        "person": "people",
        "bucket": "buckets",
        "table": "tables",
        "mart": "marts",
        "target": "targets",
        "dns": "network",
    }
    head, _, name = what.partition("/")
    section = document.get(plurals.get(head, head))
    if section is None:
        raise HomelabError.of(str(path), f"nothing in the lab is called {what}", f"Sections: {', '.join(document)}.")
    if what == "dns":
        return section.get("dns_records", {})
    if not name:
        return section
    if name not in section:
        raise HomelabError.of(str(path), f"{head} {name} is not in the lab", f"There are: {', '.join(section)}.")
    return section[name]


def _flat(value: Any, prefix: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [line for i, item in enumerate(value) for line in _flat(item, f"{prefix}[{i}]")]
    shown = ", ".join(map(str, value)) if isinstance(value, list) else value
    return [f"{prefix}: {shown}"] if prefix else [str(shown)]


def _show_summary(lab: ResolvedLab) -> None:
    output.say(f"{lab.name} ({lab.network.domain}, {lab.timezone})")
    if lab.cluster:
        servers, agents = (", ".join(names) for names in (lab.cluster.servers, lab.cluster.agents))
        output.say(f"k3s {lab.cluster.version}: servers {servers or 'none'}; agents {agents or 'none'}")
    for section in ("hosts", "workloads", "streams", "backups"):
        if getattr(lab, section):
            output.say("")
            output.say(_listing(lab, section))


def _listing(lab: ResolvedLab, section: str) -> str:
    if section == "hosts":
        rows: list[tuple[object, ...]] = [
            (h.name, h.board, h.os, h.address or ("DHCP" if h.dhcp else ""), h.k3s or h.role, output.size(h.memory))
            for h in lab.hosts.values()
        ]
        return output.table(("host", "board", "os", "address", "role", "memory"), rows, right=frozenset({5}))
    if section == "workloads":
        rows = [
            (
                w.name,
                w.app_version or w.chart_version or "",
                ", ".join(w.placement),
                output.size(w.memory),
                w.hostname or w.address or "",
                ", ".join(w.needs),
            )
            for w in lab.workloads.values()
        ]
        return output.table(("workload", "version", "on", "memory", "reached at", "needs"), rows, right=frozenset({3}))
    if section == "streams":
        rows = [(s.name, s.source, ", ".join(s.sensors), f"s3://{s.bucket}/{s.prefix}") for s in lab.streams.values()]
        return output.table(("stream", "from", "sensors", "raw objects"), rows)
    rows = [(b.name, b.item, b.method, b.schedule, ", ".join(b.targets)) for b in lab.backups.values()]
    return output.table(("backup", "of", "by", "when", "to"), rows)


def _schema_bytes(document: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def schema(
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to a file instead.")] = None,
    as_json: common.JsonOption = False,
) -> None:
    """Print the JSON Schema of the lab file, for editors."""
    from homelab_platform.lab.schema import json_schema

    data = _schema_bytes(json_schema())
    if out is None:
        output.write_bytes(data)
        return
    out.write_bytes(data)
    if as_json:
        output.write_json({"written": str(out)})
    else:
        output.say(f"Wrote {out}. First line of the lab file: # yaml-language-server: $schema={out.name}")
