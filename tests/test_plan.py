"""Which attempts follow which failures, and when: the planner is driven by hand, without time or network."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.snapshot import Model
from gateway.core.errors import RULES, Failure, UpstreamError
from gateway.routing.plan import BACKOFF, LONGEST_WAIT, NOT_ASKED, Attempt
from tests.planning import MODELS, World, full, model, names, target


@pytest.fixture
def world() -> World:
    return World()


# Row by row


@pytest.mark.parametrize(
    ("failure", "tried"),
    [
        (Failure.UNREACHABLE, "aabb"),
        (Failure.SERVER_ERROR, "aabb"),
        (Failure.OVERLOADED, "aabb"),
        (Failure.MALFORMED, "aabb"),
        (Failure.TRUNCATED, "aabb"),
        (Failure.RATE_LIMITED, "aba"),
        (Failure.BILLING, "ab"),
        (Failure.CREDENTIALS, "ab"),
        (Failure.MODEL_MISSING, "ab"),
        (Failure.CONNECT_TIMEOUT, "ab"),
        (Failure.FIRST_TOKEN_TIMEOUT, "ab"),
        (Failure.IDLE_TIMEOUT, "ab"),
        (Failure.UNSUPPORTED, "ab"),
        (Failure.DEADLINE, "a"),
        (Failure.REJECTED, "a"),
        (Failure.CONTEXT_TOO_LONG, "a"),
        (Failure.CONTENT_FILTERED, "a"),
    ],
)
def test_each_failure_is_followed_by_what_its_row_says(world: World, failure: Failure, tried: str) -> None:
    assert names(world.drive(model("a", "b"), *[failure] * 9)) == tried


def test_a_target_is_told_whether_others_could_be_asked_in_its_place(world: World) -> None:
    made = world.drive(model("a", "b", fallbacks=("back",)), *[Failure.RATE_LIMITED] * 9)
    assert [attempt.others for attempt in made][:3] == [True, True, False]


@pytest.mark.parametrize(
    ("start", "others"),
    [
        (model("a"), False),
        (model("a", fallbacks=("back",)), True),
        (model("a", fallbacks=("back",), limit=1), False),
        (model("a", "b", limit=1), False),
    ],
)
def test_the_last_attempt_has_all_the_time_there_is(world: World, start: Model, others: bool) -> None:
    assert next(world.plan(start)).others is others


def test_every_failure_has_a_row() -> None:
    assert set(RULES) == set(Failure)


def test_another_target_is_asked_at_once(world: World) -> None:
    world.drive(model("a", "b"), Failure.RATE_LIMITED)
    assert world.delays == [0, 0]


def test_the_same_target_gets_half_a_second_at_most_to_recover() -> None:
    world = World(chance=1 - 1e-9)
    world.drive(model("a"), Failure.SERVER_ERROR)
    assert world.delays == [0, pytest.approx(BACKOFF)]


def test_a_connection_that_was_refused_is_tried_again_at_once(world: World) -> None:
    world.drive(model("a"), Failure.UNREACHABLE)
    assert world.delays == [0, 0]


def test_an_overloaded_target_that_says_when_gets_as_long_as_it_says(world: World) -> None:
    made = world.drive(model("a"), UpstreamError(Failure.OVERLOADED, "busy", status=529, retry_after=2.0))
    assert names(made) == "aa"
    assert world.delays == [0, pytest.approx(3.0)]


# The budgets of a call


def test_the_number_of_attempts_is_bounded_over_all_targets_and_fallbacks(world: World) -> None:
    made = world.drive(model("a", "b", fallbacks=("back",), limit=2), *[Failure.BILLING] * 9)
    assert names(made) == "ab"


@pytest.mark.parametrize(
    ("start", "tried"),
    [
        (model("a", limit=3), "aa"),
        (model("a", "b", limit=3), "aab"),
        (model("a", "b", "c", limit=3), "abc"),
        (model("a", "b", fallbacks=("back",), limit=3), "abc"),
        (model("a", "b", "c", "d", limit=3), "abc"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_second_try_never_takes_the_attempt_that_a_target_not_tried_yet_needs(
    world: World, start: Model, tried: str
) -> None:
    assert names(world.drive(start, *[Failure.SERVER_ERROR] * 9)) == tried


def test_a_target_that_cannot_express_the_request_costs_no_attempt(world: World) -> None:
    failures = [Failure.UNSUPPORTED, Failure.UNSUPPORTED, Failure.BILLING]
    assert names(world.drive(model("a", "b", "c", limit=1), *failures)) == "abc"


def test_no_attempt_begins_after_the_deadline(world: World) -> None:
    assert names(world.drive(model("a", "b"), Failure.BILLING, within=0.1)) == "a"


def test_nor_one_that_would_have_to_wait_until_after_it(world: World) -> None:
    assert names(world.drive(model("a"), Failure.SERVER_ERROR, within=0.3)) == "a"
    assert names(world.drive(model("b"), full(2.0), within=2.0)) == "b"


def test_second_tries_end_with_the_providers_retry_budget(world: World) -> None:
    for _ in range(3):
        assert names(world.drive(model("a", "b"), Failure.MALFORMED, Failure.BILLING)) == "aab"
        world.board.of(target("a")).release(world.now)
        world.board.of(target("b")).release(world.now)
    assert names(world.drive(model("a", "b"), Failure.MALFORMED)) == "ab"


def test_a_target_that_was_just_ejected_is_not_tried_a_second_time(world: World) -> None:
    for _ in range(5):
        world.fail(Attempt(MODELS["two"], target("a")), UpstreamError(Failure.SERVER_ERROR, "no"))
    assert names(world.drive(model("a"), Failure.SERVER_ERROR)) == "a"


# Fallbacks


def test_fallbacks_are_tried_when_every_target_has_failed(world: World) -> None:
    assert names(world.drive(model("a", fallbacks=("back",)), *[Failure.BILLING] * 9)) == "ac"


def test_fallbacks_of_fallbacks_come_after_all_others(world: World) -> None:
    assert names(world.drive(model("a", fallbacks=("chained", "two")), *[Failure.BILLING] * 9)) == "acbd"


def test_a_target_that_was_tried_is_not_tried_again_by_a_fallback(world: World) -> None:
    assert names(world.drive(model("a", "b", fallbacks=("both",)), *[Failure.BILLING] * 9)) == "abc"


def test_a_fallback_that_is_gone_is_passed_over(world: World) -> None:
    assert names(world.drive(model("a", fallbacks=("nobody", "back")), *[Failure.BILLING] * 9)) == "ac"


def test_a_prompt_that_is_too_long_goes_to_the_context_fallbacks_alone(world: World) -> None:
    start = model("a", "b", fallbacks=("back",), context=("last",), content=("long",))
    assert names(world.drive(start, *[Failure.CONTEXT_TOO_LONG] * 9)) == "ad"


def test_what_a_filter_refused_goes_to_the_content_fallbacks_alone(world: World) -> None:
    start = model("a", "b", fallbacks=("back",), context=("long",), content=("last",))
    assert names(world.drive(start, *[Failure.CONTENT_FILTERED] * 9)) == "ad"


# What a provider asked for


@pytest.mark.parametrize("wait", [0.5, 3.0, LONGEST_WAIT])
def test_a_call_waits_for_its_only_target_and_a_little_longer_than_that(wait: float) -> None:
    world = World(chance=0.5)
    world.cool("a", wait)
    assert names(world.drive(model("a"))) == "a"
    assert world.delays == [pytest.approx(1.5 * wait)]


def test_it_waits_for_the_one_that_is_ready_first(world: World) -> None:
    world.cool("a", 4.0)
    world.cool("b", 2.0)
    assert names(world.drive(model("a", "b"))) == "b"


def test_those_who_wait_for_the_same_moment_come_at_different_times() -> None:
    delays = set()
    for chance in (0.0, 0.3, 0.9):
        world = World(chance)
        world.cool("a", 4.0)
        delays.add(round(next(world.plan(model("a"))).delay, 6))
    assert delays == {4.0, 5.2, 7.6}


@pytest.mark.parametrize(("why", "status"), [("rate_limited", 429), ("overloaded", 503)])
def test_what_is_longer_than_a_call_can_wait_is_refused_with_the_smallest_rest(
    world: World, why: str, status: int
) -> None:
    world.cool("a", 40.0, why)
    world.cool("b", 20.0, why)
    with pytest.raises(UpstreamError) as refused:
        next(world.plan(model("a", "b")))
    assert refused.value.status == status
    assert refused.value.retry_after == pytest.approx(20)


def test_so_is_what_is_longer_than_its_deadline(world: World) -> None:
    world.cool("a", 3.0)
    with pytest.raises(UpstreamError):
        next(world.plan(model("a"), within=2.0))


def test_one_target_that_may_be_asked_is_enough(world: World) -> None:
    world.cool("a", 40.0)
    world.eject("b")
    assert names(world.drive(model("a", "b"))) == "b"


def test_a_target_that_asks_for_more_while_the_call_waits_is_not_called_before_that(world: World) -> None:
    world.cool("a", 2.0)
    plan = world.plan(model("a"))
    world.now += next(plan).delay
    world.cool("a", 1.0)
    attempt = next(plan)
    assert attempt.delay >= 1.0
    world.now += attempt.delay
    assert next(plan).delay == 0


def test_a_call_does_not_go_on_waiting_for_ever(world: World) -> None:
    world.cool("a", 4.0)
    plan = world.plan(model("a"))
    world.now += next(plan).delay
    world.cool("a", 4.0)
    with pytest.raises(UpstreamError) as refused:
        next(plan)
    assert refused.value.retry_after == pytest.approx(4.0)


def test_after_its_wait_a_call_goes_wherever_it_is_well_by_then(world: World) -> None:
    world.cool("a", 2.0)
    world.cool("b", 2.5)
    plan = world.plan(model("a", "b"))
    world.now += next(plan).delay
    world.cool("a", 30.0)
    assert next(plan).target.provider == "b"


def test_a_second_try_is_not_made_when_the_target_asks_to_be_left_alone_meanwhile(world: World) -> None:
    plan = world.plan(model("a"))
    attempt = next(plan)
    error = UpstreamError(Failure.SERVER_ERROR, "no", status=500)
    world.fail(attempt, error)
    world.now += plan.send(error).delay
    world.cool("a", 30.0)
    with pytest.raises(UpstreamError) as refused:
        next(plan)
    assert refused.value.status == 429
    assert refused.value.retry_after == pytest.approx(30)


def test_the_last_target_is_waited_for_once_when_it_turns_out_to_be_full(world: World) -> None:
    assert names(world.drive(model("a"), *[full(2.0)] * 9)) == "aa"


def test_but_not_if_it_had_a_second_chance_before(world: World) -> None:
    assert names(world.drive(model("a", "b", limit=9), Failure.UNREACHABLE, full(2.0), Failure.BILLING)) == "aab"


def test_but_not_for_longer_than_five_seconds(world: World) -> None:
    assert names(world.drive(model("a"), *[full(6.0)] * 9)) == "a"


def test_the_end_tells_when_the_first_target_takes_calls_again(world: World) -> None:
    plan = world.plan(model("a", "b"))
    world.fail(next(plan), full(40.0))
    world.fail(plan.send(full(40.0)), full(20.0))
    with pytest.raises(StopIteration) as end:
        plan.send(full(20.0))
    assert end.value.value == pytest.approx(20)


def test_or_nothing_where_nobody_is_full(world: World) -> None:
    plan = world.plan(model("a"))
    world.fail(next(plan), UpstreamError(Failure.CREDENTIALS, "no", status=401))
    with pytest.raises(StopIteration) as end:
        plan.send(UpstreamError(Failure.CREDENTIALS, "no", status=401))
    assert end.value.value is None


def test_a_call_that_nobody_is_there_for_is_refused(world: World) -> None:
    with pytest.raises(UpstreamError, match="no target"):
        next(world.plan(model()))


# Whatever happens

FAILURES = st.builds(
    lambda failure, after: UpstreamError(failure, "no", status=500, retry_after=after),
    st.sampled_from(list(Failure)),
    st.none() | st.floats(0, 1000),
)


@given(
    st.lists(FAILURES, min_size=1, max_size=20),
    st.integers(1, 10),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10), st.booleans()), max_size=3),
    st.floats(0, 0.999),
)
def test_no_series_of_failures_breaks_the_bounds(
    failures: list[UpstreamError], limit: int, cooling: list[tuple[str, float, bool]], chance: float
) -> None:
    world = World(chance)
    for name, seconds, asked in cooling:
        world.cool(name, seconds, asked=asked)
    started = world.now
    try:
        made = world.drive(model("a", "b", fallbacks=("both", "two"), limit=limit), *failures, within=60.0)
    except UpstreamError:
        return
    asked_for_nothing = sum(failure.failure in NOT_ASKED for failure in failures)
    assert len(made) <= limit + asked_for_nothing
    assert max(Counter(names(made)).values()) <= 2
    assert all(0 <= delay <= 2 * LONGEST_WAIT for delay in world.delays)
    assert world.now <= started + 60 + 0.1 * len(made)
