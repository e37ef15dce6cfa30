"""How targets are, as people are told: for how long, and why."""

from __future__ import annotations

import pytest

from gateway.config.resolve import loads
from gateway.core.call import Target
from gateway.core.errors import Failure, UpstreamError
from gateway.ports import Notice
from gateway.routing.board import EJECTED, Board
from gateway.routing.health import Standing
from gateway.routing.standings import READY, State, models, states

SNAPSHOT = loads(
    """
providers: {a: {type: openai, api_key: k}, b: {type: openai, api_key: k}}
models:
  m: {targets: [{provider: a, model: x}, {provider: b, model: y}]}
  "any-*": {targets: [{provider: a, model: "any-*"}]}
aliases: {other: m}
""",
    name="g",
    environ={},
)
MODEL = SNAPSHOT.models["m"]
A, B = MODEL.targets
FULL = UpstreamError(Failure.RATE_LIMITED, "full", status=429, retry_after=20.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(clock, lambda: 0.5)


def eject(board: Board, target: Target, seconds: float) -> None:
    board.heard(Notice(target.provider, target.model, EJECTED, seconds, 1))


def test_a_target_of_which_nothing_is_known_is_ready(board: Board) -> None:
    assert states(MODEL, board, 100.0) == {("a", "x"): READY, ("b", "y"): READY}
    assert board.known() == {}


def test_a_target_that_cools_down_does_so_for_a_time_and_a_reason(board: Board) -> None:
    board.failed(A, 99.0, MODEL, FULL)
    assert states(MODEL, board, 105.0)["a", "x"] == State(Standing.COOLING_DOWN, 15.0, "rate_limited")
    assert states(MODEL, board, 120.0)["a", "x"] == READY


def test_an_ejected_target_is_so_for_a_time_and_then_waits_for_its_probe(board: Board, clock: Clock) -> None:
    eject(board, A, 30.0)
    assert states(MODEL, board, 110.0)["a", "x"] == State(Standing.EJECTED, 20.0, "ejected")
    clock.now = 131.0
    assert board.begin(A, again=False)
    assert states(MODEL, board, 131.0)["a", "x"] == State(Standing.EJECTED, 0.0, "ejected", 1)


def test_the_last_target_of_a_model_is_ready_for_calls_go_there_all_the_same(board: Board) -> None:
    eject(board, A, 30.0)
    eject(board, B, 40.0)
    board.begin(A, again=False)
    found = states(MODEL, board, 101.0)
    assert sorted(state.standing for state in found.values()) == [Standing.READY, Standing.EJECTED]


def test_a_pattern_is_as_the_worst_of_those_that_it_stood_for_and_has_the_calls_of_all(board: Board) -> None:
    pattern = models(SNAPSHOT)["any-*"]
    one, two = (SNAPSHOT.filled_in(pattern, name) for name in ("1", "2"))
    assert one is not None
    assert two is not None
    board.begin(one.targets[0], again=False)
    board.begin(two.targets[0], again=False)
    board.failed(two.targets[0], 99.0, two, FULL)
    assert states(pattern, board, 110.0) == {("a", "any-*"): State(Standing.COOLING_DOWN, 10.0, "rate_limited", 2)}


def test_models_are_those_of_the_configuration_and_no_aliases() -> None:
    assert list(models(SNAPSHOT)) == ["m", "any-*"]
