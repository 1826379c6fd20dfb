"""What the client of objects does when network or server misbehave: a small HTTP server misbehaves on demand."""

from __future__ import annotations

import hashlib
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects import body as objects_body
from homelab_platform.tools.objects.client import (
    AlreadyExists,
    CredentialsRefused,
    ObjectsError,
    ObjectStore,
    StorageFull,
    Truncated,
)

BODY = b"reading " * 1000
ETAG = hashlib.md5(BODY).hexdigest()

Answer = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def misbehaving(answer: Answer) -> Iterator[tuple[ObjectStore, list[str]]]:
    """A client of a server that answers the n-th request (from 1) as told; and the requests seen."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            seen.append(f"{self.command} {self.path}")
            self.close_connection = True
            answer(self, len(seen))

        do_GET = do_PUT = do_HEAD = do_POST = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = ObjectsEndpoint(f"http://127.0.0.1:{server.server_port}", "key", "secret")
    try:
        with ObjectStore(endpoint, retries=3) as store:
            yield store, seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, *, etag: str = ETAG, length: int = -1) -> None:
    handler.send_response(status)
    handler.send_header("ETag", f'"{etag}"')
    handler.send_header("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT")
    handler.send_header("Content-Type", "application/xml" if status >= 400 else "application/octet-stream")
    handler.send_header("Content-Length", str(len(body) if length < 0 else length))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>m</Message><Resource>r</Resource></Error>".encode()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_burst_of_failures_is_ridden_out(status: int) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number <= 2:
            reply(handler, status, error("SlowDown"))
        else:
            reply(handler, 200, BODY)

    with misbehaving(answer) as (store, seen):
        assert store.get("bucket", "key") == BODY
    assert len(seen) == 3


@pytest.mark.slow
def test_a_server_that_keeps_failing_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        misbehaving(lambda handler, _: reply(handler, 503, error("SlowDown"))) as (store, seen),
        pytest.raises(ObjectsError, match="bucket/key"),
    ):
        store.put("bucket", "key", b"1")
    assert len(seen) == 4


def test_a_body_cut_short_is_fetched_again() -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        reply(handler, 200, BODY[:100] if number == 1 else BODY, length=len(BODY))

    with misbehaving(answer) as (store, seen):
        assert store.get("bucket", "key") == BODY
    assert len(seen) == 2


def test_a_body_that_stays_cut_short_is_never_taken_for_the_object() -> None:
    with (
        misbehaving(lambda handler, _: reply(handler, 200, BODY[:100], length=len(BODY))) as (store, _),
        pytest.raises(Truncated, match="100 bytes"),
    ):
        store.get("bucket", "key")


def test_a_body_that_differs_from_its_etag_is_refused_at_its_end() -> None:
    flipped = bytes([BODY[0] ^ 1]) + BODY[1:]
    with (
        misbehaving(lambda handler, _: reply(handler, 200, flipped)) as (store, _),
        store.open("bucket", "key") as stream,
        pytest.raises(Truncated, match="MD5"),
    ):
        stream.read()


def test_a_slow_drip_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_body, "PATIENCE", 0.3)

    def answer(handler: BaseHTTPRequestHandler, _: int) -> None:
        reply(handler, 200, b"", length=len(BODY))
        waiter = threading.Event()
        for number in range(50):
            try:
                handler.wfile.write(BODY[number : number + 1])
                handler.wfile.flush()
            except OSError:
                return
            waiter.wait(0.05)

    with (
        misbehaving(answer) as (store, _),
        store.open("bucket", "key") as stream,
        pytest.raises(Truncated, match="given up"),
    ):
        while stream.read(1):
            pass


def test_a_write_whose_answer_was_lost_counts_as_ours_when_the_object_is_the_same() -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if handler.command == "HEAD":
            reply(handler, 200, BODY)
        elif number == 1:
            handler.connection.close()  # the object was stored, the answer never came
        else:
            reply(handler, 412, error("PreconditionFailed"))

    with misbehaving(answer) as (store, seen):
        assert store.put("bucket", "key", BODY, if_none_match=True) == ETAG
        with pytest.raises(AlreadyExists):
            store.put("bucket", "key", BODY, if_none_match=True)
    assert [line.split()[0] for line in seen] == ["PUT", "PUT", "HEAD", "PUT"]


def page(start: int, count: int, last: int) -> bytes:
    """One page of a listing (ListObjectsV2) from key number `start` on."""
    end = min(start + count, last)
    keys = "".join(
        f"<Contents><Key>many/{n:06}</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified>"
        f"<ETag>&quot;{ETAG}&quot;</ETag><Size>1</Size></Contents>"
        for n in range(start, end)
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{end}</NextContinuationToken>" * (end < last)
    head = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
    return f"{head}{keys}{more}</ListBucketResult>".encode()


@pytest.mark.slow
def test_a_hundred_thousand_keys_come_in_order_page_by_page_through_bursts_of_failures() -> None:
    last = 100_000

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number % 10 == 0:
            reply(handler, 503, error("SlowDown"))
            return
        token = parse_qs(urlsplit(handler.path).query).get("continuation-token", ["0"])[0]
        reply(handler, 200, page(int(token), 1000, last))

    with misbehaving(answer) as (store, seen):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        numbers = (int(found.key.removeprefix("many/")) for found in store.list("bucket", "many/"))
        assert all(number == place for place, number in enumerate(numbers))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024  # KiB: no more than some pages
    assert len(seen) == 111


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"])
def test_credentials_that_are_refused_are_not_tried_again_and_only_the_key_is_named(code: str) -> None:
    with (
        misbehaving(lambda handler, _: reply(handler, 403, error(code))) as (store, seen),
        pytest.raises(CredentialsRefused, match=rf"the key key was refused \({code}\)") as caught,
    ):
        store.put("bucket", "key", b"1")
    assert len(seen) == 1
    assert "secret" not in str(caught.value).replace("its secret; a site keeps its own in secrets.json", "")


def test_a_full_disk_is_said_and_not_waited_for() -> None:
    with (
        misbehaving(lambda handler, _: reply(handler, 507, error("XMinioStorageFull"))) as (store, seen),
        pytest.raises(StorageFull, match="disk is full"),
    ):
        store.put("bucket", "key", b"1")
    assert len(seen) == 1
