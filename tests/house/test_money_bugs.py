"""Ways in which gateways have lost their users' money, or their users' trust, that no other test here walks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.policy.cost import cost
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, config, gateway
from tests.house.test_budgets import ONE, PRICE, PRICED, micros_spent, with_budget
from tests.house.test_hangup import question
from tests.house.test_limits import ONE_TRY, ask, assert_refused, limited, settled
from tests.house.test_limits_shared import with_limits
from tests.house.test_protocol import wire

EMBEDDED = {"model": "m", "input": ["gull"]}

ROUTES = [
    ("/v1/chat/completions", QUESTION),
    ("/chat/completions", QUESTION),
    ("/openai/deployments/m/chat/completions?api-version=2024-10-21", QUESTION),
    ("/v1/embeddings", EMBEDDED),
    ("/openai/deployments/m/embeddings?api-version=2024-10-21", EMBEDDED),
]


async def test_there_is_no_way_round_a_limit_or_a_budget() -> None:
    async with Simulator() as upstream:
        rules = f"limits: {{requests_per_minute: {len(ROUTES)}}}, budget: {{usd: 1000, every: month}}"
        async with gateway(limited(config(upstream.url, model=PRICED), rules)) as running:
            for path, body in ROUTES:
                assert (await running.client.post(path, json=body)).status_code == 200
            for path, body in ROUTES:
                assert_refused(await running.client.post(path, json=body), "requests_per_minute")
            truth = sum(cost(served.usage, PRICE) or 0 for served in upstream.served)
            assert sum(entry.cost or 0 for entry in running.entries) == truth > 3 * ONE
            assert upstream.received == len(ROUTES)


async def test_a_gateway_that_is_started_again_knows_from_its_first_call_on_what_was_spent(tmp_path: Path) -> None:
    state = f"state: {{database: 'sqlite:///{tmp_path}/ledger.db'}}"
    async with Simulator() as upstream:
        text = with_budget(config(upstream.url, model=PRICED, extra=state), "0.1")
        async with gateway(text) as running:
            for _ in range(2):
                assert (await ask(running, max_tokens=4)).status_code == 200
        async with gateway(text) as running:
            assert_refused(await ask(running, max_tokens=4), "0.084 are used", code="budget_exceeded")
            assert await micros_spent(running) == 2 * ONE
        assert upstream.received == 2


async def test_what_costs_nothing_is_let_in_when_the_budget_in_dollars_is_spent() -> None:
    async with Simulator() as upstream:
        free = f"{PRICED}  free: {{targets: [{{provider: p0, model: up}}], price: {{input: 0, output: 0}}}}\n"
        async with gateway(with_budget(config(upstream.url, model=free), "0.25")) as running:
            dense = [{"role": "user", "content": "a " * 300}]  # at four bytes a token, half of it is expected
            assert (await ask(running, messages=dense, max_tokens=1)).status_code == 200
            assert_refused(await ask(running, max_tokens=1), "0.31 are used", code="budget_exceeded")
            assert (await ask(running, model="free", max_tokens=4)).status_code == 200


async def test_who_reads_the_whole_text_and_leaves_before_it_is_counted_pays_for_it() -> None:
    async with Simulator() as upstream, gateway(with_budget(config(upstream.url, model=PRICED))) as running:
        for _ in range(3):  # of these it learns how the provider counts
            await ask(running, stream=True)
        upstream.faults = Faults(stall_after=4)
        async with wire(running.port) as client:
            client.send(question(stream=True))
            async with asyncio.timeout(5):
                await client.reader.readuntil(b'"content":" there"')
        await settled(running, 4)
        assert running.entries[-1].usage_source == "estimated"
        assert await micros_spent(running) == pytest.approx(4 * ONE, rel=0.1)


async def test_a_target_that_is_spent_gets_no_share_of_the_calls() -> None:
    async with Simulator() as first, Simulator() as second:
        text = with_limits(config(first.url, second.url, model=ONE_TRY), "requests_per_minute: 1")
        async with gateway(
            text.replace("ordered", "weighted").replace("upstream-0,", "upstream-0, weight: 9,")
        ) as running:
            assert {(await ask(running)).status_code for _ in range(10)} == {200}
            assert (first.received, second.received) == (1, 9)
