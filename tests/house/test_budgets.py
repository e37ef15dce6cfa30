"""What a key may spend, and what its calls cost: held against what the providers have truly served."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from gateway.config.resolve import loads_all
from gateway.core.call import Json, Price
from gateway.core.events import Usage
from gateway.policy.cost import cost
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, QUESTION, Running, config, gateway
from tests.house.scripted import Peer, scripted
from tests.house.test_hangup import STALLS, first_output, question, until
from tests.house.test_limits import ONE_TRY, OTHER_KEY, USED, allowed, ask, assert_refused, limited, settled
from tests.house.test_protocol import wire
from tests.house.test_serve import failing
from tests.stores.books import opened

PRICE = Price(input=1_000, output=10_000)
"""US dollars per million tokens: a tenth of a cent for a token of the prompt, a whole one for each of the answer."""

PRICED = ONE_TRY + "    price: {input: 1000, output: 10000}\n"

ONE = 2 * 1_000 + 4 * 10_000
"""Micro-dollars that `QUESTION` and its answer cost."""


def with_budget(text: str, usd: str = "1000", other: str = "") -> str:
    return limited(text, f"budget: {{usd: {usd}, every: month}}", other)


async def micros_spent(running: Running, key: str = KEY) -> int:
    """What the key has spent or holds: told in the refusal of a call that would cost more than there is."""
    answer = await ask(running, key, max_tokens=1_000_000)
    error = assert_refused(answer, "US dollars this month (usd_budget)", "never have room", code="budget_exceeded")
    told = error["message"].partition("(usd_budget), and ")[2].partition(" are used or reserved")[0]
    return round(float(told.replace(",", "")) * 1_000_000)


async def metric(running: Running, name: str) -> float:
    """The sum of all series of a metric."""
    rows = (await running.client.get("/metrics")).text.splitlines()
    return sum(float(row.rpartition(" ")[2]) for row in rows if row.startswith(name + "{"))


def logged(running: Running) -> list[Json]:
    """The records of all calls that went to a provider, once the gateway has stopped."""
    lines = map(orjson.loads, running.log.splitlines())
    return [line for line in lines if line["event"] == "call" and line["outcome"] != "limited"]


def true_cost(*upstreams: Simulator) -> int:
    """Micro-dollars that providers will write on their bills: each answer that went out complete."""
    each = [cost(served.usage, PRICE) for upstream in upstreams for served in upstream.served if served.complete]
    return sum(filter(None, each))


# Spent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_when_a_budget_in_dollars_is_spent_calls_are_refused_until_the_month_ends(stream: bool) -> None:
    async with Simulator() as upstream, gateway(with_budget(config(upstream.url, model=PRICED), "0.1")) as running:
        told = [await ask(running, stream=stream, max_tokens=4) for _ in range(3)]
        assert [answer.status_code for answer in told] == [200, 200, 429]
        assert_refused(
            told[2], "The key `tester`", "0.1 US dollars this month", "0.084 are used", code="budget_exceeded"
        )
        now = datetime.now(UTC)
        end = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=31)).replace(day=1)
        assert int(told[2].headers["retry-after"]) == pytest.approx((end - now).total_seconds(), abs=10)
        assert told[2].headers["x-should-retry"] == "false"
        assert upstream.received == 2


async def test_when_a_budget_of_tokens_is_spent_calls_are_refused() -> None:
    async with Simulator() as upstream:
        text = limited(config(upstream.url, model=ONE_TRY), "budget: {tokens: 60, every: week}")
        async with gateway(text) as running:
            while (answer := await ask(running, max_tokens=20)).status_code == 200:
                assert upstream.received < 10
            used = upstream.received * USED
            assert 60 - 20 - 30 < used <= 60
            assert_refused(answer, "60 tokens this week", f"{used} are used", code="budget_exceeded")
            assert allowed(answer)["remaining-tokens"] == str(60 - used)


async def test_a_budget_is_not_refunded_by_time() -> None:
    async with Simulator() as upstream, gateway(with_budget(config(upstream.url, model=PRICED))) as running:
        await ask(running)
        assert [await micros_spent(running) for _ in range(3)] == [ONE] * 3


async def test_what_a_call_holds_is_not_spent_yet_and_is_worth_waiting_for() -> None:
    async with Simulator(STALLS) as upstream, gateway(with_budget(config(upstream.url, model=PRICED), "1")) as running:
        async with wire(running.port) as client:
            client.send(question(stream=True, max_tokens=90))
            await first_output(client)
            refused = await ask(running, max_tokens=20)
            assert_refused(refused, "usd_budget", "room again in 1 s", code="budget_exceeded")
            assert refused.headers["retry-after"] == "1"
        await settled(running, 2)
        upstream.faults = Faults()
        assert (await ask(running, max_tokens=20)).status_code == 200


async def test_a_call_that_costs_more_than_was_expected_is_debited_beyond_the_budget() -> None:
    async with Simulator() as upstream, gateway(with_budget(config(upstream.url, model=PRICED), "0.25")) as running:
        dense = [{"role": "user", "content": "a " * 300}]  # at four bytes a token, half of it is expected
        assert (await ask(running, messages=dense, max_tokens=1)).status_code == 200
        refused = await ask(running, max_tokens=1)
        assert_refused(refused, "0.25 US dollars", "0.31 are used", code="budget_exceeded")


async def test_two_keys_have_each_their_own() -> None:
    async with Simulator() as upstream:
        text = with_budget(config(upstream.url, model=PRICED), other="budget: {usd: 500, every: month}")
        async with gateway(text) as running:
            for _ in range(2):
                await ask(running)
            await ask(running, OTHER_KEY)
            assert (await micros_spent(running), await micros_spent(running, OTHER_KEY)) == (2 * ONE, ONE)


async def test_a_new_configuration_keeps_what_was_spent_and_charges_at_its_own_price() -> None:
    async with Simulator() as upstream:
        text = with_budget(config(upstream.url, model=PRICED))
        async with gateway(text) as running:
            await ask(running)
            dearer = text.replace("output: 10000", "output: 20000").replace("usd: 1000", "usd: 900")
            await running.gateway.swap(loads_all(dearer, name="test.yaml", environ={}))
            assert await micros_spent(running) == ONE
            await ask(running)
            assert await micros_spent(running) == 2 * ONE + 4 * 10_000
            assert "900 US dollars" in (await ask(running, max_tokens=1_000_000)).json()["error"]["message"]


# Many at once


async def test_calls_at_once_do_not_spend_more_than_the_budget() -> None:
    slow = Faults(first_token_delay=0.02)
    async with Simulator(slow) as upstream, gateway(with_budget(config(upstream.url, model=PRICED), "2")) as running:
        answers = await asyncio.gather(*(ask(running, max_tokens=5, stream=bool(n % 2)) for n in range(200)))
        found = Counter(answer.status_code for answer in answers)
        assert found[200] + found[429] == 200
        assert found[200] >= 10
        assert found[200] * ONE == true_cost(upstream) <= 2_000_000


async def test_calls_that_cost_more_than_expected_overrun_by_no_more_than_those_under_way() -> None:
    slow, places = Faults(first_token_delay=0.02), 5
    async with Simulator(slow) as upstream:
        rules = f"limits: {{concurrent_requests: {places}}}, budget: {{usd: 3, every: month}}"
        dense = [{"role": "user", "content": "a " * 300}]
        async with gateway(limited(config(upstream.url, model=PRICED), rules)) as running:
            for _ in range(8):
                await asyncio.gather(*(ask(running, messages=dense, max_tokens=1) for _ in range(places)))
            each = 300 * 1_000 + 10_000
            assert 3_000_000 - each < true_cost(upstream) < 3_000_000 + places * each
            assert (await ask(running, messages=dense)).status_code == 429


# What calls cost


async def test_cost_is_the_same_in_the_budget_the_metrics_and_the_log_and_it_is_true() -> None:
    async with Simulator(Faults(fail=(("500", 0.2),))) as first, Simulator() as second:
        text = with_budget(config(first.url, second.url, model=PRICED.replace("1}", "3}")))
        async with gateway(text) as running:
            asked: list[Json] = [{"stream": stream, "n": n} for stream in (False, True) for n in (1, 2, 3)] * 5
            answers = await asyncio.gather(*(ask(running, **fields) for fields in asked))
            assert {answer.status_code for answer in answers} == {200}
            truth = true_cost(first, second)
            assert truth > len(asked) * ONE
            assert await micros_spent(running) == truth
            assert round(await metric(running, "gateway_cost_dollars_total") * 1_000_000) == truth
    assert round(sum(record["cost_usd"] for record in logged(running)) * 1_000_000) == truth
    assert {record["usage_source"] for record in logged(running)} == {"reported"}


async def test_embeddings_cost_what_their_inputs_do() -> None:
    async with Simulator() as upstream, gateway(with_budget(config(upstream.url, model=PRICED))) as running:
        answer = await running.client.post("/v1/embeddings", json={"model": "m", "input": ["gull", "black tern"]})
        assert await micros_spent(running) == answer.json()["usage"]["prompt_tokens"] * 1_000 > 0


CACHED: Json = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "n",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 1,
        "total_tokens": 101,
        "prompt_tokens_details": {"cached_tokens": 80},
    },
}


async def test_cached_tokens_are_charged_at_their_own_price() -> None:
    cheaper = PRICED.replace("output:", "cache_read: 100, output:")
    async with (
        scripted(answering(CACHED)) as upstream,
        gateway(with_budget(config(f"{upstream.origin}/v1", model=cheaper))) as running,
    ):
        await ask(running)
        assert await micros_spent(running) == 20 * 1_000 + 80 * 100 + 10_000


def answering(body: Json) -> Any:
    told = orjson.dumps(body)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(told)}\r\n\r\n"
            await peer.say(head.encode() + told)

    return script


@pytest.mark.parametrize("fault", ["500", "400", "reset", "401", "garbage"])
async def test_a_call_that_no_model_answered_costs_nothing(fault: str) -> None:
    async with Simulator(failing(fault)) as ill, gateway(with_budget(config(ill.url, model=PRICED))) as running:
        for stream in (False, True):
            assert (await ask(running, stream=stream, max_tokens=50)).status_code >= 400
        assert await micros_spent(running) == 0
        assert await metric(running, "gateway_cost_dollars_total") == 0
    assert {record["cost_usd"] for record in logged(running)} == {None}


@pytest.mark.parametrize("how", ["hang-up", "cut"])
async def test_an_answer_that_ends_too_soon_costs_about_what_the_provider_bills(how: str) -> None:
    faults = STALLS if how == "hang-up" else Faults(cut_after=3)
    async with Simulator(faults) as upstream, gateway(with_budget(config(upstream.url, model=PRICED))) as running:
        for _ in range(3):  # of these it learns how the provider counts
            upstream.faults = Faults()
            await ask(running, stream=True)
        upstream.faults = faults
        before = await micros_spent(running)
        async with wire(running.port) as client:
            client.send(question(stream=True))
            await first_output(client)
            if how == "cut":
                await until(lambda: len(running.entries) == 5)
        await settled(running, 5)
        entry = running.entries[-1]
        assert (entry.usage_source, entry.outcome) == ("estimated", "cancelled" if how == "hang-up" else "truncated")
        assert await micros_spent(running) - before == entry.cost
        await upstream.until(lambda: len(upstream.served) == 4)
        assert entry.cost == pytest.approx(cost(upstream.served[3].usage, PRICE), rel=0.5)


CUT_SHORT: Json = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "n", "choices": []}


async def test_a_failed_attempt_that_told_its_usage_is_charged_beside_the_one_that_served() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        chunk = {**CUT_SHORT, "usage": {"prompt_tokens": 500, "completion_tokens": 0, "total_tokens": 500}}
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        event = b"data: " + orjson.dumps(chunk) + b"\n\n"
        await peer.say(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))

    async with scripted(script) as ill, Simulator() as well:
        text = with_budget(config(f"{ill.origin}/v1", well.url, model=PRICED.replace("1}", "2}")))
        async with gateway(text) as running:
            answer = await ask(running, stream=True)
            assert answer.headers["x-gateway-provider"] == "p1"
            assert running.entries[0].usage == Usage(502, 4)
            assert await micros_spent(running) == 500 * 1_000 + ONE
            await well.aclose()
            assert (await ask(running, stream=True)).status_code == 502
            assert await micros_spent(running) == 2 * 500 * 1_000 + ONE


async def test_where_no_price_is_known_a_metric_says_so_and_the_cost_is_unknown_and_not_zero() -> None:
    async with Simulator() as upstream, AsyncExitStack() as stack:
        running = await stack.enter_async_context(gateway(config(upstream.url)))
        await ask(running)
        await ask(running, stream=True)
        assert await metric(running, "gateway_price_missing_total") == 2
        assert await metric(running, "gateway_cost_dollars_total") == 0
        await stack.aclose()
    assert [record["cost_usd"] for record in logged(running)] == [None, None]


# SDKs


async def test_openais_sdk_tells_its_user_that_the_budget_is_spent_and_does_not_try_again() -> None:
    async with (
        Simulator() as upstream,
        gateway(with_budget(config(upstream.url, model=PRICED), "0.1")) as running,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY, max_retries=5) as client,
    ):
        for _ in range(2):
            await ask(running, max_tokens=4)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(**QUESTION, max_tokens=4)
        assert (refused.value.type, refused.value.code) == ("insufficient_quota", "budget_exceeded")
        assert (len(running.entries), upstream.received) == (3, 2)


# Records


async def test_a_stream_whose_answer_came_whole_is_entered_into_the_books_as_what_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with scripted(answering(CACHED)) as upstream:
        text = config(f"{upstream.origin}/v1", model=PRICED, extra=f"state: {{database: '{url}'}}")
        async with gateway(text) as running:
            assert (await ask(running, stream=True)).status_code == 200
    (record,) = opened(url).newest(limit=10).records
    assert (record.status, record.outcome, record.cost_micros) == (200, "ok", 100 * 1_000 + 10_000)
