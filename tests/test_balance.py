"""Which target comes first, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.config.snapshot import Breaker, Model, Strategy
from gateway.core.call import Call, Json, Price, Target
from gateway.routing.balance import STRATEGIES, Choice, View, order
from gateway.routing.health import Health

MANY = 20_000
"""Draws: enough to tell shares to within 2 %."""


def choices(*weights: float) -> list[Choice]:
    """Targets `a`, `b`, ... with these weights."""
    return [Choice(Target(chr(97 + place), "m", {}), weight, Health()) for place, weight in enumerate(weights)]


def view(strategy: Strategy = "weighted", *, sticky: bool = False, seed: int = 1, said: str = "") -> View:
    body = {"messages": [{"role": "user", "content": said}]}
    model = Model("m", (), (), strategy, sticky=sticky)
    return View(Call("id", "chat", "m", True, False, body, size=4000), model, 1000.0, Random(seed).random)


def names(chosen: Sequence[Choice]) -> str:
    return "".join(choice.target.provider for choice in chosen)


def shares(offered: Sequence[Choice], seen: View) -> dict[str, float]:
    """How often each comes first."""
    first = Counter(names(order(offered, seen)[:1]) for _ in range(MANY))
    return {name: number / MANY for name, number in first.items()}


def eject(choice: Choice, *, back_since: float) -> None:
    """The target was ejected before, and is back."""
    choice.health.eject_until(0.0, 30.0, times=1)
    choice.health.answered(back_since, back_since)


# Every strategy


@pytest.mark.parametrize("strategy", get_args(Strategy))
@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=8), st.integers(0, 99), st.booleans())
def test_every_target_comes_once(strategy: Strategy, weights: list[float], seed: int, sticky: bool) -> None:
    drawn = order(choices(*weights), view(strategy, sticky=sticky, seed=seed))
    assert sorted(names(drawn)) == sorted(names(choices(*weights)))


def test_there_is_an_order_for_each_strategy() -> None:
    assert set(STRATEGIES) == set(get_args(Strategy))


# Weighted, ordered


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_each_target_comes_first_as_often_as_its_share_of_the_weights(unit: float) -> None:
    assert shares(choices(6 * unit, 3 * unit, unit), view()) == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.1}, abs=0.02)


def test_those_that_follow_go_by_their_weights_too() -> None:
    seen = view()
    second = Counter(names(drawn)[1] for _ in range(MANY) if (drawn := order(choices(1, 3, 1), seen))[0].weight == 3)
    assert second["a"] / second.total() == pytest.approx(0.5, abs=0.02)


def test_ordered_targets_keep_their_order() -> None:
    assert names(order(choices(1, 5, 9), view("ordered"))) == "abc"


# Sticky


def test_a_conversation_stays_with_its_target() -> None:
    orders = {names(order(choices(1, 1, 1), view(sticky=True, seed=seed, said="Hello"))) for seed in range(50)}
    assert len(orders) == 1


def test_many_conversations_keep_the_shares_of_the_weights() -> None:
    offered = choices(6, 3, 1)
    first = Counter(names(order(offered, view(sticky=True, said=str(number)))[:1]) for number in range(5000))
    assert {name: number / 5000 for name, number in first.items()} == pytest.approx(
        {"a": 0.6, "b": 0.3, "c": 0.1}, abs=0.03
    )


def test_when_a_target_is_left_out_only_its_own_conversations_move() -> None:
    offered = choices(1, 1, 1)
    for number in range(200):
        seen = view(sticky=True, said=str(number))
        before, without_a = names(order(offered, seen)), names(order(offered[1:], seen))
        assert before.replace("a", "") == without_a  # and they come back with it: nothing else decides


# Slow start


def test_a_target_that_is_back_gets_a_share_that_grows() -> None:
    offered = choices(1, 1)
    eject(offered[0], back_since=1000.0 - Breaker().ejection / 2)
    assert shares(offered, view()) == pytest.approx({"a": 0.25, "b": 0.75}, abs=0.02)


def test_so_it_is_for_ordered_targets() -> None:
    offered = choices(1, 1)
    eject(offered[0], back_since=1000.0)
    assert shares(offered, view("ordered")) == pytest.approx({"a": 0.05, "b": 0.95}, abs=0.02)


def test_when_all_are_just_back_they_share_the_calls_as_ever() -> None:
    offered = choices(3, 1)
    for choice in offered:
        eject(choice, back_since=1000.0)
    assert shares(offered, view()) == pytest.approx({"a": 0.75, "b": 0.25}, abs=0.03)


# Least busy


def test_of_two_the_less_busy_one_is_asked() -> None:
    offered = choices(1, 1)
    offered[0].health.in_flight = 3
    assert names(order(offered, view("least_busy"))) == "ba"


def test_a_heavier_target_may_be_busier() -> None:
    offered = choices(4, 1)
    offered[0].health.in_flight, offered[1].health.in_flight = 2, 0
    assert names(order(offered, view("least_busy"))) == "ab"


def test_the_least_busy_of_many_does_not_get_every_call() -> None:
    offered = choices(1, 1, 1, 1)
    offered[0].health.in_flight = -1
    assert shares(offered, view("least_busy"))["a"] == pytest.approx(0.5, abs=0.02)


def test_calls_are_spread_more_evenly_than_by_chance() -> None:
    offered, seen = choices(*[1] * 20), view("least_busy")
    for _ in range(2000):
        order(offered, seen)[0].health.in_flight += 1
    assert max(choice.health.in_flight for choice in offered) <= 103  # by chance alone it would be about 120


# Fastest


def test_the_faster_target_is_asked() -> None:
    offered = choices(1, 1)
    offered[0].health.spoke(1000.0, 2.0)
    offered[1].health.spoke(1000.0, 0.5)
    assert names(order(offered, view("fastest"))) == "ba"


def test_calls_under_way_make_a_target_look_slower() -> None:
    offered = choices(1, 1)
    offered[0].health.spoke(1000.0, 2.0)
    offered[1].health.spoke(1000.0, 0.5)
    offered[1].health.in_flight = 4
    assert names(order(offered, view("fastest"))) == "ab"


def test_a_slow_target_is_tried_again_after_a_while() -> None:
    offered, seen = choices(1, 1), view("fastest")
    offered[0].health.spoke(1000.0, 5.0)
    offered[1].health.spoke(1000.0, 0.5)
    firsts = []
    for second in range(1000, 1400, 10):
        first = order(offered, seen._replace(now=float(second)))[0]
        firsts.append(first.target.provider)
        first.health.spoke(second, 5.0 if first is offered[0] else 0.5)
    assert 1 <= firsts.count("a") <= 3


def test_one_call_finds_out_about_a_target_that_nothing_is_known_of() -> None:
    offered = choices(1, 1)
    offered[1].health.spoke(1000.0, 0.5)
    firsts = []
    for _ in range(5):
        first = order(offered, view("fastest"))[0]
        first.health.begin()
        firsts.append(first.target.provider)
    assert firsts == ["a", "b", "b", "b", "b"]


def test_where_nothing_is_known_at_all_calls_are_spread() -> None:
    offered, seen = choices(1, 1), view("fastest")
    for _ in range(100):
        order(offered, seen)[0].health.begin()
    assert [choice.health.in_flight for choice in offered] == [50, 50]


# Cheapest


def priced(*prices: Price | None) -> list[Choice]:
    return [Choice(Target(chr(97 + place), "m", {}, price=price), 1.0, Health()) for place, price in enumerate(prices)]


@pytest.mark.parametrize(
    ("body", "cheaper"),
    [
        ({"max_tokens": 10}, "b"),
        ({"max_completion_tokens": 5000, "max_tokens": 10}, "a"),
        ({}, "a"),
        ({"max_tokens": -5}, "a"),
        ({"max_tokens": "many"}, "a"),
    ],
)
def test_what_is_cheaper_depends_on_how_long_the_answer_may_be(body: Json, cheaper: str) -> None:
    seen = view("cheapest")
    seen = seen._replace(call=replace(seen.call, body=body))
    assert names(order(priced(Price(10, 10), Price(1, 40)), seen))[0] == cheaper


def test_what_has_no_price_comes_last() -> None:
    assert names(order(priced(None, Price(99, 99)), view("cheapest"))) == "ba"


def test_equal_prices_share_the_calls() -> None:
    assert shares(priced(Price(1, 1), Price(1, 1)), view("cheapest"))["a"] == pytest.approx(0.5, abs=0.02)
