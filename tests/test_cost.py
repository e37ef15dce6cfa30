"""What a call costs: exact to the micro-dollar, whatever a provider counts."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Price
from gateway.core.events import Usage
from gateway.core.money import dollars, micros, picos
from gateway.policy.cost import MOST_TOKENS, bounded, cost
from gateway.vendors.catalogue import about

SONNET = Price(3, 15, cache_read=0.3, cache_write=3.75, above=((200_000, Price(6, 22.5, 0.6, 7.5)),))
CACHED = Price(1, 2, cache_read=0.1, cache_write=1.25)
INPUT_ONLY = Price(1, 0)


@pytest.mark.parametrize(
    ("usage", "price", "expected"),
    [
        # 800 at 2.50, 200 at 1.25 and 100 at 10 dollars per million
        (Usage(1000, 100, cache_read=200), Price(2.5, 10, cache_read=1.25), 3_250),
        # 10,000 of which 8,000 read at 0.30 and 1,000 written at 3.75: 3,000 + 2,400 + 3,750 + 7,500
        (Usage(10_000, 500, cache_read=8_000, cache_write=1_000), SONNET, 16_650),
        # reasoning is part of the output, and not charged twice
        (Usage(1_000_000, 1_000_000, reasoning=900_000), Price(0.15, 0.6), 750_000),
        # where no price of the cache is known, what was cached costs what all input does
        (Usage(1000, 0, cache_read=500, cache_write=500), Price(2, 6), 2_000),
        # an embedding of 40 tokens at 0.02 comes to 0.8 micro-dollars
        (Usage(40), Price(0.02, 0), 1),
        (Usage(), SONNET, 0),
        (Usage(123, 456), Price(0, 0), 0),
    ],
)
def test_a_call_costs_what_its_tokens_do(usage: Usage, price: Price, expected: int) -> None:
    assert cost(usage, price) == expected


def test_a_call_to_gpt_4o_costs_what_openai_lists() -> None:
    known = about("openai", "gpt-4o")
    assert known is not None
    found = cost(Usage(1000, 100, cache_read=200), known.price)
    assert found is not None
    assert dollars(found) == 0.00325


@pytest.mark.parametrize(("prompt", "per_token"), [(200_000, 3), (200_001, 6)])
def test_all_of_a_long_prompt_has_the_price_of_long_prompts(prompt: int, per_token: int) -> None:
    assert cost(Usage(prompt), SONNET) == prompt * per_token


def test_the_longest_of_several_steps_counts() -> None:
    steps = Price(1, 1, above=((10, Price(2, 1)), (20, Price(3, 1))))
    assert [cost(Usage(tokens), steps) for tokens in (10, 11, 20, 21)] == [10, 22, 40, 63]


def test_where_no_price_is_known_no_cost_is() -> None:
    assert cost(Usage(1000, 1000), None) is None


@pytest.mark.parametrize(("tokens", "expected"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2)])
def test_half_a_micro_dollar_is_rounded_up(tokens: int, expected: int) -> None:
    """At 0.25 dollars per million a token costs a quarter of a micro-dollar."""
    assert cost(Usage(tokens), Price(0.25, 0)) == expected


prices = st.builds(
    Price,
    *(st.decimals(0, 100_000, places=6).map(float) for _ in range(2)),
    *(st.none() | st.decimals(0, 100_000, places=6).map(float) for _ in range(2)),
    st.just(()),
)
counts = st.integers(0, MOST_TOKENS)
anything = st.builds(Usage, *(st.integers(-(10**30), 10**30) for _ in range(5)))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """What can be true."""
    prompt, output = draw(counts), draw(counts)
    read = draw(st.integers(0, prompt))
    return Usage(prompt, output, read, draw(st.integers(0, prompt - read)), draw(st.integers(0, output)))


def exactly(usage: Usage, price: Price) -> Fraction:
    """In micro-dollars. A price per million in dollars is one per token in micro-dollars."""

    def per_token(amount: float | None) -> Fraction:
        return Fraction(Decimal(repr(price.input if amount is None else amount)))

    plain = usage.input - usage.cache_read - usage.cache_write
    return (
        plain * per_token(price.input)
        + usage.cache_read * per_token(price.cache_read)
        + usage.cache_write * per_token(price.cache_write)
        + usage.output * per_token(price.output)
    )


@given(usages(), prices)
def test_no_cost_is_off_by_more_than_its_one_rounding(usage: Usage, price: Price) -> None:
    found = cost(usage, price)
    assert found is not None
    assert -Fraction(1, 2) < found - exactly(usage, price) <= Fraction(1, 2)


@given(anything, prices)
def test_no_usage_is_a_credit(usage: Usage, price: Price) -> None:
    found = cost(usage, price)
    assert found is not None
    assert found >= 0


@given(anything, prices)
def test_what_a_broken_server_counts_costs_no_more_than_a_database_can_hold(usage: Usage, price: Price) -> None:
    found = cost(usage, price)
    assert found is not None
    assert found < 2**63 // 10_000


@given(usages())
def test_a_usage_that_can_be_true_is_left_as_it_is(usage: Usage) -> None:
    assert bounded(usage) == usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(100, 10, cache_read=300), 10 + 20),
        (Usage(100, 10, cache_read=100, cache_write=100), 125 + 20),
        (Usage(100, 10, cache_read=-300), 100 + 20),
        (Usage(-100, 10), 20),
        (Usage(100, -10), 100),
        (Usage(100, 0, cache_write=10**30), 125),
        (Usage(0, 10**30), 2 * MOST_TOKENS),
        (Usage(10**30), MOST_TOKENS),
    ],
)
def test_counts_that_contradict_each_other_are_bounded(usage: Usage, expected: int) -> None:
    assert cost(usage, CACHED) == expected


def test_what_was_cached_beyond_the_prompt_lowers_nothing_below_zero() -> None:
    assert cost(Usage(10, 0, cache_read=10**9), INPUT_ONLY) == 10


@given(st.decimals(0, 10**9, places=6))
def test_a_budget_in_dollars_is_kept_to_the_micro_dollar(amount: Decimal) -> None:
    assert Fraction(micros(amount), 10**6) == Fraction(amount)


def test_a_price_that_is_a_quotient_is_rounded_to_the_pico_dollar() -> None:
    assert picos(0.08333333333333334) == 83_333
