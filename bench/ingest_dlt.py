"""dlt on the same files: gzip NDJSON to an Iceberg table, appended. Runs in the peers' environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import dlt


def main() -> None:
    """One pipeline run; checks the number of rows."""
    scratch = Path(os.environ["BENCH_SCRATCH"])
    os.environ["DESTINATION__FILESYSTEM__BUCKET_URL"] = f"file://{scratch}/lake"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

    @dlt.resource(name="sensor_data", table_format="iceberg", write_disposition="append")  # type: ignore[untyped-decorator]
    def readings() -> Any:
        import gzip
        import json

        for path in sys.argv[1:]:
            with gzip.open(path, "rb") as lines:
                page = []
                for line in lines:
                    page.append(json.loads(line))
                    if len(page) == 10_000:
                        yield page
                        page = []
                yield page

    pipeline = dlt.pipeline("bench", destination="filesystem", dataset_name="home", pipelines_dir=str(scratch / "p"))
    pipeline.run(readings(), loader_file_format="parquet")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    assert counts["sensor_data"] == int(os.environ["BENCH_ROWS"]), counts


if __name__ == "__main__":
    main()
