"""What may pass the door into the raw bucket: one request's bytes to NDJSON lines, or the reasons why not.

Belongs here: the formats of a request, and the answer to a bad one. Not here: what one reading must be
(homelab_reading.py), writing objects (homelab_s3.py), NiFi (PutReadings.py). Standard library only, Python 3.9 or
later: it runs inside NiFi, also in upstream's image.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

from homelab_reading import DAY_US, MAX_LINE, Bad, Rule

FUTURE_US = DAY_US
MOST_REASONS = 20

_WHITE = " \t\r\n"
_WHITES = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"\}[ \t]*,[ \t]*\{")


class Refused(Exception):
    """A request that nothing was stored of: the HTTP status it deserves, why, and what is wrong with which item."""

    def __init__(self, status: int, reason: str, items: list[dict[str, Any]] | None = None, total: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.items = items or []
        self.total = total

    def answer(self) -> dict[str, Any]:
        """The body of the answer."""
        body: dict[str, Any] = {"status": self.status, "error": self.reason}
        if self.items:
            body["items"] = self.items[:MOST_REASONS]
            body["more"] = max(0, self.total - MOST_REASONS)
        return body


class Batch(NamedTuple):
    """What is written: NDJSON with a newline at the end, how many readings, and when the first was taken (µs)."""

    lines: bytes
    readings: int
    first_us: int


def unpack(body: bytes, most: int) -> bytes:
    """The plain bytes of a request, gunzipped if they are gzip. Raises Refused when damaged or over `most` bytes."""
    if body[:2] != b"\x1f\x8b":
        if len(body) > most:
            raise Refused(413, f"the request holds {len(body)} bytes; {most} is the most that is taken at once")
        return body
    pieces, size = [], 0
    try:
        while body:
            member = zlib.decompressobj(wbits=31)
            piece = member.decompress(body, most - size + 1)
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise Refused(413, f"the request unpacks to more than {most} bytes, the most that is taken at once")
            if not member.eof:
                raise Refused(400, "damaged gzip: it ends too early")
            body = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise Refused(400, f"damaged gzip: {error}") from None
    return b"".join(pieces)


class Door:
    """Checks batches, and keeps what it learnt about names between them. Threads may share one."""

    def __init__(self) -> None:
        decoder: Any = json.JSONDecoder(parse_constant=_no_constant)
        self._scan = decoder.scan_once
        self._rule = Rule()

    def take_zoneless(self, taken: bool) -> None:
        """Whether times without a zone are taken: ingest knows the zone of the stream."""
        self._rule.zoneless = taken

    def read(self, body: bytes, now_us: int) -> Batch:
        """The readings of a plain request body: a JSON array, one object, or lines of objects.

        `now_us` is the time now, in microseconds since 1970. Raises Refused with every reason that fits.
        """
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            line = body.count(b"\n", 0, error.start) + 1
            raise Refused(400, f"not UTF-8 in line {line}", [_item(line, Bad("", "not UTF-8"))], 1) from None
        text = text.lstrip("\ufeff" + _WHITE)
        if not text:
            raise Refused(400, "the request holds no readings")
        latest = now_us + FUTURE_US
        found = self._plainly(text, latest)
        if found is not None:
            return found
        return self._array(text, latest) if text[0] == "[" else self._lines(text, latest)

    def _plainly(self, text: str, latest: int) -> Batch | None:
        """The batch if it is plainly fine, in half the time; None when each item must be looked at.

        With as many braces of either kind as items, none of them stands inside an item or a text. So what lies between
        two of them is a comma and white space, and a line that begins and ends with one is an item.
        """
        is_array = text[0] == "["
        if is_array:
            whole, lines = text, []
        else:
            lines = [line for line in [line.strip(_WHITE) for line in text.split("\n")] if line]
            whole = f"[{','.join(lines)}]"
        opened = whole.count("{")
        if opened != whole.count("}") or "\\ud" in whole or "\\uD" in whole or len(whole) > MAX_LINE:
            return None
        try:
            records = json.loads(whole, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
        if len(records) != opened or not self._rule.all_known(records, latest):
            return None
        if is_array:
            flat = whole.replace("\n", " ").replace("\r", " ") if "\n" in whole or "\r" in whole else whole
            lines = _pieces(flat[flat.index("{") : flat.rindex("}") + 1], opened - 1)
        elif len(lines) != opened or not all(line[0] == "{" and line[-1] == "}" for line in lines):
            return None
        lines.append("")
        return Batch("\n".join(lines).encode(), opened, self._rule.check(records[0], "", latest))

    def _lines(self, text: str, latest: int) -> Batch:
        kept: list[str] = []
        bad: list[dict[str, Any]] = []
        wrong = first = 0
        scan, check = self._scan, self._rule.check
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip(_WHITE)
            if not line:
                continue
            try:
                record = self._whole(scan, line)
                taken = check(record, line, latest)
            except Bad as error:
                wrong += 1
                if wrong == 1 and not kept and self._is_one_object(text):
                    return self._array(f"[{text}]", latest)
                if len(bad) < MOST_REASONS:
                    bad.append(_item(number, error))
                continue
            if not kept:
                first = taken
            kept.append(line)
        return self._judged(kept, bad, wrong, first)

    def _is_one_object(self, text: str) -> bool:
        """Whether a body is one object written over several lines."""
        try:
            self._whole(self._scan, text.rstrip(_WHITE))
        except Bad:
            return False
        return "\n" in text.strip(_WHITE)

    @staticmethod
    def _whole(scan: Any, line: str) -> Any:
        """The one JSON value that a text is."""
        try:
            record, end = scan(line, 0)
        except StopIteration as error:
            raise Bad("", f"not JSON: unexpected character at {error.value + 1}") from None
        except RecursionError:
            raise Bad("", "not JSON: nested too deeply") from None
        except ValueError as error:
            raise Bad("", f"not JSON: {_first(error)}") from None
        if end != len(line):
            raise Bad("", f"not JSON: more text behind it at {end + 1}")
        return record

    def _array(self, text: str, latest: int) -> Batch:
        kept: list[str] = []
        bad: list[dict[str, Any]] = []
        number = wrong = first = 0
        for number, (record, piece) in enumerate(self._elements(text), 1):
            try:
                taken = self._rule.check(record, piece, latest)
            except Bad as error:
                wrong += 1
                if len(bad) < MOST_REASONS:
                    bad.append(_item(number, error))
                continue
            if not kept:
                first = taken
            kept.append(piece.replace("\n", " ").replace("\r", " ") if "\n" in piece or "\r" in piece else piece)
        if not number:
            raise Refused(400, "the request holds no readings")
        return self._judged(kept, bad, wrong, first)

    def _elements(self, text: str) -> Iterator[tuple[Any, str]]:
        """Each element of a JSON array with the text that it stands in. Raises Refused when it is no array."""
        place, number = _past_white(text, 1), 0
        mark = text[place : place + 1]
        if mark == "]":
            place += 1
        while mark != "]":
            number += 1
            try:
                record, stop = self._scan(text, place)
            except (StopIteration, RecursionError, ValueError) as error:
                at = f"unexpected character at {error.value + 1}" if isinstance(error, StopIteration) else _first(error)
                raise Refused(400, f"not JSON: {at}", [_item(number, Bad("", f"not JSON: {at}"))], 1) from None
            yield record, text[place:stop]
            place = _past_white(text, stop)
            mark = text[place : place + 1]
            if mark not in (",", "]"):
                raise Refused(400, f"not JSON: the array breaks off behind item {number}")
            place = _past_white(text, place + 1)
        if _past_white(text, place) != len(text):
            raise Refused(400, f"not JSON: more text behind the array at {place + 1}")

    @staticmethod
    def _judged(kept: list[str], bad: list[dict[str, Any]], wrong: int, first: int) -> Batch:
        if wrong:
            every = wrong + len(kept)
            what = "the item is no reading" if every == 1 else f"{wrong} of {every} items are no readings"
            raise Refused(400, f"{what}; nothing was stored", bad, wrong)
        kept.append("")
        return Batch("\n".join(kept).encode(), len(kept) - 1, first)


def day_of(first_us: int, now_us: int) -> str:
    """The day in the object's key, in UTC: that of its first reading, unless that is older than yesterday.

    The same request sent again then gets the same key, and a backfill lands where new objects are looked for.
    """
    today = now_us // DAY_US
    day = first_us // DAY_US
    chosen = day if today - 1 <= day <= today else today
    return datetime.fromtimestamp(chosen * 86_400, timezone.utc).strftime("%Y-%m-%d")


def as_it_came(body: bytes) -> bytes:
    """A body that is stored whatever it holds: lines as they are, so that ingest says of each what is wrong with it."""
    body = body.rstrip(b"\r\n")
    return body + b"\n" if body else b""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _pieces(text: str, gaps: int) -> list[str]:
    """The items of an array, known to be parted by nothing but commas and white space in so many places."""
    for usual in ("}, {", "},{"):
        if text.count(usual) == gaps:
            return text.replace(usual, "}\n{").split("\n")
    return _BETWEEN.sub("}\n{", text).split("\n")


def _past_white(text: str, place: int) -> int:
    found = _WHITES.match(text, place)
    return found.end() if found else place


def _item(number: int, error: Bad) -> dict[str, Any]:
    found: dict[str, Any] = {"item": number, "reason": error.reason}
    if error.field:
        found["field"] = error.field[:64]
    return found


def _first(error: BaseException) -> str:
    return str(error).split(": line")[0] or type(error).__name__
