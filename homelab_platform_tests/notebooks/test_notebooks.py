"""The notebooks run from top to bottom against a real Trino, and draw what they say they draw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.paths import PROJECT
from homelab_platform.readings import contract
from homelab_platform.readings.marts import ensure_mart_tables, refresh_mart
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
from homelab_platform_tests.readings.lake import add_readings, catalog_of
from homelab_platform_tests.readings.marts.test_marts import STREAMS

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def _read(file: Path) -> Any:
    import nbformat

    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]


def _fill(lake: Lakehouse) -> None:
    contract.ensure_tables(lake)
    now = datetime.now(UTC)
    add_readings(
        catalog_of(lake).load_table(contract.READINGS),
        [
            {
                "ts": now - timedelta(minutes=10 * n),
                "device": device,
                "sensor": "temperature",
                "value": 20.0 + n % 7,
                "unit": "°C",
                "source": "air/2026-11-18/x/1.ndjson.gz",
            }
            for device in ("kitchen", "attic")
            for n in range(700)
        ],
    )
    ensure_mart_tables(lake, ["device_health"])
    refresh_mart(lake, "device_health", None, STREAMS)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_is_committed_without_its_answers(file: Path) -> None:
    for cell in _read(file).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_runs_from_top_to_bottom(
    file: Path, trino_lake: tuple[TrinoEndpoint, Lakehouse], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nbclient import NotebookClient

    endpoint, lake = trino_lake
    _fill(lake)
    given = {"URL": endpoint.url, "USER": endpoint.user, "PASSWORD": endpoint.password, "CA": endpoint.ca}
    for name, value in given.items():
        monkeypatch.setenv(f"TRINO_{name}", str(value))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    book = _read(file)
    NotebookClient(book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    tables = [o["data"]["text/plain"] for o in outputs if "text/html" in o.get("data", {})]
    assert len(pictures) == 2
    assert "kitchen" in tables[0]
    assert not [o for o in outputs if o.get("name") == "stderr"]
