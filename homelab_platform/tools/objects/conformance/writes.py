"""Questions about writes under a condition and writes with a checksum.

Belongs here: If-None-Match and If-Match (S3 API reference, "conditional requests"), Content-MD5, x-amz-checksum-*, and
the way in which newer SDKs send a body (aws-chunked with a trailing checksum).
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor

from homelab_platform.tools.objects.conformance.objects import begin, complete, part
from homelab_platform.tools.objects.conformance.questions import Bench, NotTried, demand, question

RACERS = 16


@question("If-None-Match: a taken key is refused; of 16 writers at once one wins")
def create_once(bench: Bench) -> None:
    """The ground that exactly-once ingest stands on."""
    bench.put("taken", b"first")
    found = bench.wire.ask("PUT", bench.bucket, "taken", body=b"second", headers={"If-None-Match": "*"})
    demand(bench.get("taken") == b"first", "a taken key is overwritten without a word")
    demand(found.status == 412, f"a taken key gives {found.status}")
    for turn in range(3):
        won = race(bench, f"race-{turn}", {"If-None-Match": "*"})
        demand(len(won) == 1, f"{len(won)} of {RACERS} writers are told that they won")
        demand(bench.get(f"race-{turn}") == won[0], "the object is not the winner's")


def race(bench: Bench, key: str, headers: dict[str, str]) -> list[bytes]:
    """Write the same key from 16 connections at once; returns the bodies that were acknowledged."""

    def write(number: int) -> bytes | None:
        body = f"writer {number} ".encode() * 100
        return body if bench.wire.ask("PUT", bench.bucket, key, body=body, headers=headers).ok else None

    with ThreadPoolExecutor(RACERS) as pool:
        return [body for body in pool.map(write, range(RACERS)) if body is not None]


@question("If-None-Match when an upload in parts is completed")
def create_once_in_parts(bench: Bench) -> None:
    """Large objects are written in parts, and must not overwrite either."""
    bench.put("taken-parts", b"first")
    upload = begin(bench, "taken-parts")
    etag = part(bench, "taken-parts", upload, 1, b"second")
    found = complete(bench, "taken-parts", upload, {1: etag}, **{"If-None-Match": "*"})
    demand(bench.get("taken-parts") == b"first", "a taken key is overwritten without a word")
    demand(found.code == "PreconditionFailed" or found.status == 412, f"a taken key gives {found.code}")
    bench.wire.ask("DELETE", bench.bucket, "taken-parts", query={"uploadId": upload})


@question("If-Match: a stale writer is refused; of 16 at once one wins", needed=False)
def replace_once(bench: Bench) -> None:
    """Compare and swap, on which some table formats commit. Ours commit in PostgreSQL."""
    stale = bench.put("swap", b"one").etag
    fresh = bench.put("swap", b"two").etag
    found = bench.wire.ask("PUT", bench.bucket, "swap", body=b"three", headers={"If-Match": f'"{stale}"'})
    demand(bench.get("swap") == b"two", "a stale writer overwrites without a word")
    demand(found.status == 412, f"a stale writer gets {found.status}")
    won = race(bench, "swap", {"If-Match": f'"{fresh}"'})
    demand(len(won) == 1, f"{len(won)} of {RACERS} writers are told that they won")
    demand(bench.get("swap") == won[0], "the object is not the winner's")


@question("a body that does not fit its Content-MD5 is refused", needed=False)
def content_md5(bench: Bench) -> None:
    """The oldest protection of a body on its way."""
    wrong = base64.b64encode(hashlib.md5(b"another body", usedforsecurity=False).digest()).decode()
    found = bench.wire.ask("PUT", bench.bucket, "md5", body=b"body", headers={"Content-MD5": wrong})
    demand(not found.ok, "it is stored")
    demand(bench.wire.ask("HEAD", bench.bucket, "md5").status == 404, "it is refused and yet stored")


@question("checksum headers of newer SDKs are taken, and a wrong one is refused", needed=False)
def checksums(bench: Bench) -> None:
    """x-amz-checksum-crc32 on PutObject."""
    right = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode()
    found = bench.wire.ask("PUT", bench.bucket, "crc", body=b"body", headers={"x-amz-checksum-crc32": right})
    demand(found.ok, f"a right checksum is refused: {found.code}")
    wrong = base64.b64encode(zlib.crc32(b"ydob").to_bytes(4, "big")).decode()
    found = bench.wire.ask("PUT", bench.bucket, "crc-wrong", body=b"body", headers={"x-amz-checksum-crc32": wrong})
    demand(not found.ok, "a wrong checksum is taken")


@question("bodies in chunks with a trailing checksum, as newer SDKs send them")
def trailers(bench: Bench) -> None:
    """aws-chunked with STREAMING-UNSIGNED-PAYLOAD-TRAILER: the framing must not end up in the object."""
    data = b"a body in chunks " * 5000
    half = len(data) // 2
    crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (data[:half], data[half:]))
    body = chunks + b"0\r\nx-amz-checksum-crc32:" + crc + b"\r\n\r\n"
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    found = bench.wire.ask("PUT", bench.bucket, "trailer", body=body, headers=headers, payload=payload)
    demand(found.ok, f"it is refused: {found.code}")
    demand(bench.get("trailer") == data, "the object is not what was sent")


@question("PyArrow writes and reads (its SDK is Amazon's for C++)")
def arrow(bench: Bench) -> None:
    """What PyIceberg and DuckDB users have under their feet."""
    try:
        from pyarrow import fs
    except ImportError:
        raise NotTried("PyArrow is not installed") from None
    endpoint = bench.wire.endpoint
    store = fs.S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        endpoint_override=endpoint.url,
        region=endpoint.region,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
    )
    data = bytes(range(256)) * 50_000
    try:
        with store.open_output_stream(f"{bench.bucket}/arrow/a") as stream:
            stream.write(data)
        with store.open_input_file(f"{bench.bucket}/arrow/a") as file:
            demand(file.read() == data, "what it reads is not what it wrote")
    except OSError as error:
        demand(False, f"it fails: {str(error).splitlines()[0][:120]}")
