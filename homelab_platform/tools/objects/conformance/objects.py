"""Questions about objects: reading, writing, listing, names, signatures.

Belongs here: what the S3 API reference says of PutObject, GetObject, ListObjectsV2, DeleteObjects, multipart uploads
and query authentication. Not here: conditions and checksums of writes (writes.py).
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from xml.sax.saxutils import escape

from homelab_platform.tools.objects.conformance.questions import Bench, demand, question
from homelab_platform.tools.objects.conformance.requests import UNSIGNED, Reply

MIB = 1 << 20
PART = 5 * MIB  # the smallest part that is not the last one
ODD_NAMES = (
    "with space",
    "plus+sign",
    "percent%20sign",
    "umlaut-ü",
    "emoji-🌡",
    "hash#question?",
    "brackets[1](2)",
    "quote'\"",
    "dots..inside",
    "equals=and&amp",
    "colon:tilde~",
    "x" * 200,
)


@question("PUT, GET, HEAD, DELETE; metadata; 404 for what is not there")
def basics(bench: Bench) -> None:
    """The plainest round trip."""
    bench.put("basics", b"hello", **{"x-amz-meta-made-by": "check", "Content-Type": "text/plain"})
    found = bench.wire.ask("GET", bench.bucket, "basics")
    demand(found.body == b"hello", "GET gives another body than was put")
    demand(found.headers.get("x-amz-meta-made-by") == "check", "user metadata is lost")
    demand(found.headers.get("content-type") == "text/plain", "the content type is lost")
    head = bench.wire.ask("HEAD", bench.bucket, "basics")
    demand(head.ok and head.headers.get("content-length") == "5", "HEAD does not tell the size")
    demand(bench.wire.ask("DELETE", bench.bucket, "basics").ok, "DELETE is refused")
    gone = bench.wire.ask("GET", bench.bucket, "basics")
    demand(gone.status == 404 and gone.code == "NoSuchKey", f"a deleted object gives {gone.code}")
    missing = bench.wire.ask("GET", f"{bench.bucket}-never-made", "a")
    demand(missing.status == 404 and missing.code == "NoSuchBucket", f"a missing bucket gives {missing.code}")


@question("the etag of an object that was put in one piece is its MD5")
def etags(bench: Bench) -> None:
    """Our client proves by it that a body came whole."""
    body = os.urandom(70_000)
    put = bench.put("etag", body)
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    demand(put.etag == md5, f"PUT answers with the etag {put.etag or '(none)'}")
    demand(bench.wire.ask("HEAD", bench.bucket, "etag").etag == md5, "HEAD gives another etag than PUT")


@question("an overwritten object is the new one at once, everywhere")
def overwrite(bench: Bench) -> None:
    """Read after write, in GET and in listings."""
    for number in range(20):
        body = f"{number}".encode() * (number + 1)
        bench.put("over", body)
        demand(bench.get("over") == body, f"after write {number} an older body is read")
    listed = bench.wire.ask("GET", bench.bucket, query={"list-type": "2", "prefix": "over"})
    demand(listed.texts("Size") == [str(len("19") * 20)], "the listing gives the size of an older body")


@question("empty objects, and objects of 64 MiB")
def sizes(bench: Bench) -> None:
    """The smallest and a large one, compared by hash."""
    bench.put("empty", b"")
    demand(bench.get("empty") == b"", "an empty object does not come back empty")
    large = os.urandom(MIB) * 64
    bench.put("large", large)
    found = bench.get("large")
    demand(hashlib.sha256(found).digest() == hashlib.sha256(large).digest(), "64 MiB do not come back as they were put")
    bench.wire.ask("DELETE", bench.bucket, "large")


@question("uploads in parts: any order, parts replaced, given up without a trace")
def multipart(bench: Bench) -> None:
    """CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload."""
    upload = begin(bench, "parts")
    first, second, last = os.urandom(PART), os.urandom(PART), b"the end"
    part(bench, "parts", upload, 2, os.urandom(PART))
    etags = {3: part(bench, "parts", upload, 3, last), 1: part(bench, "parts", upload, 1, first)}
    etags[2] = part(bench, "parts", upload, 2, second)
    demand(bench.wire.ask("HEAD", bench.bucket, "parts").status == 404, "an unfinished upload is visible")
    done = complete(bench, "parts", upload, etags)
    demand(done.ok and "<Error>" not in done.body.decode(errors="replace"), f"it cannot be completed: {done.code}")
    demand(bench.get("parts") == first + second + last, "the parts are not put together as they were sent")
    demand(bench.wire.ask("HEAD", bench.bucket, "parts").etag.endswith("-3"), "the etag does not count the parts")
    upload = begin(bench, "given-up")
    part(bench, "given-up", upload, 1, b"x")
    given_up = bench.wire.ask("DELETE", bench.bucket, "given-up", query={"uploadId": upload})
    demand(given_up.ok, f"an upload cannot be given up: {given_up.code}")
    demand(bench.wire.ask("HEAD", bench.bucket, "given-up").status == 404, "an upload that was given up is visible")


def begin(bench: Bench, key: str) -> str:
    """Begin an upload in parts and return its id."""
    found = bench.wire.ask("POST", bench.bucket, key, query={"uploads": ""})
    ids = found.texts("UploadId")
    demand(found.ok and bool(ids), f"an upload in parts cannot be begun: {found.code}")
    return ids[0]


def part(bench: Bench, key: str, upload: str, number: int, body: bytes) -> str:
    """Send one part and return its etag."""
    query = {"partNumber": str(number), "uploadId": upload}
    found = bench.wire.ask("PUT", bench.bucket, key, query=query, body=body, payload=UNSIGNED)
    demand(found.ok, f"part {number} is refused: {found.code}")
    return found.etag


def complete(bench: Bench, key: str, upload: str, etags: dict[int, str], **headers: str) -> Reply:
    """Put the parts together."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
        for number, etag in sorted(etags.items())
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    return bench.wire.ask("POST", bench.bucket, key, query={"uploadId": upload}, body=body, headers=headers)


@question("ranges: the middle, the end, past the end")
def ranges(bench: Bench) -> None:
    """RFC 9110 ranges, as readers of Parquet send them."""
    bench.put("range", bytes(range(200)))
    parts = {"5-9": (5, 10), "190-": (190, 200), "-3": (197, 200), "198-999": (198, 200)}
    for asked, (start, end) in parts.items():
        found = bench.wire.ask("GET", bench.bucket, "range", headers={"Range": f"bytes={asked}"})
        demand(found.status == 206 and found.body == bytes(range(start, end)), f"bytes={asked} gives {found.status}")
        demand(found.headers.get("content-range", "").endswith("/200"), "Content-Range does not tell the size")
    past = bench.wire.ask("GET", bench.bucket, "range", headers={"Range": "bytes=200-"})
    demand(past.status == 416, f"a range past the end gives {past.status}")


@question("listing (version 2): order, pages, start, folders")
def listing(bench: Bench) -> None:
    """ListObjectsV2 with max-keys, continuation-token, start-after, prefix and delimiter."""
    names = [f"list/{folder}/{number}" for folder in "abc" for number in range(4)]
    for name in reversed(names):
        bench.put(name)
    seen: list[str] = []
    token = ""
    for _ in range(len(names)):
        query = {"list-type": "2", "prefix": "list/", "max-keys": "5"} | (
            {"continuation-token": token} if token else {}
        )
        page = bench.wire.ask("GET", bench.bucket, query=query)
        seen += page.texts("Key")
        token = "".join(page.texts("NextContinuationToken"))
        if page.texts("IsTruncated") != ["true"]:
            break
    demand(seen == names, f"pages of 5 give {len(seen)} of {len(names)} keys, in order: {seen == sorted(seen)}")
    later = bench.wire.ask("GET", bench.bucket, query={"list-type": "2", "prefix": "list/", "start-after": "list/b/3"})
    demand(later.texts("Key") == names[8:], "start-after does not start after that key")
    folders = bench.wire.ask("GET", bench.bucket, query={"list-type": "2", "prefix": "list/", "delimiter": "/"})
    wanted = ["list/", "list/a/", "list/b/", "list/c/"]
    demand(sorted({*folders.texts("Prefix")}) == wanted and not folders.texts("Key"), "folders are not put together")


@question("a key `n` beside keys `n/c`")
def nested(bench: Bench) -> None:
    """Keys are names, not paths: a file system underneath must not show."""
    bench.put("n", b"1")
    below = bench.wire.ask("PUT", bench.bucket, "n/c", body=b"2")
    demand(below.ok, f"`n/c` cannot be written while `n` is there: {below.code}")
    demand((bench.get("n"), bench.get("n/c")) == (b"1", b"2"), "one of the two has the other's body")
    bench.wire.ask("DELETE", bench.bucket, "n")
    demand(bench.get("n/c") == b"2", "deleting `n` takes `n/c` along")


@question("odd names: spaces, +, %, quotes, letters beyond ASCII")
def odd_names(bench: Bench) -> None:
    """Each is written, listed as it is spelled, read and deleted."""
    for name in ODD_NAMES:
        found = bench.wire.ask("PUT", bench.bucket, f"odd/{name}", body=name.encode())
        demand(found.ok, f"{name!r} is refused: {found.code}")
    listed = bench.wire.ask("GET", bench.bucket, query={"list-type": "2", "prefix": "odd/"})
    wanted = sorted((f"odd/{name}" for name in ODD_NAMES), key=str.encode)
    lost = set(wanted) - set(listed.texts("Key"))
    demand(not lost, f"not listed as it was written: {min(lost, default='')!r}")
    demand(listed.texts("Key") == wanted, "keys are not in the order of their bytes")
    for name in ODD_NAMES:
        demand(bench.get(f"odd/{name}") == name.encode(), f"{name!r} has another's body")


@question("deleting 1,000 keys at once, missing ones among them")
def delete_many(bench: Bench) -> None:
    """DeleteObjects."""
    for number in range(5):
        bench.put(f"many/{number}")
    keys = "".join(f"<Object><Key>many/{number}</Key></Object>" for number in range(1000))
    body = f"<Delete><Quiet>true</Quiet>{keys}</Delete>".encode()
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    headers = {"Content-MD5": base64.b64encode(md5).decode()}
    found = bench.wire.ask("POST", bench.bucket, query={"delete": ""}, body=body, headers=headers)
    demand(found.ok and not found.texts("Code"), f"it is refused: {found.code}")
    left = bench.wire.ask("GET", bench.bucket, query={"list-type": "2", "prefix": "many/"})
    demand(not left.texts("Key"), "some are left")


@question("a copy made by the server", needed=False)
def copy(bench: Bench) -> None:
    """CopyObject within a bucket."""
    bench.put("copy/from", b"original")
    source = f"/{bench.bucket}/copy/from"
    found = bench.wire.ask("PUT", bench.bucket, "copy/to", headers={"x-amz-copy-source": source})
    demand(found.ok, f"it is refused: {found.code}")
    demand(bench.get("copy/to") == b"original", "the copy has another body")


@question("URLs signed in advance: GET and PUT, and not after their time")
def presigned(bench: Bench) -> None:
    """Query authentication of Signature Version 4."""
    put = bench.wire.plain("PUT", bench.wire.presigned("PUT", bench.bucket, "presigned", 60), b"by link")
    demand(put.ok, f"PUT by a link gives {put.code}")
    link = bench.wire.presigned("GET", bench.bucket, "presigned", 60)
    demand(bench.wire.plain("GET", link).body == b"by link", "GET by a link gives another body")
    tampered = bench.wire.plain("GET", link.replace("/presigned?", "/basics-of-another?"))
    demand(tampered.refused, f"a link to one object opens another: {tampered.status}")
    short = bench.wire.presigned("GET", bench.bucket, "presigned", 1)
    time.sleep(2.1)
    late = bench.wire.plain("GET", short)
    demand(late.refused, f"a link works after its time: {late.status}")


@question("a wrong secret, an unknown key and nobody at all are refused")
def refusals(bench: Bench) -> None:
    """Reading and writing alike."""
    bench.put("closed", b"1")
    key = bench.wire.endpoint.access_key
    strangers = (("a wrong secret", key, "not-the-secret"), ("an unknown key", "NOSUCHKEY12345", "x" * 20))
    for who, access, secret in strangers:
        wire = bench.wire.with_key(access, secret)
        for method in ("GET", "PUT"):
            found = wire.ask(method, bench.bucket, "closed", body=b"2" if method == "PUT" else b"")
            demand(found.refused, f"{method} with {who} gives {found.status}")
        wire.close()
    for method in ("GET", "PUT", "DELETE"):
        found = bench.wire.anonymous(method, bench.bucket, "closed", b"3" if method == "PUT" else b"")
        demand(found.refused, f"{method} by nobody gives {found.status}")
    demand(bench.get("closed") == b"1", "a refused write was carried out")
