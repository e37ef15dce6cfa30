"""What a limit is, before anybody counts it. The counting itself is in `stores/test_counters.py`."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.limits import DEEPEST, MINUTE, MOST, NAME_LIMIT, Bucket, bounded, limit, window
from gateway.ports import Every, Use
from tests.stores.oracle import Oracle

TEXT = st.text(st.characters(), max_size=12)  # half a surrogate pair too: a client may have written it


@given(st.lists(st.lists(TEXT, min_size=1, max_size=3).map(tuple), min_size=2, max_size=2, unique=True))
def test_no_two_owners_share_a_counter(owners: list[tuple[str, ...]]) -> None:
    one, other = (limit(owner, "requests_per_minute", 1).name for owner in owners)
    assert one != other


def test_no_two_limits_of_an_owner_share_a_counter() -> None:
    owner = ("key", "web-app")
    limits = [
        limit(owner, "requests_per_minute", 1),
        limit(owner, "tokens_per_minute", 1),
        limit(owner, "concurrent_requests", 1),
        *(limit(owner, "usd_budget", 1, every) for every in ("hour", "day", "week", "month")),
        *(limit(owner, "token_budget", 1, every) for every in ("hour", "day", "week", "month")),
    ]
    assert len({each.name for each in limits}) == len(limits)


def test_the_name_of_a_counter_is_short_and_plain_whatever_its_owner_is_called() -> None:
    for name in ("m" * 10**6, "\ud800", "{x}\r\n", "é" * 100):
        made = limit(("target", name), "requests_per_minute", 1).name
        assert len(made) <= NAME_LIMIT
        assert made.isascii()
        assert made.isprintable()
        assert not set(made) & set("{} ")


@pytest.mark.parametrize("most", [0, -1])
def test_a_limit_is_at_least_one(most: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        limit(("key",), "requests_per_minute", most)


def test_a_budget_may_be_larger_than_any_rate() -> None:
    assert limit(("key",), "tokens_per_minute", 10**18).most == MOST
    assert limit(("key",), "usd_budget", 10**13, "month").most == 10**13
    assert limit(("key",), "usd_budget", 10**18, "month").most == DEEPEST


@given(st.integers(0, 4_102_444_800_000), st.sampled_from(["hour", "day", "week", "month"]))
def test_a_window_is_that_of_the_calendar(now: int, every: Every) -> None:
    start, end = Oracle.window(limit(("key",), "token_budget", 1, every), now)
    assert window(every, now) == (start.timestamp() * 1000, end.timestamp() * 1000)


@pytest.mark.parametrize(
    ("number", "counted"),
    [
        (-1, 0),
        (0, 0),
        (7, 7),
        (0.1, 1),
        (6.5, 7),
        (MOST + 1, MOST),
        (inf, MOST),
        (-inf, 0),
        (nan, 5),
        (None, 5),
        ("9", 5),
    ],
    ids=repr,
)
def test_a_number_is_made_one_that_can_be_counted(number: Any, counted: int) -> None:
    assert bounded(Use(number, number, number), Use(5, 5, 5)) == (counted, counted, counted)


@given(st.lists(st.tuples(st.integers(0, MOST), st.integers(0, MOST)), max_size=10), st.integers(1, MOST))
def test_whatever_a_bucket_owes_is_exact_in_the_numbers_of_lua(uses: list[tuple[int, int]], most: int) -> None:
    rate, bucket = limit(("key",), "tokens_per_minute", most), Bucket()
    for reserved, used in uses:
        bucket.take(rate, reserved, 0)
        bucket.settle(rate, reserved, used, 0, 0)
        standing = bucket.standing(rate, 0)
        assert standing.used * MINUTE < 2**53
        assert bucket.wait(rate, most, 0) <= 2**53
