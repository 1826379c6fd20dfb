"""Running the command as a person does, without the cost of a new process for each call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.cli import main


@dataclass(frozen=True)
class Said:
    """What a command answered: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Homelab = Callable[..., Said]


@pytest.fixture
def homelab(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Homelab:
    """Call `homelab` with arguments; its data folder is the test's own."""
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("HOMELAB_LAB", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Said:
        monkeypatch.setattr("sys.argv", ["homelab", *map(str, arguments)])
        umask = os.umask(0o022)
        try:
            with pytest.raises(SystemExit) as stopped:
                main.run()
        finally:
            os.umask(umask)  # the command's own is for the length of its process
        captured = capfdbinary.readouterr()
        code = stopped.value.code
        return Said(code if isinstance(code, int) else 0, captured.out.decode(), captured.err.decode())

    return call
