"""What clients and providers may rely on while something is out. All in virtual time."""

from __future__ import annotations

import pytest

from tests.outages.scenarios import ALL, BREAKER, ONE_OF_THREE, SCENARIOS, TOO_LITTLE, played

EJECTING = [name for name in ONE_OF_THREE if not any(word in name for word in ("30 %", "429", "fastest"))]
"""Ills that one target alone has, and for which it is ejected at once."""

ALL_AT_ONCE = "all fail 50 % of their calls"


@pytest.mark.parametrize("name", ONE_OF_THREE)
def test_nobody_sees_an_error_as_long_as_the_others_have_room(name: str) -> None:
    assert sum(played(name).errors.values()) == 0


@pytest.mark.parametrize("name", ONE_OF_THREE)
def test_an_outage_costs_less_than_a_fifth_more_attempts(name: str) -> None:
    assert played(name).amplification(*SCENARIOS[name].outage) < 1.2


@pytest.mark.parametrize("name", sorted((ALL | TOO_LITTLE).keys() - {ALL_AT_ONCE}))
def test_where_nothing_is_well_second_tries_add_no_more_than_their_budget(name: str) -> None:
    assert played(name).amplification(*SCENARIOS[name].outage) < 1.22  # a fifth, counted over 9 to 10 s


def test_half_ill_targets_share_their_failures_and_all_the_same_get_less_than_half_as_much_again() -> None:
    assert played(ALL_AT_ONCE).worst_amplification(*SCENARIOS[ALL_AT_ONCE].outage) < 1.4
    assert played(ALL_AT_ONCE).error_share(*SCENARIOS[ALL_AT_ONCE].outage) < 0.4


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_call_makes_more_attempts_than_it_may(name: str) -> None:
    assert played(name).most_attempts <= 3


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_provider_is_called_before_the_time_it_asked_for_is_over(name: str) -> None:
    assert played(name).early == 0


@pytest.mark.parametrize("name", EJECTING)
def test_a_target_that_is_well_again_is_back_within_twice_its_ejection(name: str) -> None:
    seen, (_, end) = played(name), SCENARIOS[name].outage
    back = seen.back_after("a", end)
    assert back < 2 * seen.ejection("a", end + back)


@pytest.mark.parametrize("name", EJECTING)
def test_and_then_has_its_full_share_once_the_slow_start_is_over(name: str) -> None:
    seen, scenario = played(name), SCENARIOS[name]
    back = scenario.outage[1] + seen.back_after("a", scenario.outage[1])
    assert seen.full_share_after("a", back, scenario.usual_rate, scenario.seconds) <= BREAKER.ejection + 1


@pytest.mark.parametrize("name", EJECTING)
def test_a_target_that_is_back_starts_slowly(name: str) -> None:
    seen, scenario = played(name), SCENARIOS[name]
    back = scenario.outage[1] + seen.back_after("a", scenario.outage[1])
    assert seen.rate("a", back, back + BREAKER.ejection / 5) < 0.35 * scenario.usual_rate


@pytest.mark.parametrize("name", ["is ten times as slow, fastest", "429, Retry-After 4 s", "429 without a word"])
def test_what_needs_no_ejection_is_back_within_seconds(name: str) -> None:
    scenario = SCENARIOS[name]
    assert played(name).full_share_after("a", scenario.outage[1], scenario.usual_rate, scenario.seconds) <= 6


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_herd_falls_upon_a_target_that_is_well_again(name: str) -> None:
    seen, scenario = played(name), SCENARIOS[name]
    assert seen.surge("a", scenario.outage[1], scenario.seconds) < 4 * scenario.usual_rate


@pytest.mark.parametrize("name", ["the only target refuses connections", "the only target fails 40 % of its calls"])
def test_the_last_target_is_asked_by_every_call_however_ill_it_is(name: str) -> None:
    seen = played(name)
    assert seen.ejections
    assert all(seen.reached["a"][second] >= seen.calls[second] for second in range(60))


def test_of_many_ill_targets_one_is_still_asked_by_every_call() -> None:
    seen = played("all refuse connections")
    assert seen.amplification(*SCENARIOS["all refuse connections"].outage) >= 1


def test_second_tries_mend_a_third_of_what_an_only_target_fails() -> None:
    seen = played("the only target fails 40 % of its calls")
    assert seen.error_share(*SCENARIOS["the only target fails 40 % of its calls"].outage) < 0.3


def test_full_targets_still_serve_what_they_have_room_for() -> None:
    seen = played("more calls than the only target takes: 429")
    assert len(seen.served["a"]) > 0.9 * 140 * 60


def test_no_call_waits_for_long_where_a_target_asks_for_patience() -> None:
    assert played("all 429, Retry-After 4 s").longest < 12
