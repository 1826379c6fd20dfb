"""Streams that could never bring a reading are found before anything is applied."""

from __future__ import annotations

import pytest

from homelab_platform.lab.model.streams import Stream
from homelab_platform.lab.rules.streams import _source_complaints


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ({"prometheus": {"exporter": "pi-1:9100"}}, ""),
        ({"prometheus": {"exporter": ["pi-1:9100"], "query": 'a{b="c"} or d'}}, ""),
        ({"prometheus": {"exporter": "pi-1:9100", "query": "rate(a[5m])"}}, "an exporter answers no PromQL"),
        ({"prometheus": {"exporter": "pi-1:9100", "server": "http://p"}}, "from exporters and from a server"),
        ({"prometheus": {"server": "http://p", "query": "rate(a[5m])"}}, ""),
        ({"prometheus": {"server": "http://p"}}, "asked for nothing"),
        ({"prometheus": "up"}, "the lab has none"),
        ({"rest": {"url": "http://ha:8123", "statistics": "sensor.a"}}, ""),
        ({"rest": {"url": "http://ha:8123", "statistics": "sensor.a", "shape": "readings"}}, "not of the shape"),
        ({"mqtt": {"topic": "a/+/#", "broker": "b", "levels": ["site", "-"], "fields": {"t": "ts"}}}, ""),
    ],
)
def test_a_source_that_cannot_work_is_named_with_the_reason(source: dict[str, object], complaint: str) -> None:
    stream = Stream.model_validate({"from": source})
    found = [what for _, what, _ in _source_complaints("s", stream, set())]
    assert [complaint in what for what in found] == ([True] if complaint else [])
