"""Which attempts follow which failures: the planner is driven by hand, without time or network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.snapshot import Model
from gateway.core.call import Target
from gateway.core.errors import RULES, Failure, UpstreamError
from gateway.routing.balance import order
from gateway.routing.plan import BACKOFF_CAP, Attempt, attempts


def model(*names: str, fallbacks: tuple[str, ...] = (), limit: int = 10, weights: Sequence[float] = ()) -> Model:
    targets = tuple(Target(name, "m", {}) for name in names)
    strategy = "weighted" if weights else "ordered"
    return Model("+".join(names), targets, tuple(weights) or (1.0,) * len(names), strategy, fallbacks, attempts=limit)  # type: ignore[arg-type]


MODELS = {"two": model("a", "b"), "back": model("c"), "both": model("b", "c")}


def drive(start: Model, *failures: Failure) -> list[Attempt]:
    """The attempts made when they fail like this, one after the other."""
    plan = attempts(start, MODELS.get, lambda: 1.0)
    made = [next(plan)]
    for failure in failures:
        try:
            made.append(plan.send(UpstreamError(failure, "no")))
        except StopIteration:
            break
    return made


def names(made: list[Attempt]) -> str:
    return "".join(attempt.target.provider for attempt in made)


@pytest.mark.parametrize(
    ("failure", "tried"),
    [
        (Failure.UNREACHABLE, "aabb"),
        (Failure.SERVER_ERROR, "aabb"),
        (Failure.OVERLOADED, "aabb"),
        (Failure.MALFORMED, "aabb"),
        (Failure.TRUNCATED, "aabb"),
        (Failure.RATE_LIMITED, "ab"),
        (Failure.BILLING, "ab"),
        (Failure.CREDENTIALS, "ab"),
        (Failure.MODEL_MISSING, "ab"),
        (Failure.CONNECT_TIMEOUT, "ab"),
        (Failure.FIRST_TOKEN_TIMEOUT, "ab"),
        (Failure.IDLE_TIMEOUT, "ab"),
        (Failure.DEADLINE, "a"),
        (Failure.REJECTED, "a"),
        (Failure.CONTEXT_TOO_LONG, "a"),
        (Failure.CONTENT_FILTERED, "a"),
    ],
)
def test_each_failure_is_followed_by_what_its_row_says(failure: Failure, tried: str) -> None:
    assert names(drive(model("a", "b"), *[failure] * 9)) == tried


def test_every_failure_has_a_row() -> None:
    assert set(RULES) == set(Failure)


def test_the_number_of_attempts_is_bounded_over_all_targets() -> None:
    assert names(drive(model("a", "b", "c", limit=3), *[Failure.SERVER_ERROR] * 9)) == "aab"


def test_fallbacks_are_tried_when_every_target_has_failed() -> None:
    assert names(drive(model("a", fallbacks=("back",)), *[Failure.RATE_LIMITED] * 9)) == "ac"


def test_a_target_that_was_tried_is_not_tried_again_by_a_fallback() -> None:
    assert names(drive(model("a", "b", fallbacks=("both",)), *[Failure.RATE_LIMITED] * 9)) == "abc"


def test_a_fallback_that_is_gone_is_passed_over() -> None:
    assert names(drive(model("a", fallbacks=("nobody", "back")), *[Failure.RATE_LIMITED] * 9)) == "ac"


def test_another_target_is_asked_at_once() -> None:
    assert [attempt.delay for attempt in drive(model("a", "b"), Failure.RATE_LIMITED)] == [0, 0]


def test_the_same_target_gets_time_to_recover() -> None:
    assert [attempt.delay for attempt in drive(model("a"), Failure.SERVER_ERROR)] == [0, 0.5]


def test_a_connection_that_was_refused_is_tried_again_at_once() -> None:
    assert [attempt.delay for attempt in drive(model("a"), Failure.UNREACHABLE)] == [0, 0]


def test_attempts_are_numbered_from_one() -> None:
    assert [attempt.number for attempt in drive(model("a", "b"), *[Failure.SERVER_ERROR] * 3)] == [1, 2, 3, 4]


@given(st.lists(st.sampled_from(list(Failure)), min_size=1, max_size=20), st.integers(1, 10))
def test_no_series_of_failures_breaks_the_bounds(failures: list[Failure], limit: int) -> None:
    made = drive(model("a", "b", fallbacks=("both", "two"), limit=limit), *failures)
    assert len(made) <= limit
    assert max(Counter(names(made)).values()) <= 2
    assert all(0 <= attempt.delay <= BACKOFF_CAP for attempt in made)


def test_weights_decide_how_often_a_target_comes_first() -> None:
    import random

    chance = random.Random(7)
    weighted = model("a", "b", "c", weights=(3, 1, 0.5))
    first = Counter(order(weighted, chance.random)[0].provider for _ in range(20_000))
    assert first["a"] / 20_000 == pytest.approx(3 / 4.5, abs=0.02)
    assert first["c"] / 20_000 == pytest.approx(0.5 / 4.5, abs=0.02)


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=8), st.randoms())
def test_every_target_is_in_the_order_once(weights: list[float], chance: object) -> None:
    drawn = order(model(*map(str, range(len(weights))), weights=weights), chance.random)  # type: ignore[attr-defined]
    assert sorted(target.provider for target in drawn) == sorted(map(str, range(len(weights))))


def test_ordered_targets_keep_their_order() -> None:
    assert [target.provider for target in order(model("b", "a"), lambda: 0.5)] == ["b", "a"]
