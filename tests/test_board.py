"""What is known of the targets, and who is told of it."""

from __future__ import annotations

import pytest

from gateway.config.snapshot import Model, Timeouts
from gateway.core.call import Target
from gateway.core.errors import Failure, UpstreamError
from gateway.ports import Notice
from gateway.routing.board import FEWEST_RETRIES, MOST, Board
from gateway.routing.health import Standing

A = Target("a", "m", {})
MODEL = Model("m", (A,), (1.0,))


class World:
    """A board, the time it goes by, and what it told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[Notice] = []
        self.board = Board(lambda: self.now, lambda: 0.5, self.told.append)

    def fail(self, failure: Failure = Failure.SERVER_ERROR, times: int = 1, **words: float) -> None:
        for _ in range(times):
            error = UpstreamError(failure, "no", status=500, retry_after=words.get("retry_after"))
            self.board.failed(A, words.get("since", self.now), MODEL, error)

    def standing(self) -> Standing:
        return self.board.of(A).standing(self.now)

    def why(self) -> list[str]:
        return [notice.why for notice in self.told]


@pytest.fixture
def world() -> World:
    return World()


def test_an_ejection_is_told_with_its_length_and_number(world: World) -> None:
    world.fail(times=5)
    assert world.told == [Notice("a", "m", "ejected", 30.0, times=1)]


def test_a_cooldown_is_told_with_whether_it_was_asked_for(world: World) -> None:
    world.fail(Failure.RATE_LIMITED, retry_after=7.0)
    assert world.told == [Notice("a", "m", "rate_limited", 7.0, asked=True)]


def test_calls_that_are_refused_together_are_told_of_once(world: World) -> None:
    for _ in range(5):
        world.fail(Failure.RATE_LIMITED, retry_after=7.0)
        world.now += 0.1
    assert world.why() == ["rate_limited"]
    world.fail(Failure.RATE_LIMITED, retry_after=60.0)
    assert world.why() == ["rate_limited", "rate_limited"]


def test_a_return_is_told(world: World) -> None:
    world.fail(times=5)
    world.now += 31
    world.board.succeeded(A, world.now, MODEL)
    assert world.told[-1] == Notice("a", "m", "well", 0.0)


@pytest.mark.parametrize(
    ("failure", "seconds", "blamed"),
    [
        (Failure.FIRST_TOKEN_TIMEOUT, 60, True),
        (Failure.FIRST_TOKEN_TIMEOUT, 1, False),
        (Failure.DEADLINE, 300, True),
        (Failure.DEADLINE, 60, False),
        (Failure.CONNECT_TIMEOUT, 1, True),
    ],
)
def test_a_target_is_not_blamed_for_a_client_in_a_hurry(
    world: World, failure: Failure, seconds: float, blamed: bool
) -> None:
    world.fail(failure, times=5, since=world.now - seconds)
    assert (world.standing() is Standing.EJECTED) == blamed


def test_an_ordinary_success_is_news_to_nobody(world: World) -> None:
    world.board.succeeded(A, world.now, MODEL)
    world.board.spoke(A, world.now)
    assert world.told == []


@pytest.mark.parametrize("failure", [Failure.RATE_LIMITED, Failure.BILLING, Failure.CREDENTIALS, Failure.REJECTED])
def test_what_is_no_illness_never_ejects(world: World, failure: Failure) -> None:
    world.fail(failure, times=50)
    assert "ejected" not in world.why()


def test_an_ejected_target_that_finds_fault_with_a_request_is_well_again(world: World) -> None:
    world.fail(times=5)
    world.now += 5
    world.fail(Failure.REJECTED)
    assert world.standing() is Standing.READY


def test_a_deadline_that_was_mostly_spent_elsewhere_is_not_held_against_the_target(world: World) -> None:
    world.fail(Failure.DEADLINE, times=20, since=world.now - 10)
    assert world.told == []
    world.fail(Failure.DEADLINE, times=5, since=world.now - Timeouts().total)
    assert world.why() == ["ejected"]


# The retry budget


def requests(world: World, number: int) -> None:
    for _ in range(number):
        world.board.end(A, probe=world.board.begin(A, again=False))


def retries(world: World) -> int:
    """How many second tries it allows from now on."""
    number = 0
    while world.board.may_retry(A, 0.2):
        world.board.end(A, probe=world.board.begin(A, again=True))
        number += 1
    return number


def test_three_second_tries_are_always_allowed(world: World) -> None:
    assert retries(world) == FEWEST_RETRIES == 3


def test_second_tries_are_at_most_a_fifth_of_the_requests(world: World) -> None:
    requests(world, 100)
    assert retries(world) == 20


def test_the_budget_is_of_the_last_ten_seconds(world: World) -> None:
    requests(world, 100)
    assert retries(world) == 20
    world.now += 11
    assert retries(world) == 3


def test_calls_that_wait_for_their_second_try_have_taken_it_from_the_budget_already(world: World) -> None:
    requests(world, 100)
    assert sum(world.board.may_retry(A, 0.2) for _ in range(100)) == 20


def test_each_provider_has_a_budget_of_its_own_and_its_targets_share_it(world: World) -> None:
    assert retries(world) == 3
    assert not world.board.may_retry(Target("a", "other", {}), 0.2)
    assert world.board.may_retry(Target("b", "m", {}), 0.2)


# The hedging budget


def test_a_share_of_the_streams_may_be_asked_for_twice(world: World) -> None:
    model = Model("m", (A,), (1.0,), hedge=0.05)
    twice = 0
    for _ in range(200):
        world.board.streamed(model, twice=False)
        if world.board.may_hedge(model):
            world.board.streamed(model, twice=True)
            twice += 1
    assert twice == 10


# From other replicas


@pytest.mark.parametrize(
    ("why", "standing"),
    [("ejected", Standing.EJECTED), ("rate_limited", Standing.COOLING_DOWN), ("nonsense", Standing.READY)],
)
def test_what_others_found_out_holds_here_and_is_not_told_again(world: World, why: str, standing: Standing) -> None:
    world.board.heard(Notice("a", "m", why, 10.0, 1))
    assert world.standing() is standing
    assert world.told == []


def test_what_others_found_well_is_well_here(world: World) -> None:
    world.fail(times=5)
    world.board.heard(Notice("a", "m", "well", 0.0))
    assert world.standing() is Standing.READY


def test_the_board_has_room_for_so_many_targets_and_forgets_none_that_is_busy(world: World) -> None:
    world.board.begin(A, again=False)
    for number in range(3 * MOST):
        world.board.of(Target("a", str(number), {}))
    assert len(world.board.known()) <= MOST
    assert world.board.of(A).in_flight == 1
