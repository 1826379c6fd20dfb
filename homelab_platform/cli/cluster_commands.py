"""`homelab kubeconfig`: a person's own way into the lab's cluster.

Belongs here: options, where the file goes. Not here: asking the cluster for it (tools/kube/people.py), or what a role
may do there.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError
from homelab_platform.plan.sites import SiteKind


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(kubeconfig)


def kubeconfig(
    person: Annotated[str, typer.Argument(help="Somebody of the lab file's people.")],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it there, for your eyes only; else it is printed.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="Ends by itself after so many days.")] = 90,
    lab: common.LabOption = None,
) -> None:
    """A kubeconfig for one person, with the rights of their role. It holds their key, and cannot be taken back."""
    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    known = resolved.people.get(person)
    if known is None:
        listed = ", ".join(sorted(resolved.people)) or "nobody yet"
        raise HomelabError.of(f"person {person}", "the lab has nobody of this name", f"There are: {listed}.")
    site = common.running_site(path)
    if site.kind is not SiteKind.LAB:
        raise HomelabError.of(
            "kubeconfig", f"a site of kind {site.kind} reaches no cluster", "Start it: homelab up --profile lab"
        )
    from homelab_platform.sites.lab import reach_of
    from homelab_platform.tools.kube.api import Cluster
    from homelab_platform.tools.kube.people import kubeconfig_for

    reach = reach_of(resolved, site)
    text = kubeconfig_for(Cluster(reach.kubeconfig()), person, known.role, timedelta(days=days))
    if file is None:
        typer.echo(text, nl=False)
        return
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text)
    output.say(f"{file}: {person} as {known.role}, for {days} days. Try it: KUBECONFIG={file} kubectl get pods -A")
