"""Asking a server all the questions: what a question is, how it is asked, what the answers come to.

Belongs here: the types and the run. Not here: the questions themselves (questions_*.py), the table (table.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.conformance import crashes, objects, settings, writes
from homelab_platform.tools.objects.conformance.questions import QUESTIONS, Bench, Control, NotTried, Question, Refuted
from homelab_platform.tools.objects.conformance.requests import Wire

Verdict = Literal["yes", "no", "not tried"]


@dataclass(frozen=True)
class Outcome:
    """The answer to one question; `detail` says what the server did where it is not `yes`."""

    question: Question
    verdict: Verdict
    detail: str = ""


def questions() -> Sequence[Question]:
    """All questions, in the order of the table."""
    modules = (objects, writes, settings, crashes)
    order = {module.__name__: number for number, module in enumerate(modules)}
    return sorted(QUESTIONS, key=lambda asked: order[asked.ask.__module__])


def run(endpoint: ObjectsEndpoint, *, control: Control | None = None, say: Say = silent) -> list[Outcome]:
    """Ask the server all questions, in buckets of this run's own that are removed afterwards.

    Raises HomelabError when nothing answers, or when not even a bucket can be made.
    """
    from urllib3.exceptions import HTTPError

    wire = Wire(endpoint)
    bench = Bench(wire, f"homelab-check-{secrets.token_hex(5)}", control)
    try:
        made = wire.ask("PUT", bench.bucket)
    except HTTPError:
        raise HomelabError.of(endpoint.url, "nothing answers there", "Check the address, and that it is up.") from None
    if not made.ok:
        raise HomelabError.of(
            endpoint.url,
            f"the key {endpoint.access_key} cannot make a bucket: {made.code}",
            "Give the key and the secret of an administrator of that server.",
        )
    try:
        with _quiet_end(bench):
            return [_answer(asked, bench, say) for asked in questions()]
    finally:
        wire.close()


@contextmanager
def _quiet_end(bench: Bench) -> Iterator[None]:
    try:
        yield
    finally:
        for bucket in (bench.bucket, *bench.made):
            _empty(bench.wire, bucket)


def _answer(asked: Question, bench: Bench, say: Say) -> Outcome:
    from urllib3.exceptions import HTTPError

    began = time.monotonic()
    try:
        asked.ask(bench)
        outcome = Outcome(asked, "yes")
    except Refuted as refuted:
        outcome = Outcome(asked, "no", str(refuted))
    except NotTried as reason:
        outcome = Outcome(asked, "not tried", str(reason))
    except (HTTPError, OSError) as error:
        outcome = Outcome(asked, "no", f"the server broke the connection ({type(error).__name__})")
    detail = f": {outcome.detail}" if outcome.detail else ""
    say(f"{outcome.verdict:<9} {asked.name}{detail} ({time.monotonic() - began:.1f} s)")
    return outcome


def _empty(wire: Wire, bucket: str) -> None:
    """Remove a bucket with all that it holds, as far as the server lets us."""
    from homelab_platform.tools.objects.client import ObjectStore

    with ObjectStore(wire.endpoint, retries=2, timeout=30) as store:
        try:
            store.remove_bucket(bucket, with_objects=True)
        except HomelabError:
            return  # what a server cannot take away again is part of what is found out here


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing that was tried and is needed fell short: all that can be said without power over the process."""
    return not any(found.verdict == "no" for found in outcomes if found.question.needed)


def supported(outcomes: Sequence[Outcome]) -> bool:
    """Whether this project may stand on the server: everything needed was tried and holds."""
    return all(found.verdict == "yes" for found in outcomes if found.question.needed)
