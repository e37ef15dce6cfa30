"""What a call is let in for and what it is charged in the end, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import pytest

from gateway.config.resolve import loads
from gateway.core.call import Call, Json, Target
from gateway.core.errors import Failure, GatewayError, UpstreamError
from gateway.core.events import Usage
from gateway.engine.entry import Entry
from gateway.engine.toll import MOST_TARGETS, Toll
from gateway.policy.estimate import Estimates
from gateway.policy.limits import NOTHING
from gateway.store.memory import MemoryCounters

MINUTE = 60_000
NOON = 1_800_014_400_000
"""Milliseconds since 1970: midday of a Friday, 15 January, in UTC."""

EVERYTHING = """
limits: {requests_per_minute: 10, tokens_per_minute: 10k, concurrent_requests: 2},
budget: {usd: 5, tokens: 100k, every: day}
"""


class World:
    """A key `web-app` with these rules, two targets of model `m` with theirs, and a clock that is moved by hand."""

    def __init__(self, key: str = EVERYTHING, first: str = "", second: str = "") -> None:
        self.now = NOON
        snapshot = loads(
            f"""
providers: {{p: {{type: openai, base_url: 'http://127.0.0.1:1', api_key: k}}}}
models:
  m:
    strategy: ordered
    price: {{input: 10, output: 100}}
    targets: [{{provider: p, model: first{first}}}, {{provider: p, model: second{second}}}]
keys: [{{name: web-app, key: a-key-of-the-test-suite-000001, {" ".join(key.split())}}}]
""",
            name="test.yaml",
            environ={},
        )
        model = snapshot.model("m")
        assert model is not None
        self.first, self.second = model.targets
        self.counters = MemoryCounters(lambda: self.now)
        self.estimates = Estimates()
        self.toll = Toll(snapshot, self.counters, self.estimates)

    async def enter(self, entry: Entry, target: Target | None = None) -> Entry:
        """An attempt of the call at a target, once it is let in."""
        target = target or self.first
        assert entry.call is not None
        await self.toll.reserve(self.toll.limits(entry.key, target), entry.call, target, entry)
        entry.begin(target, 1.0)
        return entry

    async def refused(self, entry: Entry, target: Target | None = None) -> GatewayError:
        with pytest.raises(GatewayError) as refusal:
            await self.enter(entry, target)
        assert entry.reservation is None
        return refusal.value

    def end(self, entry: Entry, usage: Usage | None) -> None:
        """The last attempt is over, and so is the call. Without usage it has failed."""
        entry.usage = usage
        if usage is None:
            entry.failed(UpstreamError(Failure.SERVER_ERROR, "no"))
        entry.settle(2.0, self.estimates)
        self.toll.settle(entry)

    def used(self, target: Target | None = None) -> dict[str, int]:
        """How much of each limit is used, but for what the look itself takes."""
        look = self.counters.hold(self.toll.limits("web-app", target or self.first), NOTHING)
        found = {f"{standing.limit.owner[0]} {standing.limit.what}": standing.used for standing in look.standings}
        self.counters.settle(look, NOTHING)
        return {name: used - name.endswith("concurrent_requests") for name, used in found.items()}


def call(**body: Any) -> Entry:
    """A call of a hundred bytes, which count as 25 tokens."""
    asked: Json = {"max_tokens": 75, **body}
    return Entry("id", "chat", 1.0, 1e9, key="web-app", call=Call("id", "chat", "m", False, False, asked, size=100))


RESERVED = {
    "key requests_per_minute": 1,
    "key tokens_per_minute": 100,
    "key concurrent_requests": 1,
    "key usd_budget": 25 * 10 + 75 * 100,
    "key token_budget": 100,
}
"""Of a call that was let in."""

FREE = dict.fromkeys(RESERVED, 0)

ASKED = FREE | {"key requests_per_minute": 1}
"""After a call that a provider was asked in vain."""


async def test_a_call_holds_what_it_is_expected_to_use_until_it_ends() -> None:
    world = World()
    entry = await world.enter(call())
    assert world.used() == RESERVED
    world.end(entry, Usage(30, 5))
    used = {"key tokens_per_minute": 35, "key usd_budget": 30 * 10 + 5 * 100, "key token_budget": 35}
    assert world.used() == ASKED | used


async def test_a_call_without_limits_reserves_nothing() -> None:
    world = World(key="models: [m]")
    entry = await world.enter(call())
    assert (entry.reservation, entry.standings) == (None, ())
    world.end(entry, Usage(1, 1))


async def test_what_was_used_beyond_the_reservation_is_debited_below_zero() -> None:
    world = World(key="limits: {tokens_per_minute: 1000}")
    world.end(await world.enter(call()), Usage(25, 2975))
    assert world.used() == {"key tokens_per_minute": 3000}
    refusal = await world.refused(call())
    assert refusal.retry_after == pytest.approx(120 + 6)


async def test_a_call_that_no_provider_answered_costs_a_request_and_no_tokens() -> None:
    world = World()
    world.end(await world.enter(call()), None)
    assert world.used() == ASKED


async def test_a_call_that_waited_in_vain_for_its_turn_has_used_nothing() -> None:
    world, entry = World(), call()
    await world.toll.reserve(world.toll.limits("web-app", world.first), entry.call, world.first, entry)  # type: ignore[arg-type]
    entry.settle(2.0, world.estimates)
    world.toll.settle(entry)
    assert world.used() == FREE


async def test_a_call_is_settled_once() -> None:
    world = World()
    one, other = await world.enter(call()), await world.enter(call())
    for _ in range(3):
        world.end(one, None)
    assert world.used()["key concurrent_requests"] == 1
    world.end(other, None)
    assert world.used()["key concurrent_requests"] == 0


async def test_a_refused_call_has_used_nothing_of_any_limit() -> None:
    world = World("limits: {requests_per_minute: 10, tokens_per_minute: 10k}, budget: {tokens: 50, every: day}")
    await world.refused(call())
    assert set(world.used().values()) == {0}


# Retries and other targets


async def test_a_second_try_and_a_second_target_are_the_same_request() -> None:
    world = World()
    entry = await world.enter(await world.enter(call()))
    entry.note("server_error", 1.5)
    await world.enter(entry, world.second)
    assert world.used(world.second) == RESERVED
    world.end(entry, Usage(1, 0))
    assert world.used()["key requests_per_minute"] == 1


LIMITED = ", limits: {requests_per_minute: 10, tokens_per_minute: 1k}"


# What is refused, and in which words


@pytest.mark.parametrize(
    ("rules", "used", "words", "room"),
    [
        (
            "limits: {requests_per_minute: 1}",
            Usage(1, 1),
            "1 requests in a minute (requests_per_minute), and 1 are",
            "there is room again in 60 s",
        ),
        (
            "limits: {tokens_per_minute: 2M}",
            Usage(1_000_000, 1_234_567),
            "2,000,000 tokens in a minute (tokens_per_minute), and 2,234,567 are",
            "there is room again in 7.1 s",
        ),
        (
            "limits: {concurrent_requests: 1}",
            None,
            "1 calls at once (concurrent_requests), and 1 are",
            "there is room again in 1 s",
        ),
        (
            "budget: {usd: 0.01, every: day}",
            Usage(50, 20),
            "0.01 US dollars today (usd_budget), and 0.0025 are",
            "there is room again in 43,200 s",
        ),
        (
            "budget: {tokens: 1k, every: month}",
            Usage(50, 920),
            "1,000 tokens this month (token_budget), and 970 are",
            "there is room again in 1,425,600 s",
        ),
        (
            "budget: {tokens: 99, every: week}",
            Usage(),
            "99 tokens this week (token_budget), and 0 are",
            "it will never have room for this call",
        ),
    ],
    ids=["requests", "tokens", "places", "dollars", "a month's tokens", "never"],
)
async def test_a_refusal_names_the_limit_whose_it_is_how_much_is_used_and_when_there_is_room(
    rules: str, used: Usage | None, words: str, room: str
) -> None:
    world = World(rules)
    if used != Usage():
        first = await world.enter(call(max_tokens=1))
        if used is not None:
            world.end(first, used)
    assert (await world.refused(call())).message == f"The key `web-app` may use {words} used or reserved; {room}."


async def test_a_wait_is_never_told_too_short() -> None:
    world = World("limits: {tokens_per_minute: 60k}")
    world.end(await world.enter(call()), Usage(120_043))
    refusal = await world.refused(call(max_tokens=1))
    assert refusal.retry_after is not None
    assert refusal.retry_after % 1 > 0
    assert f"room again in {ceil(refusal.retry_after)} s" in refusal.message


@pytest.mark.parametrize("rules", ["requests_per_minute: 3", "tokens_per_minute: 250"])
async def test_waiting_as_long_as_told_is_enough_and_a_millisecond_less_is_not(rules: str) -> None:
    world = World(f"limits: {{{rules}}}")
    for _ in range(3):
        world.now += 7
        world.end(await world.enter(call(max_tokens=1)), Usage(70, 7))
    refusal = await world.refused(call())
    assert refusal.retry_after is not None
    world.now += round(refusal.retry_after * 1000) - 1
    await world.refused(call())
    world.now += 1
    await world.enter(call())


@pytest.mark.parametrize(
    ("rules", "code", "retry"),
    [
        ("limits: {requests_per_minute: 1}", ("rate_limit_error", "rate_limit_exceeded"), None),
        ("limits: {concurrent_requests: 1}", ("rate_limit_error", "rate_limit_exceeded"), None),
        ("budget: {usd: 0.01, every: day}", ("insufficient_quota", "budget_exceeded"), None),
        ("budget: {tokens: 10, every: day}", ("insufficient_quota", "budget_exceeded"), False),
    ],
    ids=["a rate", "places", "dollars", "more than there ever is"],
)
async def test_limits_and_budgets_have_the_codes_that_openai_has_for_them(
    rules: str, code: tuple[str, str], retry: bool | None
) -> None:
    world = World(rules)
    if retry is None:
        await world.enter(call())
    refusal = await world.refused(call())
    assert (refusal.status, (refusal.type, refusal.code)) == (429, code)
    assert refusal.should_retry is retry


async def test_a_target_that_may_not_be_asked_has_failed_and_not_the_key() -> None:
    world = World(first=", limits: {requests_per_minute: 1}")
    await world.enter(call())
    refusal = await world.refused(call())
    assert isinstance(refusal, UpstreamError)
    assert (refusal.failure, refusal.status, refusal.code) == (Failure.SPENT, 429, "rate_limit_exceeded")
    assert refusal.retry_after == 60
    assert "own limit for this model's provider" in refusal.message
    assert "first" not in refusal.message
    assert world.used(world.second) == RESERVED


# What a client sends


@pytest.mark.parametrize("hostile", [-1, -(10**30), 1e308, 10**30, "9", None, True, [], {}, 0, 0.5, 2.5], ids=repr)
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n"])
async def test_no_number_of_a_client_credits_it(field: str, hostile: object) -> None:
    world = World("limits: {tokens_per_minute: 1000}")
    entry = await world.enter(call(**{field: hostile}))
    assert 26 <= world.used()["key tokens_per_minute"] <= 1000
    world.end(entry, None)
    assert world.used()["key tokens_per_minute"] == 0


@pytest.mark.parametrize("hostile", [{"max_tokens": 1e308}, {"n": 10**30}, {"max_completion_tokens": 10**30}], ids=str)
async def test_a_client_that_asks_for_more_than_a_budget_has_is_refused_for_good(hostile: Json) -> None:
    world = World("budget: {tokens: 9k, every: day}")
    assert (await world.refused(call(**hostile))).should_retry is False
    assert world.used() == {"key token_budget": 0}


@pytest.mark.parametrize("hostile", [Usage(-10, -10), Usage(10**30, 0), Usage(0, 10**30, -5, 10**20)], ids=repr)
async def test_no_count_of_a_provider_credits_anyone(hostile: Usage) -> None:
    world = World("budget: {usd: 1000000, tokens: 1M, every: day}")
    world.end(await world.enter(call()), hostile)
    assert min(world.used().values()) >= 0
    assert world.used()["key usd_budget"] <= 10**15


# Configurations


async def test_two_models_may_give_one_target_different_limits() -> None:
    world = World(key="models: [m]")
    strict, loose = (replace(world.first, requests_per_minute=most) for most in (1, 100))
    await world.enter(call(), loose)
    await world.refused(call(), strict)
    await world.enter(call(), loose)


async def test_targets_that_clients_make_up_are_not_kept_for_ever() -> None:
    world = World()
    for number in range(MOST_TARGETS * 2):
        made_up = replace(world.first, model=f"claude-{number}", requests_per_minute=1)
        assert len(world.toll.limits("web-app", made_up)) == 6
    assert len(world.toll._targets) <= MOST_TARGETS


# Attempts side by side


async def test_the_attempt_that_is_not_heard_gives_back_what_it_held() -> None:
    world, entry = World(), call()
    winner, loser = (entry.sheet() for _ in range(2))
    await world.enter(winner)
    await world.enter(loser, world.second)
    assert world.used()["key concurrent_requests"] == 2
    world.toll.give_back(loser)
    world.toll.adopt(entry, winner)
    world.toll.adopt(entry, winner)
    assert world.used() == RESERVED
    entry.note("ok", 2.0)
    world.end(entry, Usage(1, 1))
    assert world.used()["key concurrent_requests"] == 0
