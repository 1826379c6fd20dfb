"""The door before Dagster's page: whose requests it answers, and which of them may change something.

Belongs here: an ASGI layer that knows HTTP and GraphQL, and nothing of Dagster. The page itself has no login and
believes every request: any web page that is open in a browser of this machine could start runs by an image's address,
or read everything by a name that it points at 127.0.0.1. Not here: starting the page (page.py).

The rules: the Host is a name of the site. What changes something is a POST with a JSON body, from this page itself
where the browser says where it comes from. GET, and whatever is in an address, answers queries only.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
NAMES_VARIABLE = "HOMELAB_PAGE_NAMES"
"""Further names of the page, separated by commas: those of an ingress or a service."""
READS = ("GET", "HEAD")
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


def mutates(query: str) -> bool:
    """Whether a GraphQL document holds a mutation. One that cannot be parsed changes nothing: nobody executes it."""
    try:
        document = parse(query)
    except (GraphQLError, RecursionError):
        return False
    operations = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return any(one.operation is OperationType.MUTATION for one in operations)


def host_of(value: str) -> str:
    """The name in a Host header or an origin's authority, without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def refusal(method: str, headers: Mapping[str, str], address_query: str, names: Iterable[str]) -> str:
    """Why a request is refused; empty if it is answered. `headers` by lower-case name, `address_query` without `?`."""
    host = headers.get("host", "")
    if host_of(host) not in names:
        return f"{host or 'a request without a Host'} is not a name of this site"
    if method in READS:
        queries = parse_qs(address_query).get("query", [])
        return "a mutation must be a POST with a JSON body" if any(map(mutates, queries)) else ""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method != "POST" or media != "application/json":
        return "what changes something must be a POST with a JSON body"
    return foreign(headers)


def foreign(headers: Mapping[str, str]) -> str:
    """Why a request comes from another page than this one; empty if it does not, or if no browser sent it."""
    site = headers.get("sec-fetch-site", "")
    if site not in ("", "same-origin", "none"):
        return f"it comes from another page ({site})"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return f"it comes from another page ({origin})"
    return ""


class Door:
    """An ASGI application that lets the right requests through to `page`."""

    def __init__(self, page: App, names: Iterable[str]) -> None:
        self._page = page
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with 403; a connection for subscriptions is closed."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._page(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if kind == "websocket":
            why = refusal("GET", headers, "", self._names) or foreign(headers)
            if why:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": why[:100]})
                return
            await self._page(scope, _subscriptions(receive), send)
            return
        why = refusal(scope["method"], headers, scope.get("query_string", b"").decode("latin-1"), self._names)
        if why:
            await _forbid(send, why)
            return
        await self._page(scope, receive, send)


async def _forbid(send: Send, why: str) -> None:
    text = f"Refused: {why}.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _subscriptions(receive: Receive) -> Receive:
    """The messages of a connection, which ends with the first that is a mutation."""

    async def filtered() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and _message_mutates(message):
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
        return message

    return filtered


def _message_mutates(message: Message) -> bool:
    try:
        said = json.loads(message.get("text") or message.get("bytes") or b"null")
    except ValueError:
        return False
    payload = said.get("payload") if isinstance(said, dict) else None
    query = payload.get("query") if isinstance(payload, dict) else None
    return isinstance(query, str) and mutates(query)


def names_from(environment: Mapping[str, str]) -> list[str]:
    """The names of the page: those of this machine's loopback, and what the environment adds."""
    more = environment.get(NAMES_VARIABLE, "").split(",")
    return [*LOOPBACK_NAMES, *(name.strip() for name in more if name.strip())]
