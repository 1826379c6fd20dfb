"""One JSON object per line for each task of a play: for the platform, which shows and judges them.

Belongs here: the callback plugin alone; homelab_platform/tools/ansible.py reads its lines.
"""

from __future__ import annotations

import json
import sys

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: homelab_lines
type: stdout
short_description: one JSON object per task result
description: Prints start and result of each task as one JSON object per line.
"""


def reason(data):
    """Why a task failed, in the program's own words; of a loop, each item that failed with its reason."""
    failed = [row for row in data.get("results") or () if row.get("failed") or row.get("unreachable")]
    if failed:
        return "; ".join(f"{row.get('_ansible_item_label', row.get('item', ''))}: {reason(row)}" for row in failed)
    return "\n".join(str(data.get(name) or "") for name in ("msg", "stderr", "reason")).strip()


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "homelab_lines"

    def _say(self, **row):
        print(json.dumps(row, default=str), flush=True)  # noqa: T201

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._say(event="start", task=task.get_name())

    def v2_playbook_on_handler_task_start(self, task):
        self._say(event="start", task=task.get_name())

    def _result(self, event, result):
        data = result.result
        hidden = result.task.no_log
        self._say(
            event=event,
            task=result.task.get_name(),
            changed=bool(data.get("changed")),
            said="" if hidden or event == "ok" else reason(data)[:2000],
        )

    def v2_runner_on_ok(self, result):
        self._result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result):
        self._result("unreachable", result)

    def v2_runner_on_skipped(self, result):
        pass

    def v2_playbook_on_no_hosts_matched(self):
        print("no host matched", file=sys.stderr)  # noqa: T201
