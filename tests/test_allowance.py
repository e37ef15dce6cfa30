"""The headers that tell a client how much its key may still ask for."""

from __future__ import annotations

import re
from fractions import Fraction
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.limits import limit, standing
from gateway.ports import Every, Standing, What
from gateway.web.allowance import allowance, duration

KEY = ("key", "web-app")


def stands(what: What, most: int, used: int, reset: int = 1000, every: Every = "minute") -> Standing:
    """`reset` is in milliseconds."""
    return standing(limit(KEY, what, most, every), used, reset)


def headers(*standings: Standing) -> dict[str, str]:
    made = [line.partition(": ")[::2] for line in allowance(standings).decode().splitlines()]
    assert len(dict(made)) == len(made), "a header is told twice"
    return {name.removeprefix("x-ratelimit-"): value for name, value in made}


def seconds(spelt: bytes) -> Fraction:
    """As openai's SDKs and Go read it."""
    parts = re.fullmatch(rb"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?|(\d+)ms", spelt)
    assert parts, spelt
    if parts[4]:
        return Fraction(int(parts[4]), 1000)
    hours, minutes, rest = (Fraction(part.decode()) if part else Fraction(0) for part in parts.groups()[:3])
    return hours * 3600 + minutes * 60 + rest


def test_a_limit_is_told_with_what_is_left_of_it_and_when_it_is_full_again() -> None:
    told = headers(stands("requests_per_minute", 600, 10, 1500), stands("tokens_per_minute", 40_000, 39_000, 58_500))
    assert told == {
        "limit-requests": "600",
        "remaining-requests": "590",
        "reset-requests": "1.5s",
        "limit-tokens": "40000",
        "remaining-tokens": "1000",
        "reset-tokens": "58.5s",
    }


@pytest.mark.parametrize("rate_first", [True, False])
def test_of_two_limits_of_tokens_the_one_that_leaves_less_is_told(rate_first: bool) -> None:
    rate, budget = stands("tokens_per_minute", 1000, 100), stands("token_budget", 10_000, 9_500, 86_400_000, "day")
    told = headers(*((rate, budget) if rate_first else (budget, rate)))
    assert (told["limit-tokens"], told["remaining-tokens"], told["reset-tokens"]) == ("10000", "500", "24h0m0s")


def test_nothing_is_told_to_be_left_below_zero() -> None:
    assert headers(stands("tokens_per_minute", 100, 250))["remaining-tokens"] == "0"


def test_places_and_dollars_have_no_headers_and_no_limit_has_none() -> None:
    assert headers(stands("concurrent_requests", 4, 1), stands("usd_budget", 10**6, 1, every="day")) == {}
    assert headers() == {}


def test_the_largest_limit_is_told_in_plain_digits() -> None:
    assert headers(stands("token_budget", 10**15, 1, every="month"))["remaining-tokens"] == "999999999999999"


@pytest.mark.parametrize(
    ("time", "spelt"),
    [
        (0, b"0ms"),
        (0.0001, b"1ms"),
        (0.012, b"12ms"),
        (1, b"1s"),
        (1.5, b"1.5s"),
        (59.999, b"59.999s"),
        (60, b"1m0s"),
        (360, b"6m0s"),
        (3600, b"1h0m0s"),
        (90_061.25, b"25h1m1.25s"),
    ],
)
def test_a_time_is_spelt_as_openai_spells_it(time: float, spelt: bytes) -> None:
    assert duration(time) == spelt


@given(st.integers(0, 32 * 86_400_000))
def test_no_time_is_told_shorter_than_it_is(milliseconds: int) -> None:
    told = seconds(duration(milliseconds / 1000))
    assert Fraction(milliseconds, 1000) <= told <= Fraction(milliseconds + 1, 1000)


@given(st.floats(0, 10**7, exclude_max=True))
def test_every_time_can_be_spelt(time: float) -> None:
    assert 0 <= seconds(duration(time)) < inf
