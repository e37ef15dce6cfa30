from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.window import SLOTS, Window

EVENTS = st.lists(st.tuples(st.floats(0, 5), st.sampled_from([0.0, 0.5, 1.0])), max_size=60)
"""Seconds since the one before, and how bad it was."""


def test_what_has_just_happened_is_counted() -> None:
    window = Window(10)
    window.add(1000.0, part=0.5)
    window.add(1000.0)
    assert (window.all, window.part) == (2, 0.5)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = Window(10)
    window.add(0.0, part=1)
    window.turn(10.0)
    assert (window.all, window.part) == (0, 0)


def test_what_is_almost_as_old_as_the_window_is_counted() -> None:
    window = Window(10)
    window.add(0.5, part=1)
    window.turn(9.9)
    assert (window.all, window.part) == (1, 1)


def test_a_long_silence_forgets_everything() -> None:
    window = Window(10)
    for second in range(10):
        window.add(second, part=1)
    window.turn(1e6)
    assert (window.all, window.part) == (0, 0)


@pytest.mark.parametrize("seconds", [1.0, 10.0, 30.0])
@given(EVENTS)
def test_it_counts_the_last_seconds_but_for_one_part_of_them_at_most(
    seconds: float, events: list[tuple[float, float]]
) -> None:
    window, happened, now = Window(seconds), list[tuple[float, float]](), 0.0
    for passed, bad in events:
        now += passed
        window.add(now, part=bad)
        happened.append((now, bad))
        shorter = seconds * (1 - 1 / SLOTS)
        surely = sum(bad for at, bad in happened if at > now - shorter + 1e-6)
        maybe = sum(bad for at, bad in happened if at > now - seconds - 1e-6)
        assert surely <= window.part <= maybe
        assert window.part <= window.all <= len(happened)
