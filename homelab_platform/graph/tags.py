"""The tags that our runs carry.

Belongs here: their names and what they mean; sensors, jobs and assets share them.
"""

PURPOSE_TAG = "homelab/purpose"
"""`apply` (also when it is missing) brings assets to their desired state; `ingest`, `refresh`, `quality`,
`maintenance` and `observe` only do their daily work."""

CONFIRMED_TAG = "homelab/confirmed"
"""`yes`: a person agreed to the loss of data that the run's changes bring."""

REQUEST_TAG = "homelab/request."
"""Prefix of what is handed to the adapters, like the dates that marts are to be computed for."""

PROCESS_TAG = "homelab/process"
"""The identity of the process that works on the run."""

UP_TO_TAG = "homelab/up-to"
"""On a refresh of marts: the last ingest, by its id in the event log, whose dates it covers."""

PRIORITY_TAG = "dagster/priority"
"""Dagster's own: among waiting runs the one with the greatest number starts first."""
