"""Who is asked at all, and in what order, when some cannot serve the call and some are unwell."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.core.errors import Failure, UpstreamError
from tests.planning import IMAGE, LONG, World, model, names, target


@pytest.fixture
def world() -> World:
    return World()


# Left out before choosing


def test_a_target_that_lacks_what_the_call_needs_is_left_out(world: World) -> None:
    start = model(target("a", lacks=["images"]), "b")
    assert names(world.drive(start, Failure.BILLING, body=IMAGE)) == "b"


def test_where_every_target_lacks_it_the_fallbacks_are_asked(world: World) -> None:
    start = model(target("a", lacks=["images"]), fallbacks=("back",))
    assert names(world.drive(start, Failure.BILLING, body=IMAGE)) == "c"


def test_where_there_is_nobody_else_the_provider_is_the_one_to_say_so(world: World) -> None:
    assert names(world.drive(model(target("a", lacks=["images"])), Failure.REJECTED, body=IMAGE)) == "a"


def test_a_call_rather_waits_for_the_target_that_can_than_asks_the_one_that_cannot(world: World) -> None:
    world.cool("b", 2.0)
    made = world.drive(model(target("a", lacks=["images"]), "b"), Failure.REJECTED, body=IMAGE)
    assert names(made) == "b"


def test_a_prompt_that_fits_no_target_goes_to_the_context_fallbacks_first(world: World) -> None:
    start = model(target("a", context=1000), fallbacks=("back",), context=("long",))
    assert names(world.drive(start, *[Failure.BILLING] * 2, body=LONG)) == "lc"


def test_a_target_with_as_many_calls_as_it_may_have_comes_last_of_all(world: World) -> None:
    busy = target("a", concurrent=1)
    world.board.begin(busy, again=False)
    assert names(world.drive(model(busy, "b", fallbacks=("back",)), *[Failure.BILLING] * 9)) == "bca"


@pytest.mark.parametrize("ail", ["ejected", "asked", "guessed"])
def test_an_ailing_target_is_not_asked_while_another_one_is_well(world: World, ail: str) -> None:
    if ail == "ejected":
        world.eject("a")
    else:
        world.cool("a", 3.0, asked=ail == "asked")
    assert names(world.drive(model("a", "b"))) == "b"


def test_a_target_that_falls_ill_while_the_call_is_elsewhere_is_passed_over(world: World) -> None:
    plan = world.plan(model("a", "b", "c"))
    next(plan)
    world.eject("b")
    assert plan.send(UpstreamError(Failure.BILLING, "no")).target.provider == "c"


# The last target


def test_the_last_target_is_asked_though_it_is_ejected(world: World) -> None:
    world.eject("a")
    assert names(world.drive(model("a"), *[Failure.BILLING] * 9)) == "a"


def test_of_many_ejected_targets_the_one_that_was_well_for_longest_is_asked(world: World) -> None:
    for name in "acb":
        world.now += 1
        world.eject(name)
    assert names(world.drive(model("a", "b", "c"), *[Failure.CONNECT_TIMEOUT] * 9)) == "b"


@pytest.mark.parametrize("why", ["rate_limited", "billing", "credentials", "model_missing"])
def test_a_cooldown_that_was_only_guessed_gives_way(world: World, why: str) -> None:
    world.cool("a", 300.0, why, asked=False)
    assert names(world.drive(model("a"))) == "a"
    assert world.delays == [0]


def test_what_is_full_goes_before_what_is_ill_and_that_before_what_needs_a_person(world: World) -> None:
    world.cool("a", 100.0, "credentials", asked=False)
    world.eject("b")
    assert names(world.drive(model("a", "b", "c"))) == "c"
    assert names(world.drive(model("a", "b"))) == "b"
    world.cool("c", 200.0, asked=False)
    assert names(world.drive(model("a", "b", "c"))) == "c"


def test_after_a_failure_the_least_bad_is_asked_within_the_retry_budget_alone(world: World) -> None:
    world.eject("b")
    many = Counter(names(world.drive(model(f"x{number}", "b"), *[Failure.BILLING] * 2))[-1] for number in range(9))
    assert many["b"] == 3
