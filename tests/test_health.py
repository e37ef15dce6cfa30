"""One target's health, with the time told by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.snapshot import Breaker
from gateway.core.errors import LONG_COOLDOWN, RULES, Failure, UpstreamError
from gateway.routing.health import FEW, HALF_LIFE, Cooldown, Health, Standing

BREAKER = Breaker()


def middling() -> float:
    """Chance, when it makes nothing longer or shorter."""
    return 0.5


def fail(health: Health, now: float, times: int = 1, ill: float = 1.0) -> bool:
    """So many calls fail that have just begun. Whether the last one ejected the target."""
    return [health.failed(now, now, ill, BREAKER, middling) for _ in range(times)][-1]


def ejected(at: float = 0.0) -> Health:
    health = Health()
    assert fail(health, at, 5)
    return health


def probe(health: Health, now: float, *, well: bool) -> None:
    """The call that comes once the ejection is over."""
    assert health.begin()
    if well:
        health.succeeded(now, now, BREAKER)
    else:
        fail(health, now)
    health.end(probe=True)


# When it opens


def test_five_failures_in_a_row_eject() -> None:
    health = Health()
    assert [fail(health, 1.0) for _ in range(5)] == [False] * 4 + [True]
    assert health.standing(1.0) is Standing.EJECTED


def test_a_success_between_them_begins_the_count_anew() -> None:
    health = Health()
    fail(health, 1.0, 4)
    health.succeeded(1.0, 1.0, BREAKER)
    assert not fail(health, 1.0, 4)


def test_an_overload_counts_half() -> None:
    health = Health()
    health.succeeded(1.0, 1.0, BREAKER)  # so that it is not half of ten
    assert not fail(health, 1.0, 9, ill=0.5)
    assert fail(health, 1.0, 1, ill=0.5)


def test_half_of_ten_within_the_window_eject_though_never_five_in_a_row() -> None:
    health = Health()
    for second in range(4):
        assert not fail(health, second)
        health.succeeded(second, second, BREAKER)
    health.succeeded(4.0, 4.0, BREAKER)
    assert fail(health, 4.0)


def test_half_of_fewer_than_ten_is_no_judgement() -> None:
    health = Health()
    for second in range(4):
        health.succeeded(second, second, BREAKER)
        assert not fail(health, second)


def test_failures_before_the_window_are_forgotten() -> None:
    health = Health()
    for second in range(4):
        fail(health, second)
        health.succeeded(second, second, BREAKER)
    health.succeeded(40.0, 40.0, BREAKER)
    assert not fail(health, 40.0)


# How long it lasts


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 27.0), (0.5, 30.0), (1 - 1e-9, 33.0)])
def test_an_ejection_lasts_30_s_give_or_take_a_tenth(chance: float, seconds: float) -> None:
    health = Health()
    for _ in range(5):
        health.failed(100.0, 100.0, 1, BREAKER, lambda: chance)
    assert health.ejected_until == pytest.approx(100 + seconds)


def test_each_ejection_in_a_row_is_longer_up_to_five_minutes() -> None:
    health, lengths = ejected(), list[float]()
    for _ in range(12):
        lengths.append(health.ejected_until - health.ejected_at)
        probe(health, health.ejected_until, well=False)
    assert lengths == pytest.approx([30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300])


def test_ejections_are_forgotten_one_by_one_while_it_is_well() -> None:
    health = ejected()
    probe(health, 30.0, well=False)
    probe(health, 90.0, well=True)
    fail(health, 151.0, 5)
    assert health.times == 1


def test_an_ejection_that_a_success_ended_early_makes_the_next_no_longer() -> None:
    health = ejected()
    for second in (1.0, 2.0, 3.0):  # as the last target, it is asked all the same
        health.succeeded(second, second, BREAKER)
        assert health.standing(second) is Standing.READY
        fail(health, second, 5)
    assert health.ejected_until == pytest.approx(3 + 30)


def test_what_the_last_target_fails_while_it_is_ejected_makes_that_no_longer() -> None:
    health = ejected()
    fail(health, 10.0, 20)
    assert health.ejected_until == pytest.approx(30)


# How it comes back


def test_nobody_goes_there_before_its_time_is_over() -> None:
    assert ejected().standing(29.9) is Standing.EJECTED


def test_then_one_call_finds_out_while_all_others_stay_away() -> None:
    health = ejected()
    assert health.standing(30.1) is Standing.READY
    assert health.begin()
    assert health.standing(30.2) is Standing.EJECTED
    assert not health.begin()


def test_a_probe_that_was_cancelled_leaves_the_place_to_the_next() -> None:
    health = ejected()
    health.begin()
    health.end(probe=True)
    assert health.standing(30.1) is Standing.READY
    assert health.begin()


def test_the_first_token_of_the_probe_brings_it_back_before_its_stream_has_ended() -> None:
    health = ejected()
    health.begin()
    assert health.answered(31.0, 30.1)
    assert health.standing(31.0) is Standing.READY


def test_while_that_stream_goes_on_a_new_ejection_gets_a_probe_of_its_own() -> None:
    health = ejected()
    health.begin()
    health.answered(31.0, 30.1)
    fail(health, 32.0, 5)
    assert health.begin()


def test_an_answer_to_a_call_that_is_older_than_the_ejection_proves_nothing() -> None:
    health = ejected(at=10.0)
    assert not health.succeeded(11.0, 9.0, BREAKER)
    assert health.standing(11.0) is Standing.EJECTED


def test_nor_does_the_failure_of_such_a_call_make_it_any_longer() -> None:
    health = ejected(at=60.0)  # first tokens that were waited for in vain for a minute
    for since in range(31, 60):
        health.failed(since + 60.0, float(since), 1, BREAKER, middling)
    assert health.ejected_until == pytest.approx(90)
    probe(health, 90.5, well=True)
    for _ in range(20):
        health.failed(91.0, 59.0, 1, BREAKER, middling)
    assert health.standing(91.0) is Standing.READY


def test_its_share_grows_from_a_twentieth_to_everything_within_the_ejection_time() -> None:
    health = ejected()
    probe(health, 40.0, well=True)
    assert [health.share(40.0 + passed, BREAKER) for passed in (0, 15, 30, 60)] == [0.05, 0.5, 1.0, 1.0]


def test_a_target_that_was_never_ejected_has_its_full_share_from_the_beginning() -> None:
    assert Health().share(0.0, BREAKER) == 1.0


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["begin", "well", "ill", "cancelled"])), max_size=60))
def test_whatever_happens_there_is_one_probe_at_a_time_and_every_call_is_counted_out(
    story: list[tuple[float, str]],
) -> None:
    health, now, running = ejected(), 0.0, list[tuple[float, bool]]()
    for passed, what in story:
        now += passed
        if what == "begin" and (not health.ejected_until or health.standing(now) is Standing.READY):
            running.append((now, health.begin()))
        elif running and what != "begin":
            since, is_probe = running.pop(0)
            if what == "well":
                health.succeeded(now, since, BREAKER)
            elif what == "ill":
                health.failed(now, since, 1, BREAKER, middling)
            health.end(probe=is_probe)
        assert health.in_flight == len(running)
        assert health.ejected_until <= now + 330
        if health.ejected_until:
            assert sum(is_probe for since, is_probe in running if since >= health.ejected_at) <= 1


# Cooling down


def refused(failure: Failure = Failure.RATE_LIMITED, retry_after: float | None = None) -> UpstreamError:
    return UpstreamError(failure, "no", status=429, retry_after=retry_after)


def test_it_is_left_alone_for_as_long_as_it_asked() -> None:
    health = Health()
    assert health.cool_down(0.0, refused(retry_after=20)) == 20
    assert [health.standing(now) for now in (19.9, 20.0)] == [Standing.COOLING_DOWN, Standing.READY]
    assert [health.asked(now) for now in (5.0, 20.0, 30.0)] == [15, 0, 0]


@pytest.mark.parametrize("failure", Failure)
def test_without_a_word_it_is_left_alone_for_as_long_as_its_row_says(failure: Failure) -> None:
    health = Health()
    assert health.cool_down(0.0, refused(failure)) == RULES[failure].cool
    assert not health.asked(0.0)


def test_what_it_asks_for_goes_before_what_its_row_says() -> None:
    assert Health().cool_down(0.0, refused(Failure.BILLING, retry_after=2)) == 2


def test_nobody_is_left_alone_for_more_than_five_minutes() -> None:
    assert Health().cool_down(0.0, refused(retry_after=86_400)) == LONG_COOLDOWN == 300


def test_a_cooldown_is_never_made_shorter() -> None:
    health = Health()
    health.cool_down(0.0, refused(retry_after=20))
    assert health.cool_down(1.0, refused(retry_after=2)) == 0
    assert health.standing(15.0) is Standing.COOLING_DOWN


@pytest.mark.parametrize("first", ["asked", "guessed"])
def test_a_longer_guess_does_not_make_a_guess_of_what_was_asked_for(first: str) -> None:
    health = Health()
    errors = [refused(retry_after=3), refused(Failure.CREDENTIALS)]
    for error in errors if first == "asked" else reversed(errors):
        health.cool_down(0.0, error)
    assert (health.asked(1.0), health.asked(4.0)) == (2, 0)
    assert health.standing(4.0) is Standing.COOLING_DOWN


def test_a_success_of_a_call_that_is_older_does_not_end_it() -> None:
    health = Health()
    health.cool_down(10.0, refused(retry_after=20))
    assert not health.succeeded(11.0, 9.0, BREAKER)
    assert health.standing(11.0) is Standing.COOLING_DOWN


def test_nor_one_that_is_older_than_the_newest_refusal() -> None:
    health = Health()
    health.cool_down(10.0, refused())
    health.cool_down(12.0, refused(retry_after=2))
    assert not health.succeeded(12.5, 11.0, BREAKER)
    assert health.standing(12.5) is Standing.COOLING_DOWN


def test_a_success_of_a_later_call_ends_it() -> None:
    health = Health()
    health.cool_down(10.0, refused(Failure.BILLING))
    assert health.succeeded(12.0, 11.0, BREAKER)
    assert health.standing(12.0) is Standing.READY


def test_a_cooldown_is_no_illness() -> None:
    health = Health()
    for _ in range(50):
        health.cool_down(0.0, refused())
    assert health.standing(6.0) is Standing.READY


# What other replicas know


def test_an_ejection_elsewhere_holds_here_and_its_end_too() -> None:
    health = Health()
    health.eject_until(5.0, 35.0, times=1)
    assert health.standing(34.0) is Standing.EJECTED
    health.release(34.0)
    assert health.standing(34.0) is Standing.READY


def test_a_shorter_ejection_elsewhere_changes_nothing() -> None:
    health = ejected()
    health.eject_until(1.0, 20.0, times=1)
    assert health.ejected_until == pytest.approx(30)


def test_a_cooldown_elsewhere_holds_here() -> None:
    health = Health()
    health.cool_until(0.0, Cooldown(8.0, Failure.RATE_LIMITED, True, 0.0))
    assert health.asked(1.0) == 7


# Speed


def test_the_speed_follows_what_was_measured_lately() -> None:
    health = Health()
    assert health.speed(0.0) == 0.0
    health.spoke(0.0, 1.0)
    assert health.speed(0.0) == 1.0
    for _ in range(50):
        health.spoke(0.0, 3.0)
    assert health.speed(0.0) == pytest.approx(3.0, rel=0.01)


def test_an_old_measurement_counts_half_after_a_minute() -> None:
    health = Health()
    health.spoke(0.0, 8.0)
    assert health.speed(HALF_LIFE) == pytest.approx(4.0)


def test_what_is_slow_is_known_once_there_were_enough_streams() -> None:
    health = Health()
    for number in range(1, FEW):
        health.spoke(0.0, float(number))
    assert health.slow() is None
    health.spoke(0.0, float(FEW))
    assert health.slow() == pytest.approx(20)
