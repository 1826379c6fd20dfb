"""What the callback says of a task that failed: the reason, of a loop each item's."""

from __future__ import annotations

import importlib.util

from homelab_platform.paths import project_path


def reason(data: dict[str, object]) -> str:
    file = project_path("ansible", "callback_plugins", "homelab_lines.py")
    spec = importlib.util.spec_from_file_location("homelab_lines", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.reason(data))


def test_a_loop_that_failed_names_each_item_with_its_reason() -> None:
    said = reason(
        {
            "msg": "All items completed",
            "results": [
                {"item": "ada", "changed": True},
                {"item": {"name": "ben"}, "_ansible_item_label": "ben", "failed": True, "msg": "usermod: user is busy"},
                {"item": "eve", "failed": True, "msg": "", "stderr": "no such shell"},
            ],
        }
    )
    assert said == "ben: usermod: user is busy; eve: no such shell"


def test_a_task_without_a_loop_says_what_its_program_said() -> None:
    assert reason({"msg": "non-zero return code", "stderr": "E: Unable to locate package"}) == (
        "non-zero return code\nE: Unable to locate package"
    )
