"""The text that a Prometheus exporter answers with, to readings: one line of JSON for each sample that is wanted.

Belongs here: the exposition format, the selectors that say which samples are kept, how a sample is named. Not here:
asking the exporter, or what a reading is (readings/decode/record.py). Standard library only, Python 3.9 or later:
NiFi runs this very file beside its processors (servers/nifi.py copies it). Tests hold this parser against that of
prometheus_client, which cannot stand in its place: it raises at the first line that is no sample, where the readings
that came and the line that did not must both be told, and takes `load 1 2 3` for a sample with the time 3.

Sources: Prometheus, "Exposition formats" (text format 0.0.4), "Querying basics" (instant vector selectors), "Metric and
label naming" (base units). What OpenMetrics adds to a sample (an exemplar) is passed over.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

MOST_SENSOR = 255
"""Characters of a sensor's name that the table takes."""

UNITS = {
    "seconds": "s",
    "bytes": "B",
    "celsius": "°C",
    "volts": "V",
    "amperes": "A",
    "joules": "J",
    "watts": "W",
    "hertz": "Hz",
    "meters": "m",
    "grams": "g",
}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*')
_REST = re.compile(r"[ \t]*([^ \t#]+)(?:[ \t]+(-?[0-9]+))?[ \t]*(?:#.*)?")
_ESCAPE = re.compile(r"\\(.)")
_MATCHER = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*(=~|!~|!=|=)[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*')
_OR = re.compile(r"\s+or\s+|\s*\n\s*")


class NotAnExposition(ValueError):
    """The answer as a whole is not what an exporter gives; the text says why."""


class Sample(NamedTuple):
    """One sample: `labels` sorted by name, `at_ms` the exporter's own time in ms since 1970 if it gave one."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    at_ms: int | None = None


class Fault(NamedTuple):
    """A line that is no sample: its number from 1, why, and its text."""

    line: int
    reason: str
    text: str


class Scrape(NamedTuple):
    """What an answer held: lines of readings, how many they are, lines that are none, samples without a number."""

    lines: bytes
    readings: int
    faults: tuple[Fault, ...]
    without_number: int


class Selector(NamedTuple):
    """An instant vector selector: a metric's name (empty: any) and matchers of (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def takes(self, sample: Sample) -> bool:
        """Whether the sample is selected. A label that it does not have counts as empty."""
        if self.name and self.name != sample.name:
            return False
        labels = dict(sample.labels)
        labels["__name__"] = sample.name
        return all(_matches(labels.get(label, ""), how, wanted) for label, how, wanted in self.matchers)


def _matches(found: str, how: str, wanted: str) -> bool:
    same = re.fullmatch(wanted, found) is not None if how.endswith("~") else found == wanted
    return same is not how.startswith("!")


def selectors(query: str) -> list[Selector]:
    """The selectors of a query such as `node_load1 or node_cpu_seconds_total{mode="idle"}`; none: every sample.

    An exporter has no PromQL, so that anything else of a query raises ValueError with the reason.
    """
    return [_selector(part.strip()) for part in _OR.split(query.strip()) if part.strip()]


def _selector(text: str) -> Selector:
    found = _NAME.match(text)
    name = found.group() if found else ""
    place = len(name)
    matchers: list[tuple[str, str, str]] = []
    if text[place : place + 1] == "{":
        place += 1
        while matcher := _MATCHER.match(text, place):
            label, how, value = matcher.groups()
            value = _plain(value, pattern=how.endswith("~"))
            _check_pattern(text, how, value)
            matchers.append((label, how, value))
            place = matcher.end()
            if text[place : place + 1] != ",":
                break
            place += 1
        if text[place : place + 1] != "}":
            raise ValueError(f'{text}: the braces hold no label matchers such as {{mode="idle"}}')
        place += 1
    if text[place:].strip() or not (name or matchers):
        raise ValueError(f"{text}: an exporter answers no PromQL; name a metric, with label matchers if need be")
    return Selector(name, tuple(matchers))


def _check_pattern(text: str, how: str, value: str) -> None:
    if how.endswith("~"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{text}: {value!r} is not a regular expression: {error}") from None


def _plain(value: str, *, pattern: bool = False) -> str:
    r"""A label's value without its escapes: \\, \" and \n. A regular expression keeps others."""
    if "\\" not in value:
        return value

    def unescape(found: re.Match[str]) -> str:
        letter = found.group(1)
        return {"n": "\n", "\\": "\\", '"': '"'}.get(letter, f"\\{letter}" if pattern else letter)

    return _ESCAPE.sub(unescape, value)


def samples(text: str) -> Iterator[Sample | Fault]:
    """Every sample of an exposition in order, and each line that is neither a sample nor a comment."""
    for number, line in enumerate(text.split("\n"), 1):
        plain = line.strip(" \t\r")
        if not plain or plain[0] == "#":
            continue
        try:
            yield _sample(plain)
        except ValueError as error:
            yield Fault(number, str(error), plain)


def _sample(line: str) -> Sample:
    found = _NAME.match(line)
    if found is None:
        raise ValueError("no metric name")
    rest = line[found.end() :]
    labels: list[tuple[str, str]] = []
    if rest.lstrip(" \t").startswith("{"):
        labels, place = _labels(rest, rest.index("{") + 1)
        rest = rest[place:]
    elif rest[:1] not in (" ", "\t"):
        raise ValueError("no value behind the metric's name")
    said = _REST.fullmatch(rest)
    if said is None:
        raise ValueError("no value, or more than a value and a time in ms")
    at_ms = said.group(2)
    return Sample(found.group(), tuple(sorted(labels)), _number(said.group(1)), None if at_ms is None else int(at_ms))


def _labels(line: str, place: int) -> tuple[list[tuple[str, str]], int]:
    labels: list[tuple[str, str]] = []
    while found := _LABEL.match(line, place):
        labels.append((found.group(1), _plain(found.group(2))))
        place = found.end()
        if line[place : place + 1] != ",":
            break
        place += 1
    place += len(line[place:]) - len(line[place:].lstrip(" \t"))
    if line[place : place + 1] != "}":
        raise ValueError("labels break off")
    if len({name for name, _ in labels}) != len(labels):
        raise ValueError("a label stands there twice")
    return labels, place + 1


def _number(text: str) -> float:
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise ValueError(f"{text[:40]} is not a number")


def sensor_name(sample: Sample) -> str:
    """The sample's name and labels as Prometheus writes them, labels sorted: `node_load1`, `up{job="node"}`.

    One too long for the table keeps its metric's name, with a hash in place of the labels.
    """
    if not sample.labels:
        return sample.name[:MOST_SENSOR]
    inside = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sample.labels)
    whole = f"{sample.name}{{{inside}}}"
    if len(whole) <= MOST_SENSOR and "\0" not in whole:
        return whole
    return f"{sample.name[:200]}{{#{hashlib.sha256(inside.encode('utf-8', 'replace')).hexdigest()[:16]}}}"


def unit_of(name: str) -> str:
    """The unit that a metric's name ends with, by Prometheus's rules; empty for none."""
    words = name.split("_")
    if words[-1] in ("total", "sum") and len(words) > 1:
        words.pop()
    return UNITS.get(words[-1], "")


def read(
    body: bytes,
    *,
    device: str,
    at_ms: int,
    wanted: Sequence[Selector] = (),
    site: str = "",
    units: Mapping[str, str] = {},
) -> Scrape:
    """The readings of an exporter's answer, as lines of JSON that the table's contract takes.

    `device` is the instance that was asked, `at_ms` when (ms since 1970), for samples without a time of their own;
    `units` by sensor or metric, where its name does not say it. Lines that are no samples are handed back beside them.
    Raises NotAnExposition for an answer that is none or that was cut off.
    """
    lines: list[str] = []
    faults: list[Fault] = []
    without_number = 0
    for found in samples(_whole(body)):
        if isinstance(found, Fault):
            faults.append(found)
        elif wanted and not any(selector.takes(found) for selector in wanted):
            continue
        elif not math.isfinite(found.value):
            without_number += 1
        else:
            lines.append(_line(found, device, at_ms, site, units))
    if not lines and len(faults) > 0:
        raise NotAnExposition(f"none of its lines is a sample; line {faults[0].line}: {faults[0].reason}")
    if not lines and not without_number:
        raise NotAnExposition("it has none of the metrics that are wanted" if wanted else "it holds no samples")
    return Scrape(_joined(lines), len(lines), tuple(faults), without_number)


def read_query(
    answer: Any,
    *,
    device: str,
    site: str = "",
    units: Mapping[str, str] = {},
) -> Scrape:
    """The readings of a Prometheus server's answer to an instant query (`/api/v1/query`), decoded from JSON.

    The device of a series is its label `instance`, else `device`. Raises NotAnExposition for any other answer.
    """
    if isinstance(answer, dict) and answer.get("status") == "error":
        raise NotAnExposition(f"Prometheus refuses the query: {answer.get('error')}")
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
        kind = data.get("resultType") if isinstance(data, dict) else None
        raise NotAnExposition(f"it is a {kind}, not a vector" if kind else "it is no answer to a PromQL query")
    lines: list[str] = []
    faults: list[Fault] = []
    without_number = 0
    for number, series in enumerate(data["result"], 1):
        try:
            sample, instance = _of_series(series)
        except (AttributeError, KeyError, TypeError, ValueError):
            faults.append(Fault(number, "no series with a value", json.dumps(series)[:8192]))
            continue
        if math.isfinite(sample.value):
            lines.append(_line(sample, instance or device, 0, site, units))
        else:
            without_number += 1
    if not data["result"]:
        raise NotAnExposition("Prometheus has no series for this query now")
    return Scrape(_joined(lines), len(lines), tuple(faults), without_number)


def _of_series(series: Any) -> tuple[Sample, str]:
    labels = {str(name): str(value) for name, value in series["metric"].items()}
    name, instance = labels.pop("__name__", "query"), labels.pop("instance", "")
    at, value = series["value"]
    return Sample(name, tuple(sorted(labels.items())), float(value), round(float(at) * 1000)), instance


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _whole(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAnExposition(f"it is not UTF-8 (byte {error.start})") from None
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if not start:
        raise NotAnExposition("it is empty")
    if start.startswith(("<!doctype", "<html", "<?xml", "<")):
        raise NotAnExposition("it is HTML: a log-in page or another server's; give the exporter's /metrics address")
    if start.startswith(("{", "[")):
        raise NotAnExposition("it is JSON, which no exporter answers with")
    if not text.endswith("\n"):
        raise NotAnExposition("it breaks off in its last line; nothing of it was taken")
    return text.lstrip("\ufeff")


def _line(sample: Sample, device: str, at_ms: int, site: str, units: Mapping[str, str]) -> str:
    sensor = sensor_name(sample)
    record: dict[str, object] = {
        "ts": at_ms if sample.at_ms is None else sample.at_ms,
        "device": device,
        "sensor": sensor,
        "value": sample.value,
        "metric": sample.name,
    }
    unit = units.get(sensor) or units.get(sample.name) or unit_of(sample.name)
    if unit:
        record["unit"] = unit
    if site:
        record["site"] = site
    if sample.labels:
        record["labels"] = dict(sample.labels)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
