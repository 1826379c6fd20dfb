"""Asking a running Dagster webserver to load a code location anew, over its GraphQL interface.

Belongs here: this one request. No client of Dagster is imported: that would cost a second of CPU.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from homelab_platform.errors import HomelabError

MUTATION = """
mutation Reload($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) {
    __typename
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
    ... on PythonError { message }
    ... on RepositoryLocationNotFound { message }
    ... on UnauthorizedError { message }
  }
}
"""


def reload_location(dagster_url: str, location: str, timeout: float) -> None:
    """Load the code location anew; `timeout` in seconds. Raises HomelabError when it does not answer or fails."""
    body = json.dumps({"query": MUTATION, "variables": {"name": location}}).encode()
    request = urllib.request.Request(  # noqa: S310  the address is our own, on the loopback interface
        f"{dagster_url}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            result = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise HomelabError.of(
            dagster_url, f"the Dagster webserver did not reload: {error}", "See `homelab status`."
        ) from None
    outcome = (result.get("data") or {}).get("reloadRepositoryLocation") or {}
    entry = outcome.get("locationOrLoadError") or outcome
    if result.get("errors") or entry.get("__typename") != "RepositoryLocation":
        message = str(entry.get("message") or result.get("errors") or "no answer")
        raise HomelabError.of(
            f"code location {location}",
            f"cannot be loaded: {message.strip().splitlines()[-1][:300]}",
            "The graph keeps what it last loaded. The log of the process `code` says more.",
        )
