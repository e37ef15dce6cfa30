"""What a key, and a target, may ask for in a minute and at once: seen from outside, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import orjson
import pytest

from gateway.app.times import clock
from gateway.config.resolve import loads_all
from gateway.core.call import Json
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, QUESTION, Running, config, gateway
from tests.house.test_hangup import SILENT, question, until
from tests.house.test_protocol import wire

OTHER_KEY = "a-key-of-the-test-suite-000002"

ONE_TRY = "    retries: {attempts: 1}\n"

BUDGET = 1_000_000
"""Tokens of a budget that is told of in headers to the token, as no time gives any back."""

COUNTED = f"budget: {{tokens: {BUDGET}, every: month}}"

PROMPT = 2
"""Tokens of `QUESTION`, as the simulators count: words."""

USED = PROMPT + 4
"""Tokens of `QUESTION` and its answer."""


def limited(text: str, rules: str, other: str = "") -> str:
    """The configuration with these rules for the test's key, and maybe another key with others."""
    more = f"  - {{name: other, key: {OTHER_KEY}, {other}}}\n" if other else ""
    plain = f"  - {{name: tester, key: {KEY}, priority: high}}\n"
    assert plain in text
    return text.replace(plain, f"  - {{name: tester, key: {KEY}, priority: high, {rules}}}\n{more}")


@asynccontextmanager
async def house(
    rules: str, *, faults: Faults | None = None, model: str = ONE_TRY, other: str = ""
) -> AsyncIterator[tuple[Simulator, Running]]:
    """A gateway with these rules for its key, before one provider."""
    async with (
        Simulator(faults) as upstream,
        gateway(limited(config(upstream.url, model=model), rules, other)) as running,
    ):
        yield upstream, running


async def ask(running: Running, key: str = KEY, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return await running.client.post("/v1/chat/completions", json={**QUESTION, **fields}, headers=headers)


async def statuses(running: Running, number: int, **fields: Any) -> Counter[int]:
    """What so many calls at once come to."""
    return Counter(
        answer.status_code for answer in await asyncio.gather(*(ask(running, **fields) for _ in range(number)))
    )


def allowed(answer: httpx.Response) -> dict[str, str]:
    """What the headers say is left."""
    prefix = "x-ratelimit-"
    return {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}


def assert_refused(answer: httpx.Response, *words: str, code: str = "rate_limit_exceeded") -> Json:
    """A refusal in the envelope, with a wait that is the same in both headers if there is any."""
    assert answer.status_code == 429, answer.text
    error: Json = answer.json()["error"]
    type = {"rate_limit_exceeded": "rate_limit_error", "budget_exceeded": "insufficient_quota"}[code]
    assert (error["type"], error["code"], error["param"]) == (type, code, None)
    for word in words:
        assert word in error["message"]
    if "retry-after" in answer.headers:
        assert int(answer.headers["retry-after"]) == -(-int(answer.headers["retry-after-ms"]) // 1000)
    return error


async def tokens_used(running: Running, key: str = KEY) -> int:
    """How much of `COUNTED` is used: told by the refusal of a call that is larger than all of it."""
    answer = await ask(running, key, max_tokens=BUDGET)
    assert_refused(answer, "token_budget", "never have room", code="budget_exceeded")
    assert (answer.headers["x-should-retry"], "retry-after" in answer.headers) == ("false", False)
    return BUDGET - int(answer.headers["x-ratelimit-remaining-tokens"])


async def settled(running: Running, calls: int) -> None:
    await until(lambda: len(running.entries) == calls)


async def counted(running: Running, key: str, limit: str) -> int:
    """How many calls the metrics say a limit has refused."""
    row = f'gateway_rate_limited_total{{key="{key}",limit="{limit}"}} '
    lines = (await running.client.get("/metrics")).text.splitlines()
    return int(float(next((line.removeprefix(row) for line in lines if line.startswith(row)), "0")))


# Refused


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("limits: {requests_per_minute: 2}", ("2 requests in a minute", "requests_per_minute", "2 are used")),
        ("limits: {tokens_per_minute: 60}", ("60 tokens in a minute", "tokens_per_minute", "are used")),
    ],
    ids=["requests", "tokens"],
)
async def test_a_call_beyond_a_keys_rate_is_refused_with_what_there_is_to_know(
    rules: str, words: tuple[str, ...]
) -> None:
    async with house(rules) as (upstream, running):
        for _ in range(2):
            assert (await ask(running, max_tokens=8)).status_code == 200
        refused = await ask(running, max_tokens=60)
        assert_refused(refused, "The key `tester`", "there is room again in", *words)
        assert 5_000 < int(refused.headers["retry-after-ms"]) <= 30_000
        assert "x-should-retry" not in refused.headers
        assert upstream.received == 2
        assert (running.entries[2].outcome, running.entries[2].tried) == ("limited", [])
        limit = words[1]
        assert await counted(running, "tester", limit) == 1


async def test_a_call_beyond_a_keys_places_is_refused_until_another_ends() -> None:
    async with house("limits: {concurrent_requests: 1}", faults=SILENT) as (upstream, running):
        async with wire(running.port) as client:
            client.send(question())
            await upstream.until(lambda: upstream.received == 1)
            refused = await ask(running)
            assert_refused(refused, "The key `tester`", "1 calls at once", "concurrent_requests", "1 are used")
            assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("1", "1000")
        await settled(running, 2)
        upstream.faults = Faults()
        assert (await ask(running)).status_code == 200


async def test_a_wait_of_more_than_a_minute_is_not_for_an_sdk_to_make() -> None:
    async with house("limits: {tokens_per_minute: 100}") as (_, running):
        await ask(running, messages=[{"role": "user", "content": "a " * 300}], max_tokens=1)
        refused = await ask(running)
        assert int(refused.headers["retry-after"]) > 60
        assert refused.headers["x-should-retry"] == "false"


async def test_openais_sdk_waits_as_long_as_it_is_told_and_is_let_in() -> None:
    async with (
        house("limits: {tokens_per_minute: 60k}") as (upstream, running),
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY, max_retries=1) as client,
    ):
        await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "a " * 150}], max_tokens=1
        )
        since = clock()
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "b"}], max_tokens=60_000
        )
        assert answer.choices[0].message.content
        assert 0.05 < clock() - since < 5.0
        assert [entry.status for entry in running.entries] == [200, 429, 200]
        assert upstream.received == 2


async def test_openais_sdk_does_not_try_again_what_will_never_be_let_in() -> None:
    async with (
        house(COUNTED) as (upstream, running),
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY, max_retries=5) as client,
    ):
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "b"}], max_tokens=BUDGET
            )
        assert refused.value.code == "budget_exceeded"
        assert (len(running.entries), upstream.received) == (1, 0)


async def test_a_refused_call_has_used_nothing() -> None:
    async with house(f"limits: {{requests_per_minute: 2, concurrent_requests: 1}}, {COUNTED}") as (_, running):
        for _ in range(5):
            await tokens_used(running)
        assert allowed(await ask(running))["remaining-requests"] == "1"
        for _ in range(5):
            await tokens_used(running)
        assert allowed(await ask(running))["remaining-requests"] == "0"
        assert_refused(await ask(running), "requests_per_minute")
        assert await tokens_used(running) == 2 * USED


async def test_what_is_turned_away_before_it_is_known_who_asks_or_what_uses_nothing() -> None:
    async with house("limits: {requests_per_minute: 1}") as (_, running):
        for fields in ({"model": "unknown"}, {"messages": "no"}, {"max_tokens": "many", "messages": None}):
            assert (await ask(running, **fields)).status_code in (400, 404)
        assert (await ask(running, "a-key-that-nobody-has")).status_code == 401
        assert (await ask(running)).status_code == 200


# Told in headers


@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["whole", "streamed"])
async def test_each_answer_tells_how_much_is_left(fields: Json) -> None:
    rules = "limits: {requests_per_minute: 10, tokens_per_minute: 10k}"
    async with house(rules) as (_, running):
        told = [allowed(await ask(running, max_tokens=100, **fields)) for _ in range(2)]
        assert [each["remaining-requests"] for each in told] == ["9", "8"]
        assert {each["limit-requests"] for each in told} == {"10"}
        assert {each["limit-tokens"] for each in told} == {"10000"}
        assert 9_700 < int(told[1]["remaining-tokens"]) < 9_900
        assert 4 < float(told[0]["reset-requests"].removesuffix("s")) <= 6
        assert told[0]["reset-tokens"].endswith("ms")


async def test_a_refusal_tells_of_the_limit_that_refuses() -> None:
    async with house("limits: {requests_per_minute: 1}") as (_, running):
        await ask(running)
        told = allowed(await ask(running))
        assert (told["limit-requests"], told["remaining-requests"]) == ("1", "0")
        assert "limit-tokens" not in told


async def test_of_a_rate_and_a_budget_the_one_that_leaves_less_is_told() -> None:
    async with house("limits: {tokens_per_minute: 5k}, budget: {tokens: 4k, every: month}") as (_, running):
        told = allowed(await ask(running, max_tokens=100))
        assert told["limit-tokens"] == "4000"
        assert "h" in told["reset-tokens"]


async def test_a_key_without_limits_is_told_of_none() -> None:
    async with house("models: [m]") as (_, running):
        assert allowed(await ask(running)) == {}


async def test_embeddings_are_limited_and_told_alike() -> None:
    async with house(f"limits: {{requests_per_minute: 1}}, {COUNTED}") as (_, running):
        asked = {"model": "m", "input": ["gull", "tern"]}
        answer = await running.client.post("/v1/embeddings", json=asked)
        assert (answer.status_code, allowed(answer)["remaining-requests"]) == (200, "0")
        assert await tokens_used(running) == answer.json()["usage"]["total_tokens"]
        assert_refused(await running.client.post("/v1/embeddings", json=asked), "requests_per_minute")


# Many at once


async def test_no_more_calls_are_under_way_than_a_key_has_places() -> None:
    most = 0

    def look() -> bool:
        nonlocal most
        most = max(most, upstream.busy)
        return False

    async with house("limits: {concurrent_requests: 7}", faults=Faults(first_token_delay=0.02)) as (upstream, running):
        watch = asyncio.get_running_loop().create_task(upstream.until(look, within=30))
        found = await statuses(running, 200)
        watch.cancel()
        assert found[200] >= 7
        assert found[200] + found[429] == 200
        assert most == 7
        assert upstream.received == found[200]


async def test_no_more_calls_are_let_in_at_once_than_a_rate_allows() -> None:
    async with house("limits: {requests_per_minute: 5}") as (upstream, running):
        assert await statuses(running, 100) == {200: 5, 429: 95}
        assert upstream.received == 5
        assert await counted(running, "tester", "requests_per_minute") == 95


async def test_no_more_tokens_are_reserved_at_once_than_a_rate_allows() -> None:
    async with house("limits: {tokens_per_minute: 1000}", faults=SILENT) as (upstream, running):
        calls = [asyncio.get_running_loop().create_task(ask(running, max_tokens=80)) for _ in range(50)]
        await until(lambda: upstream.received + sum(call.done() for call in calls) == 50)
        assert 8 <= upstream.received <= 10  # each is expected to take 80 tokens, and what its hundred bytes come to
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)


async def test_two_keys_do_not_disturb_each_other() -> None:
    rules = "limits: {requests_per_minute: 1, concurrent_requests: 1}"
    async with house(rules, other="limits: {requests_per_minute: 3}") as (_, running):
        assert [(await ask(running)).status_code for _ in range(2)] == [200, 429]
        assert [(await ask(running, OTHER_KEY)).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert await counted(running, "tester", "requests_per_minute") == 1
        assert await counted(running, "other", "requests_per_minute") == 1


async def test_a_new_configuration_keeps_what_was_counted_and_what_is_held() -> None:
    async with Simulator(SILENT) as upstream:
        text = limited(config(upstream.url), f"limits: {{requests_per_minute: 3, concurrent_requests: 1}}, {COUNTED}")
        async with gateway(text) as running, wire(running.port) as client:
            client.send(question())
            await upstream.until(lambda: upstream.received == 1)
            stricter, old = text.replace("minute: 3", "minute: 2"), running.gateway.live.house
            swap = asyncio.get_running_loop().create_task(
                running.gateway.swap(loads_all(stricter, name="test.yaml", environ={}))
            )
            await until(lambda: running.gateway.live.house is not old)
            assert_refused(await ask(running), "concurrent_requests")
            client.writer.close()
            await swap
            upstream.faults = Faults()
            assert (await ask(running)).status_code == 200
            assert_refused(await ask(running), "2 requests in a minute")


# What clients send


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("value", ["-5", "-1e30", "1e308", "1e999", "NaN", '"7"', "true", "[]", "0", str(10**30)])
async def test_no_number_that_a_client_sends_credits_it(field: str, value: str) -> None:
    body = orjson.dumps(QUESTION)[:-1] + f',"{field}":{value}}}'.encode()
    async with house(COUNTED) as (_, running):
        await ask(running)
        answer = await running.client.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (200, 400, 429)
        spent = sum(entry.usage.total for entry in running.entries if entry.usage)
        assert await tokens_used(running) == spent >= USED
