"""Dagster's page behind its door: `python -m homelab_platform.graph.page` takes the options of `dagster-webserver`.

Belongs here: putting the door before the page. Dagster's command makes its application by one function, which is the
only place to reach it; homelab_platform_tests/graph/test_page.py notices when that changes.
"""

import os

from dagster_webserver import cli

from homelab_platform.graph.door import Door, names_from


def main() -> None:
    """Serve the page. Raises SystemExit as Dagster's command does."""
    make_page = cli.create_app_from_workspace_process_context

    def behind_its_door(*arguments: object, **options: object) -> Door:
        return Door(make_page(*arguments, **options), names_from(os.environ))  # type: ignore[arg-type]

    cli.create_app_from_workspace_process_context = behind_its_door  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
