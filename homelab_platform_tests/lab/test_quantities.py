"""Human units are read exactly, and what is nearly right is answered with how to write it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.lab import calendar as cal
from homelab_platform.lab import quantities as q
from homelab_platform.lab.ranges import AddressRange, address_range
from homelab_platform_tests.lab.strategies import LAB_SETTINGS

GI = 1024**3


@pytest.mark.parametrize(
    ("text", "count"), [("20Gi", 20 * GI), ("512Mi", 512 * 1024**2), ("1.5Ti", 1536 * GI), ("64Ki", 65536)]
)
def test_sizes_are_binary(text: str, count: int) -> None:
    assert q.size(text) == count


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [("1Gb", "Write 1Gi."), ("500 mb", "Write 500Mi."), ("-1", "Write a number and a unit"), ("0Gi", "above zero"),
     (512, "512Mi"), ("20G", "Write 20Gi."), (None, "20Gi"), (True, "20Gi"), ("Gi", "a number and a unit")],
)  # fmt: skip
def test_sizes_that_are_none_are_answered(bad: Any, remedy: str) -> None:
    with pytest.raises(q.Bad) as caught:
        q.size(bad)
    assert remedy in caught.value.remedy


@LAB_SETTINGS
@given(st.integers(1, 10**6), st.sampled_from(["Ki", "Mi", "Gi", "Ti"]))
def test_a_size_that_is_shown_reads_back(number: int, unit: str) -> None:
    count = q.size(f"{number}{unit}")
    assert q.size(q.show_size(count)) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600), ("2y", 63_072_000),
     ("1h30m", 5_400), ("500ms", 0.5)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert q.duration(text) == seconds


@pytest.mark.parametrize("bad", ["30", 30, "1 month", "", "d30", "0s", "9999y", None, True, "30days "])
def test_durations_that_are_none_are_answered(bad: Any) -> None:
    with pytest.raises(q.Bad) as caught:
        q.duration(bad)
    assert caught.value.remedy


@LAB_SETTINGS
@given(st.integers(1, 10**8))
def test_a_duration_that_is_shown_reads_back(seconds: int) -> None:
    assert q.duration(q.show_duration(seconds)) == seconds


@pytest.mark.parametrize(("said", "millicores"), [("500m", 500), (2, 2000), (0.5, 500), ("1.5", 1500)])
def test_cores(said: Any, millicores: int) -> None:
    assert q.cpu(said) == millicores


@pytest.mark.parametrize("bad", ["", "2 cores", -1, 0, True, "0m", float("nan"), "1e3"])
def test_cores_that_are_none_are_answered(bad: Any) -> None:
    with pytest.raises(q.Bad):
        q.cpu(bad)


@pytest.mark.parametrize("reference", ["sops:secrets/dns.yaml#cloudflare", "env:TOKEN", "file:keys/x", "vault:kv/x#y"])
def test_secrets_are_references(reference: str) -> None:
    assert q.secret(reference) == reference


@pytest.mark.parametrize("plain", ["hunter2", "ghp_0123456789abcdef", "sops:x", "", 12, None])
def test_a_secret_in_plain_text_is_refused_and_never_repeated(plain: Any) -> None:
    with pytest.raises(q.Bad) as caught:
        q.secret(plain)
    if isinstance(plain, str) and len(plain) > 6:
        assert plain not in caught.value.what + caught.value.remedy


@pytest.mark.parametrize(
    ("said", "better"),
    [("Pi_1", "pi-1"), ("LINDA", "linda"), ("-a", "Write a."), ("a" * 64, "at most 63"), ("", "DNS")],
)
def test_names_are_dns_labels(said: str, better: str) -> None:
    with pytest.raises(q.Bad) as caught:
        q.name(said)
    assert better in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("192.168.0.5/24", "The network is 192.168.0.0/24."),
        ("192.168.0.0", "/24"),
        ("10.0.0.0/33", "CIDR"),
        (5, "Write"),
    ],
)
def test_networks_that_are_none_are_answered(said: Any, remedy: str) -> None:
    with pytest.raises(q.Bad) as caught:
        q.cidr(said)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "first", "last", "shown"),
    [("192.168.0.200-250", "192.168.0.200", "192.168.0.250", "192.168.0.200-250"),
     ("192.168.0.250 - 192.168.1.9", "192.168.0.250", "192.168.1.9", "192.168.0.250-192.168.1.9"),
     ("192.168.0.224/27", "192.168.0.224", "192.168.0.255", "192.168.0.224-255"),
     ("fd00::10-fd00::1f", "fd00::10", "fd00::1f", "fd00::10-fd00::1f"),
     ("10.0.0.7", "10.0.0.7", "10.0.0.7", "10.0.0.7-7")],
)  # fmt: skip
def test_ranges_of_addresses(text: str, first: str, last: str, shown: str) -> None:
    found = address_range(text)
    assert (found.address(0), found.address(len(found) - 1), str(found)) == (first, last, shown)
    assert first in found
    assert address_range(str(found)) == found


def test_a_range_that_runs_backwards_is_turned_round_in_the_remedy() -> None:
    with pytest.raises(q.Bad) as caught:
        address_range("192.168.0.250-200")
    assert caught.value.remedy == "Write the lower address first: 192.168.0.200-192.168.0.250."


@LAB_SETTINGS
@given(st.integers(0, 2**32 - 300), st.integers(0, 255), st.integers(0, 2**32 - 300), st.integers(0, 255))
def test_two_ranges_overlap_when_they_share_an_address(a: int, na: int, b: int, nb: int) -> None:
    one, other = AddressRange(4, a, a + na), AddressRange(4, b, b + nb)
    shared = range(max(a, b), min(a + na, b + nb) + 1)
    assert one.overlaps(other) == bool(shared)


@pytest.mark.parametrize(
    ("text", "shown", "minutes"),
    [("first Sunday 03:00-06:00", "first Sunday 03:00-06:00", 180),
     ("every tue 2:00-04:00", "every Tuesday 02:00-04:00", 120),
     ("Saturday 23:00-01:00", "every Saturday 23:00-01:00", 120), ("daily 03:00-04:00", "daily 03:00-04:00", 60),
     ("last FRIDAY 10:00 - 11:30", "last Friday 10:00-11:30", 90)],
)  # fmt: skip
def test_windows(text: str, shown: str, minutes: int) -> None:
    found = cal.window(text)
    assert (str(found), found.minutes) == (shown, minutes)
    assert cal.window(str(found)) == found


@pytest.mark.parametrize("bad", ["first Blursday 03:00-06:00", "Sunday", "fifth Sunday 1:00-2:00", "Sunday 25:00-26:00",
                                 "Sunday 03:00-03:00", "", None, 3])  # fmt: skip
def test_windows_that_are_none_are_answered(bad: Any) -> None:
    with pytest.raises(q.Bad) as caught:
        cal.window(bad)
    assert caught.value.remedy


@pytest.mark.parametrize("line", ["30 2 * * *", "*/15 * * * *", "0 4 1-7 * 0", "5 4 29 2 *", "0 0 31 1,2 *"])
def test_cron_lines(line: str) -> None:
    assert cal.cron(line) == line


@pytest.mark.parametrize(
    "line", ["30 2 31 2 *", "0 0 30 2 *", "0 0 31 4,6 *", "60 * * * *", "* * * *", "a b c d e", "*/0 * * * *"]
)
def test_cron_lines_that_never_fire_are_refused(line: str) -> None:
    with pytest.raises(q.Bad) as caught:
        cal.cron(line)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("memry", "memory"),
        ("storge", "storage"),
        ("Memory", "memory"),
        ("load-balancers", "load_balancers"),
        ("host", "hosts"),
    ],
)
def test_what_was_meant_is_guessed(typed: str, meant: str) -> None:
    known = ["memory", "storage", "load_balancers", "hosts", "people", "workloads"]
    assert q.did_you_mean(typed, known) == f"Did you mean {meant}?"


def test_without_a_guess_the_choices_are_listed() -> None:
    assert q.did_you_mean("zzzzzz", ["alpha", "beta"], "Ways") == "Ways: alpha, beta."
