"""The labels that our runs carry. None of them says what a run is to do: that is its configuration (work.py).

Belongs here: their names and what they mean; sensors, jobs and assets share them.
"""

import dagster as dg

PROCESS_TAG = "homelab/process"
"""The identity of the process that works on the run."""

NOMINAL_TAG = "homelab/nominal-day"
"""The day that stands for "no partition" in a run of marts without one; see marts.nominal."""

PRIORITY_TAG = "dagster/priority"
"""Dagster's own: among waiting runs the one with the greatest number starts first."""

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
"""Dagster's own: the partitions of a run."""

ASSETS_JOB = "__ASSET_JOB"
"""Dagster's own name of the job that "Materialize" on an asset's page starts."""


def purpose_of(run: dg.DagsterRun) -> str:
    """The job that a run is of; `apply` for assets that a person started by themselves."""
    return "apply" if run.job_name.startswith(ASSETS_JOB) else run.job_name
