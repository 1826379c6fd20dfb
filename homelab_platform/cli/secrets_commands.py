"""`homelab secrets`: init, edit, show, rotate, audit.

Belongs here: screens and prompts. Not here: what is done (homelab_platform/secrets/).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole

if TYPE_CHECKING:
    from homelab_platform.lab.model.people import Secrets
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.secrets.generated import Generated

_PAPER = """
Recovery key: print these lines, keep the paper apart from the lab, then clear the screen. It opens every secret of
the lab, and it is stored nowhere.

    {private}
    (public half, for secrets.recovery: {public})
"""

app = typer.Typer(help="Secrets of the lab: encrypted files beside the lab file (SOPS, age).", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add this family's commands."""
    root.add_typer(app, name="secrets")


@app.command()
def init(
    lab: common.LabArgument = None,
    recovery_to: Annotated[
        Path | None,
        typer.Option("--recovery-to", metavar="FILE", help="Write the new recovery key to FILE instead of the screen."),
    ] = None,
) -> None:
    """Make what is missing: your age key, the recovery key, keys of hosts, passwords; set who can read what.

    Safe to run again: no secret that exists is replaced.
    """
    from homelab_platform.secrets import keeping, sops
    from homelab_platform.secrets.recipients import ensure_own_key

    path = common.find_lab(lab)
    said = _written_secrets(path)
    if not said.recovery and recovery_to is None and not sys.stdout.isatty():
        raise HomelabError.of(
            str(path), "the recovery key needs a screen or a file", "Run it in a terminal, or add --recovery-to FILE."
        )
    own, made = ensure_own_key()
    if made:
        output.say(f"Made your age key: {sops.key_file()}. Its public half: {own}")
    _ensure_recipients(path, said, own, recovery_to)
    resolved = _lab_of(path)
    for secret in keeping.make_missing(resolved, path.parent):
        output.say(f"Made {secret.reference}{f' and {secret.public}' if secret.public else ''}")
    resolved = _lab_of(path)  # now with the public halves that were made
    for place in keeping.align_recipients(resolved, path.parent):
        output.say(f"Recipients set: {place}")
    _say_missing(resolved, path.parent)


def _lab_of(path: Path) -> ResolvedLab:
    """The lab, checked but for keys that are still to be made."""
    from homelab_platform.secrets.keeping import lab_to_furnish

    with common.places_from_here(path):
        return lab_to_furnish(path, common.catalogue_for(path))


def _written_secrets(path: Path) -> Secrets:
    """`secrets:` of the lab file. Raises HomelabError for a file that cannot be read as a lab."""
    from homelab_platform.lab.load import load_lab

    with common.places_from_here(path):
        return load_lab(path).lab.secrets


def _ensure_recipients(path: Path, said: Secrets, own: str, recovery_to: Path | None) -> None:
    """Add this account's key and a recovery key to the lab file, where it names none.

    Raises HomelabError if this account is not one of the recipients: it could not read what it is about to make.
    """
    from homelab_platform.secrets.recipients import make_key, own_recipients

    if said.recipients and not {*own_recipients()} & {*said.recipients, said.recovery}:
        what = "none of this account's keys is among secrets.recipients"
        raise HomelabError.of(str(path), what, f"Have somebody who is add {own}, and run homelab secrets init.")
    lines = [] if said.recipients else [f"recipients: [{own}]"]
    made = None if said.recovery else make_key()
    lines += [f"recovery: {made[1]}"] if made else []
    if lines:
        _add_lines(path, lines)
        output.say(f"Added to {path}: {', '.join(line.partition(':')[0] for line in lines)} of secrets")
    if made:
        _give_recovery(*made, recovery_to)


def _add_lines(path: Path, lines: list[str]) -> None:
    """Put `lines` under `secrets:` of the lab file, which is made at its end if it is not there."""
    rows = path.read_text(encoding="utf-8").splitlines()
    heads = [number for number, row in enumerate(rows) if row.startswith("secrets:")]
    if heads and rows[heads[0]].partition("#")[0].strip() != "secrets:":
        raise HomelabError.of(str(path), "secrets: is written in one line", f"Add to it: {', '.join(lines)}.")
    at = heads[0] + 1 if heads else len(rows) + 2
    below = rows[at] if heads and at < len(rows) else ""
    indent = below[: len(below) - len(below.lstrip())] or "  "
    rows += [] if heads else ["", "secrets:"]
    rows[at:at] = [f"{indent}{line}" for line in lines]
    write_whole(path, "\n".join(rows) + "\n", mode=path.stat().st_mode & 0o777)


def _give_recovery(private: str, public: str, recovery_to: Path | None) -> None:
    text = _PAPER.format(private=private, public=public)
    if recovery_to is None:
        typer.echo(text)
        return
    try:
        descriptor = os.open(recovery_to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise HomelabError.of(str(recovery_to), f"cannot be made: {error.strerror}", "Name a new file.") from None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    output.say(f"Wrote the recovery key to {recovery_to}. Print it, then remove the file.")


def _say_missing(lab: ResolvedLab, folder: Path) -> None:
    from homelab_platform.secrets.audit import rows_of

    rows = [row for row in rows_of(lab, folder) if row.state not in ("present", "on the host")]
    if rows:
        output.note(f"{output.count(len(rows), 'secret')} to be given by you:")
        output.say(output.table(("secret", "for", "do"), [(r.reference, ", ".join(r.used_by), r.remedy) for r in rows]))


@app.command()
def edit(
    what: Annotated[str, typer.Argument(metavar="REFERENCE|FILE", help="sops:secrets/dns.yaml#token, or the file.")],
    lab: common.LabOption = None,
) -> None:
    """Give one secret a value (asked for, or from standard input), or open a whole file in $EDITOR."""
    from homelab_platform.secrets import keeping, sops
    from homelab_platform.secrets.recipients import audience_of, write_rules
    from homelab_platform.secrets.reference import parse

    path = common.find_lab(lab)
    resolved = _lab_of(path)
    if what.startswith(("sops:", "env:", "file:", "vault:")):
        reference = parse(what)
        value = typer.prompt(f"{reference}", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
        value = value.rstrip("\n")
        if not value:
            raise HomelabError.of(what, "no value was given", "Type it, or send it to standard input.")
        keeping.set_value(resolved, path.parent, reference, value)
        output.say(f"Set {reference}")
        return
    if not sys.stdin.isatty():
        raise HomelabError.of(what, "an editor needs a terminal", "Name one secret: sops:FILE#key, value by stdin.")
    write_rules(path.parent, audience_of(resolved))
    editor = os.environ.get("EDITOR") or os.environ.get("VISUAL") or "vi"
    place = what if Path(what).suffix else f"secrets/{what}.yaml"
    done = subprocess.run(
        [sops.program(), "edit", place], cwd=path.parent, env={**os.environ, "EDITOR": editor}, check=False
    )
    if done.returncode not in (0, 200):  # 200: the file was not changed
        raise HomelabError.of(place, f"{shlex.join([editor])} or sops ended with {done.returncode}", "See above.")


@app.command()
def show(
    reference: Annotated[str | None, typer.Argument(metavar="[REFERENCE]", help="One secret, for --reveal.")] = None,
    lab: common.LabOption = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the value of REFERENCE.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """List the lab's secrets: who uses each, and whether it is there. Values only by --reveal, one at a time."""
    from homelab_platform.secrets.audit import rows_of
    from homelab_platform.secrets.values import reveal as value_of

    path = common.find_lab(lab)
    if reveal:
        if reference is None:
            raise HomelabError.of("--reveal", "which secret?", "Name one: homelab secrets show REFERENCE --reveal.")
        typer.echo(value_of(reference, path.parent))
        return
    rows = [row for row in rows_of(_lab_of(path), path.parent) if reference in (None, row.reference)]
    if as_json:
        output.write_json(
            [
                {"reference": r.reference, "used_by": list(r.used_by), "state": r.state, "generated": r.generated}
                for r in rows
            ]
        )
        return
    output.say(output.table(("secret", "is", "for"), [(r.reference, r.state, ", ".join(r.used_by)) for r in rows]))


@app.command()
def rotate(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[REFERENCE|HOST]", help="A secret that homelab makes, or a host: its WireGuard key."),
    ] = None,
    lab: common.LabOption = None,
    keys: Annotated[bool, typer.Option("--keys", help="New data keys for every encrypted file.")] = False,
) -> None:
    """Make a secret anew. Nothing reaches a host before the next `homelab apply`.

    Refused for what a running service would not follow: passwords of backups, the cluster's token, SSH host keys.
    """
    from homelab_platform.secrets import keeping

    path = common.find_lab(lab)
    resolved = _lab_of(path)
    if keys:
        keeping.align_recipients(resolved, path.parent)
        for place in keeping.rotate_data_keys(path.parent, keeping.sops_places(resolved)):
            output.say(f"New data key: {place}")
        return
    chosen = _rotatable(resolved, what)
    keeping.rotate_generated(resolved, path.parent, chosen)
    for secret in chosen:
        output.say(f"Made anew: {secret.reference}{f' and {secret.public}' if secret.public else ''}")
    output.say("Next: homelab plan, then homelab apply.")


def _rotatable(lab: ResolvedLab, what: str | None) -> list[Generated]:
    from homelab_platform.secrets.generated import generated_by

    made = generated_by(lab)
    if what is None:
        raise HomelabError.of("rotate", "which secret?", "Name one; homelab secrets show lists them. Or --keys.")
    chosen = [s for s in made if str(s.reference) == what or (s.host == what and s.kind == "wireguard")]
    if not chosen:
        remedy = "Give it a new value: homelab secrets edit REFERENCE."
        raise HomelabError.of(what, "not a secret that homelab makes", remedy)
    why = {
        "ssh-host-key": "the host must be given it by a new card or by hand first",
        "password": "what it encrypts, or who knows it, must be given the new one first",
    }
    for secret in chosen:
        cluster = secret.kind == "token" and lab.secrets.get("cluster.token") == str(secret.reference)
        reason = "nodes could not join: k3s must be told first (k3s token rotate)" if cluster else why.get(secret.kind)
        if reason:
            remedy = "Change it there, then homelab secrets edit REFERENCE with the new value."
            raise HomelabError.of(str(secret.reference), f"is not rotated by this version: {reason}", remedy)
    return chosen


@app.command()
def audit(lab: common.LabArgument = None, as_json: common.JsonOption = False) -> None:
    """Say what is wrong: dead references, who can read what, public halves that do not match. Exit 1 if anything is."""
    from homelab_platform.secrets.audit import problems_of

    path = common.find_lab(lab)
    problems = problems_of(_lab_of(path), path.parent)
    if as_json:
        output.write_json({"lab": str(path), "problems": [p.to_dict() for p in problems]})
    elif problems:
        output.print_problems(problems, closing=f"{output.count(len(problems), 'problem')}. Nothing was changed.")
    else:
        output.say(f"{path}: every secret is there, and readable by those whom the lab names.")
    raise typer.Exit(1 if problems else 0)
