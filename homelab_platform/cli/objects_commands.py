"""`homelab objects`: the S3 server of a lab's site, or anybody's.

Belongs here: options and how answers are printed. Not here: the questions (conformance/).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError
from homelab_platform.names import silent

if TYPE_CHECKING:
    from homelab_platform.tools.endpoints import ObjectsEndpoint
    from homelab_platform.tools.objects.conformance.suite import Outcome

SECRET = "HOMELAB_S3_SECRET"  # noqa: S105 (the name of a variable)


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(help="Object stores: whether an S3 server does what readings need.", no_args_is_help=True)
    family.command()(check)
    app.add_typer(family, name="objects")


def check(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="http(s)://host:port. Default: the lab's own site.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Access key of an administrator there.")] = None,
    region: Annotated[str, typer.Option(help="Region that requests are signed for.")] = "us-east-1",
    lab: common.LabOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a document.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Ask an S3 server everything that readings need of it, in buckets of this run's own that are removed afterwards.

    The secret is read from the variable HOMELAB_S3_SECRET, or asked for: an argument could be seen by everybody on
    this machine. Questions about crashes are left out, because they need power over the server's process.
    """
    from homelab_platform.tools.objects.conformance import suite, table

    endpoint = _endpoint(url, key, region, lab)
    quiet = markdown or as_json
    with output.steps(quiet=quiet) as step:
        outcomes = suite.run(endpoint, say=silent if quiet else step)
    if as_json:
        output.write_json({"url": endpoint.url, "supported": suite.passed(outcomes), "answers": _rows(outcomes)})
    elif markdown:
        output.say(table.markdown({endpoint.url: table.column(outcomes)}))
    else:
        _print(endpoint.url, outcomes)
    if not suite.passed(outcomes):
        raise typer.Exit(1)


def _endpoint(url: str | None, key: str | None, region: str, lab: Path | None) -> ObjectsEndpoint:
    from homelab_platform.tools.endpoints import ObjectsEndpoint

    if url is None:
        return common.running_site(common.find_lab(lab)).lakehouse.objects
    if not url.startswith(("http://", "https://")):
        raise HomelabError.of(
            url, "is no address of an S3 server", "Write it as http://host:port or https://host:port."
        )
    if key is None:
        raise HomelabError.of(url, "which key?", f"Name it with --key, and put its secret into {SECRET}.")
    secret = os.environ.get(SECRET) or typer.prompt(f"Secret of {key}", hide_input=True, err=True)
    return ObjectsEndpoint(url.rstrip("/"), key, secret, region)


def _rows(outcomes: list[Outcome]) -> list[dict[str, object]]:
    return [
        {"question": o.question.name, "needed": o.question.needed, "answer": o.verdict, "detail": o.detail}
        for o in outcomes
    ]


def _print(url: str, outcomes: list[Outcome]) -> None:
    from homelab_platform.tools.objects.conformance.suite import passed

    bad = [found for found in outcomes if found.verdict == "no"]
    lines = [(found.question.name, "needed" if found.question.needed else "", found.detail) for found in bad]
    if lines:
        output.say(output.table(("what it does not do", "", "what it does instead"), lines))
    answered = output.count(sum(found.verdict == "yes" for found in outcomes), "question")
    untried = sum(found.verdict == "not tried" for found in outcomes)
    rest = f", {untried} not tried" if untried else ""
    verdict = "readings can be kept there" if passed(outcomes) else "readings must not be kept there"
    output.say(f"{url}: {verdict}; {answered} answered yes, {len(bad)} no{rest}.")
