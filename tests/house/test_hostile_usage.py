"""Whatever a provider says that it has counted, it credits nobody, and no answer is lost for it.

The simulators answer as ever, but for the numbers in the usage, which are replaced.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.record import Record
from gateway.policy.cost import MOST_TOKENS
from gateway.simulator.faults import Faults
from gateway.simulator.http import Grammar, Reply
from gateway.simulator.script import Play, Step, script
from gateway.simulator.server import COALESCE, Simulator
from tests.accounting.audit import everything
from tests.accounting.world import ACCESS
from tests.house.harness import Running, gateway
from tests.house.test_hangup import until
from tests.house.test_limits import BUDGET, COUNTED, ask
from tests.stores.books import added_up, opened, told

TYPES = ("openai", "mistral", "anthropic", "gemini", "cohere", "bedrock")
"""One of each dialect."""

WAYS = [f"{type}-{how}" for type in TYPES for how in ("whole", "streamed")]
WAYS.remove("bedrock-streamed")  # its frames have checksums
"""How calls are made: each with a key and a model of its own, of that name."""

STRANGE: tuple[bytes, ...] = (
    *(b"-1", b"-5", b"-1e30", b"1e308", b"0", b"0.5", b"-0.0", b"7.9", b'"7"', b'"-7"', b'"many"', b'""', b"null"),
    *(b"true", b"false", b"[]", b"[7]", b"{}", b'{"count": 7}'),
    *(b"%d" % (2**power + more) for power in (31, 32, 53, 63, 64) for more in (-1, 0)),
)
"""JSON, but no number of tokens that anyone can have counted; or one that is hard to believe."""

numbers = st.sampled_from(STRANGE) | st.integers(-(2**70), 2**70).map(lambda number: b"%d" % number)

COUNT = re.compile(rb'("\w*[tT]oken\w*": ?)[0-9.]+')


def lying(counts: Sequence[bytes]) -> Play:
    """A provider that puts these, one after the other, where what it has counted belongs."""
    said = cycle(counts)

    def spoilt(data: bytes) -> bytes:
        return COUNT.sub(lambda found: found[1] + next(said), data)

    def play(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        frames = tuple(frame._replace(data=spoilt(frame.data)) for frame in reply.frames)
        yield from script(replace(reply, body=spoilt(reply.body), frames=frames), None, Faults(), COALESCE)

    return play


def silent(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """A provider that has counted nothing."""

    def without(data: bytes) -> bytes:
        return data.replace(b'"usage"', b'"unsaid"').replace(b'"usageMetadata"', b'"unsaid"')

    frames = tuple(frame._replace(data=without(frame.data)) for frame in reply.frames)
    yield from script(replace(reply, body=without(reply.body), frames=frames), None, Faults(), COALESCE)


@asynccontextmanager
async def world(play: Play, state: str = "") -> AsyncIterator[Running]:
    """A gateway before providers that all answer so."""
    async with AsyncExitStack() as stack:
        lines = [state, "providers:"]
        for type in TYPES:
            upstream = await stack.enter_async_context(Simulator(type=type, play=play))
            access = ACCESS.get(type, "base_url: '{url}', api_key: k").format(url=upstream.url)
            lines.append(f"  {type}: {{type: {type}, {access}}}")
        lines += ["defaults: {retries: {attempts: 1}}", "models:"]
        for way in WAYS:
            target = f"{{provider: {way.partition('-')[0]}, model: up}}"
            lines.append(f"  {way}: {{targets: [{target}], price: {{input: 3, output: 15, cache_read: 0.3}}}}")
        lines += ["keys:", *(f"  - {{name: {way}, key: {secret(way)}, priority: high, {COUNTED}}}" for way in WAYS)]
        yield await stack.enter_async_context(gateway("\n".join(lines)))


def secret(way: str) -> str:
    return f"a-key-of-the-test-suite-{way}"


async def call(running: Running, way: str) -> httpx.Response:
    return await ask(running, secret(way), model=way, stream=way.endswith("streamed"))


async def counted(running: Running, way: str) -> int:
    """Tokens that the key's budget has seen: told by the refusal of a call that is larger than all of it."""
    refused = await ask(running, secret(way), model=way, max_tokens=BUDGET)
    assert refused.status_code == 429
    return BUDGET - int(refused.headers["x-ratelimit-remaining-tokens"])


def assert_served(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert "there" in answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.text.endswith("data: [DONE]\n\n")


def assert_sound(record: Record) -> None:
    tokens = (record.input_tokens, record.output_tokens, record.cache_read_tokens, record.cache_write_tokens)
    assert all(0 <= count <= MOST_TOKENS for count in (*tokens, record.reasoning_tokens)), record
    assert record.cache_read_tokens + record.cache_write_tokens <= record.input_tokens
    assert record.reasoning_tokens <= record.output_tokens
    assert record.cost_micros is not None
    assert record.cost_micros >= 0


@settings(max_examples=10)
@given(st.lists(numbers, min_size=4, max_size=9))
async def test_whatever_is_counted_the_answer_is_served_and_nobody_is_credited(counts: list[bytes]) -> None:
    async with world(lying(counts)) as running:
        for answer in await asyncio.gather(*(call(running, way) for way in WAYS)):
            assert_served(answer)
        await until(lambda: len(running.entries) == len(WAYS))
        used = {entry.key: min(entry.usage.total, BUDGET) for entry in running.entries if entry.usage}
        assert {way: await counted(running, way) for way in WAYS} == used
        assert min(used.values()) > 0


@pytest.mark.parametrize("count", [b"NaN", b"-Infinity", b"9" * 400])
async def test_numbers_that_json_does_not_have_credit_nobody(count: bytes) -> None:
    async with world(lying([count])) as running:
        for way in WAYS:
            assert (await call(running, way)).status_code in (200, 502)
            used = running.entries[-1].usage
            assert await counted(running, way) == (used.total if used else 0) >= 0


async def test_nothing_of_it_enters_the_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with world(lying(STRANGE), f"state: {{database: '{url}'}}") as running:
        for _ in range(8):
            await asyncio.gather(*(call(running, way) for way in WAYS))
    ledger = opened(url)
    records = everything(ledger)
    assert len(records) == 8 * len(WAYS)
    for record in records:
        if record.outcome == "ok":
            assert_sound(record)
    assert told(ledger.usage("key")) == added_up(records, lambda record: record.key)
    ledger.close()


@pytest.mark.parametrize("play", [silent, *map(lying, ([b"null"], [b'"many"'], [b"-5"], [b"0"]))])
async def test_a_count_that_is_none_makes_no_call_free(play: Play) -> None:
    async with world(play) as running:
        for answer in await asyncio.gather(*(call(running, way) for way in WAYS)):
            assert_served(answer)
        await until(lambda: len(running.entries) == len(WAYS))
        found = {entry.key: (entry.usage_source, bool(entry.cost)) for entry in running.entries}
        assert found == dict.fromkeys(WAYS, ("estimated", True))
