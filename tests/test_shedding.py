"""Who is sent away when the event loop cannot keep up. Time is counted, not waited for."""

from __future__ import annotations

from collections import Counter, deque
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.snapshot import Priority
from gateway.policy.shedding import EVERY, Shedding

PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high")


def after(*lags: float, chance: float = 0.0) -> Shedding:
    shedding = Shedding(lambda: chance)
    for lag in lags:
        shedding.lag(lag)
    return shedding


def shed(shedding: Shedding) -> list[Priority]:
    return [priority for priority in PRIORITIES if shedding.sheds(priority) is not None]


def test_nobody_is_shed_while_the_loop_keeps_up() -> None:
    assert shed(after(0.0, 0.05, 0.09, 0.09)) == []


def test_a_single_pause_sheds_nobody_however_long() -> None:
    assert shed(after(0.0, 5.0)) == []
    assert shed(after(0.0, 5.0, 0.01)) == []


@pytest.mark.parametrize(("lag", "gone"), [(0.15, ["low"]), (0.4, ["low", "normal"]), (1.2, ["low", "normal", "high"])])
def test_the_lower_the_priority_the_sooner_calls_are_shed(lag: float, gone: list[Priority]) -> None:
    assert shed(after(lag, lag)) == gone


@pytest.mark.parametrize(("lag", "share"), [(0.1, 0.0), (0.15, 0.25), (0.2, 0.5), (0.3, 1.0), (9.0, 1.0)])
def test_the_share_of_calls_that_are_shed_grows_with_the_lag(lag: float, share: float) -> None:
    chances = Random(7)
    shedding = Shedding(chances.random)
    shedding.lag(lag)
    shedding.lag(lag)
    gone = sum(shedding.sheds("low") is not None for _ in range(4000))
    assert gone / 4000 == pytest.approx(share, abs=0.03)


def test_a_lag_that_is_over_is_remembered_for_a_while_and_then_forgotten() -> None:
    assert shed(after(1.0, 1.0, 0.0, 0.0)) == ["low", "normal"]
    assert shed(after(1.0, 1.0, *[0.0] * 7)) == []


def test_those_who_are_shed_are_told_to_come_back_at_different_times() -> None:
    assert after(9.0, 9.0, chance=0.0).sheds("low") == 1.0
    assert after(9.0, 9.0, chance=0.99).sheds("low") == pytest.approx(1.99)


Mix = tuple[int, int, int]
"""How many calls of each of the priorities there are to each other."""


class Seen(NamedTuple):
    """What became of one call."""

    at: float
    priority: Priority
    shed: bool
    late: float
    """Seconds from its arrival until it had been seen to."""


WORK = 0.01
"""Seconds of the loop that a call takes."""
REFUSAL = WORK / 10

OVERLOADED, REST, STEADY = 10.0, 4.0, 2.0


def loop(mix: Mix, load: float, seed: int) -> list[Seen]:
    """An event loop at `load` times what it can do for a while, and then at half of it.

    As in asyncio, what has come while one turn lasted is the next turn's, and timers ring between turns.
    """
    chance = Random(seed)
    shedding = Shedding(chance.random)
    coming = _arrivals(mix, load, chance)
    now, ring, seen = 0.0, EVERY, []
    while coming:
        now = max(now, min(ring, coming[0][0]))
        turn = []
        while coming and coming[0][0] <= now:
            turn.append(coming.popleft())
        if now >= ring:
            shedding.lag(now - ring)
            ring = now + EVERY
        for came, priority in turn:
            refused = shedding.sheds(priority) is not None
            now += REFUSAL if refused else WORK
            seen.append(Seen(now, priority, refused, now - came))
    return seen


def _arrivals(mix: Mix, load: float, chance: Random) -> deque[tuple[float, Priority]]:
    now, coming = 0.0, deque[tuple[float, Priority]]()
    while now < OVERLOADED + REST:
        now += chance.expovariate((load if now < OVERLOADED else 0.5) / WORK)
        coming.append((now, chance.choices(PRIORITIES, mix)[0]))
    return coming


def shares(seen: list[Seen]) -> dict[Priority, float]:
    """The share of calls that were shed once the overload had been noticed."""
    steady = [each for each in seen if STEADY < each.at < OVERLOADED]
    came = Counter(each.priority for each in steady)
    gone = Counter(each.priority for each in steady if each.shed)
    return {priority: gone[priority] / max(1, came[priority]) for priority in PRIORITIES}


@settings(max_examples=15, deadline=None)
@given(mix=st.sampled_from([(1, 1, 1), (1, 2, 1), (2, 1, 1), (3, 1, 1)]), seed=st.integers(0, 2**32))
def test_at_twice_what_can_be_done_the_important_calls_are_served_and_in_time(mix: Mix, seed: int) -> None:
    seen = loop(mix, 2.0, seed)
    gone = shares(seen)
    assert gone["low"] > 0.7
    assert gone["low"] > gone["normal"] > gone["high"] - 0.01
    assert gone["high"] < 0.1
    assert max(each.late for each in seen) < 2.5
    assert [each for each in seen if each.shed and each.at > OVERLOADED + 2.0] == []


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_calls_that_are_all_equal_share_what_can_be_done(seed: int) -> None:
    """At twice of what can be done, about half: to shed more would help nobody."""
    gone = shares(loop((0, 1, 0), 2.0, seed))
    assert 0.45 < gone["normal"] < 0.7


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_loop_with_something_to_spare_sheds_nobody(seed: int) -> None:
    assert not any(each.shed for each in loop((1, 1, 1), 0.6, seed))
