"""The `homelab` command's entry: which commands there are, and how an error leaves the process.

Belongs here: wiring, exit codes. Not here: what the commands do (one module per family beside this one).
Exit codes: 0 nothing to do or done, 1 error, 2 changes pending, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from homelab_platform import __version__
from homelab_platform.cli import (
    alerts_command,
    backup_commands,
    catalogue_commands,
    cluster_commands,
    doctor_command,
    grammar,
    history_commands,
    image_commands,
    lab_commands,
    logs_command,
    mart_commands,
    objects_commands,
    patch_command,
    plan_commands,
    readings_commands,
    repair_command,
    secrets_commands,
    site_commands,
)
from homelab_platform.cli.common import keep_to_owner
from homelab_platform.cli.output import count, note, print_problems, write_json
from homelab_platform.errors import HomelabError
from homelab_platform.tools.interrupts import ctrl_c

NEW_OBJECTS_BEFORE_COLLECTION = 200_000
"""Python's own 700 make a tenth of a plan's time: imports make objects that stay, which each collection walks again."""
STOPPED = 130  # what shells give to what Ctrl-C ended: 128 and the number of SIGINT

app = typer.Typer(
    name="homelab",
    help="One typed file describes your lab; homelab makes it real, keeps it real and proves it.",
    epilog="Start with `homelab init`, then `homelab check` and `homelab up`. Exit codes: 0 done, 1 error, 2 changes "
    "pending.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"homelab {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Root of all commands."""


for _family in (
    lab_commands,
    plan_commands,
    site_commands,
    doctor_command,
    logs_command,
    readings_commands,
    repair_command,
    objects_commands,
    mart_commands,
    cluster_commands,
    alerts_command,
    secrets_commands,
    image_commands,
    history_commands,
    backup_commands,
    patch_command,
    catalogue_commands,
):
    _family.register(app)


def _report(error: HomelabError) -> int:
    if "--json" in sys.argv:
        write_json({"problems": [p.to_dict() for p in error.problems]})
    else:
        closing = f"{count(len(error.problems), 'error')}. Nothing was changed." if len(error.problems) > 1 else ""
        print_problems(error.problems, closing=closing)
    return 1


def _stopped() -> int:
    note("Stopped. Nothing that was acknowledged is lost; run the same command again to go on.")
    return STOPPED


def _main() -> int:
    command = typer.main.get_command(grammar.part_of(app, sys.argv[1:]))
    try:
        with ctrl_c():
            arguments = grammar.read(app, sys.argv[1:])
            result = command.main(arguments, standalone_mode=False, prog_name="homelab")
    except HomelabError as error:
        return _report(error)
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _stopped()
    except typer.TyperException as error:
        # A wrong option or argument. Its own exit code would be 2, which here means `changes pending`.
        show = getattr(error, "show", None)
        if show is not None:
            show()
        return 0 if type(error).__name__ == "NoArgsIsHelpError" else 1
    if result == STOPPED:  # typer's word for Ctrl-C
        return _stopped()
    return result if isinstance(result, int) else 0


def run() -> None:
    """Console entry point; never shows a traceback for what a user can cause."""
    keep_to_owner()
    gc.set_threshold(NEW_OBJECTS_BEFORE_COLLECTION)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for them costs 11 ms; we have none
    try:
        code = _main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our pipe (`| head`) went away: not an error of ours. Point stdout elsewhere so that the
        # interpreter's own flush at exit stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    gc.freeze()  # the interpreter's last collection would walk all that the process made, to no end
    sys.exit(code)
