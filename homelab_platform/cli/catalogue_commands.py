"""`homelab catalogue`: every service that a lab can name, and how each was verified.

Belongs here: showing the rows. Not here: what a row says (catalog/table.py).
"""

from __future__ import annotations

import typer

from homelab_platform.cli import common, output


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(catalogue)


def catalogue(lab: common.LabOption = None, as_json: common.JsonOption = False) -> None:
    """List every service that a lab can name, with how it was verified: pods, rendered, or refused and why."""
    from homelab_platform.catalog.load import load_catalogue
    from homelab_platform.catalog.table import rows_of

    found = common.catalogue_for(common.find_lab(lab)) if lab is not None else load_catalogue()
    rows = rows_of(found)
    if as_json:
        output.write_json(rows)
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        output.say(f"{row['name']!s:<{width}}  {row['kind']!s:<9}  {row['verified']!s:<10}  {row['why']}")
