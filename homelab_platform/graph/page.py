"""Dagster's page behind its door: `python -m homelab_platform.graph.page` takes the options of `dagster-webserver`.

Belongs here: putting the door before the page. Dagster's command makes its application by one function, which is the
only place to reach it; homelab_platform_tests/graph/test_page.py notices when that changes.
"""

import importlib
import os
from collections.abc import Callable
from types import ModuleType

from homelab_platform.graph.door import App, Door, names_from

COMMAND = "dagster_webserver.cli"
MAKES_THE_PAGE = "create_app_from_workspace_process_context"


def put_door_before(command: ModuleType, names: list[str]) -> None:
    """Have Dagster's command serve a page that answers the right requests alone."""
    make_page: Callable[..., App] = getattr(command, MAKES_THE_PAGE)

    def behind_its_door(*arguments: object, **options: object) -> Door:
        return Door(make_page(*arguments, **options), names)

    setattr(command, MAKES_THE_PAGE, behind_its_door)


def main() -> None:
    """Serve the page. Raises SystemExit as Dagster's command does."""
    command = importlib.import_module(COMMAND)
    put_door_before(command, names_from(os.environ))
    command.main()


if __name__ == "__main__":
    main()
