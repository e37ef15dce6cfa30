"""What a call is charged, whatever becomes of it: in its record, in the ledger and in the metrics alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.call import Json
from gateway.core.record import TEXT, Record
from gateway.simulator.faults import Faults
from gateway.simulator.http import Grammar, Reply
from gateway.simulator.script import CHUNKED, End, Step, Write, chunk, head, script
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, Running, config, gateway
from tests.house.scripted import Peer, scripted
from tests.house.test_hangup import question, until
from tests.house.test_hedging import ENOUGH, HEDGED
from tests.house.test_protocol import wire
from tests.stores.books import opened

PRICE = "    price: {input: 3, output: 15}\n"
STREAMED: Json = {**QUESTION, "stream": True}


class Books:
    """The database of a gateway under test."""

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"
        self.extra = f"state: {{database: '{self.url}'}}"

    def records(self) -> list[Record]:
        """Everything, the oldest first. To be asked once the gateway has stopped."""
        return opened(self.url).newest(limit=1000).records[::-1]


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "ledger.db")


def used(record: Record) -> tuple[int, int, str]:
    return record.input_tokens, record.output_tokens, record.usage_source


def counted(running: Running, kind: str) -> int:
    """What the metrics say of one kind of tokens, over all keys and models."""
    lines = running.gateway.measured().exposition().decode().splitlines()
    found = (line for line in lines if line.startswith("gateway_tokens_total{") and f'type="{kind}"' in line)
    return round(sum(float(line.rpartition(" ")[2]) for line in found))


# Records


async def test_every_call_has_a_record_even_if_all_claim_to_be_the_same_one(books: Books) -> None:
    async with Simulator() as upstream, gateway(config(upstream.url, extra=books.extra)) as running:
        for _ in range(3):
            answer = await running.client.post("/v1/chat/completions", json=QUESTION, headers={"x-request-id": "one"})
            assert answer.headers["x-request-id"] == "one"
    assert [record.id.partition(":")[0] for record in books.records()] == ["one"] * 3


async def test_no_client_can_make_its_record_too_large_to_be_kept(books: Books) -> None:
    async with Simulator() as upstream, gateway(config(upstream.url, extra=books.extra)) as running:
        await running.client.post("/v1/chat/completions", json={**QUESTION, "user": "u" * 2**21})
    [record] = books.records()
    assert record.end_user == "u" * TEXT


# Providers that do not say what was used


def spelt(*chunks: Json | str) -> bytes:
    said = (each if isinstance(each, str) else orjson.dumps(each).decode() for each in chunks)
    return b"".join(f"data: {each}\n\n".encode() for each in said)


def says(text: str, finish: str | None = None) -> Json:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def whole(text: str, **more: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


def answers(body: bytes, kind: bytes = b"application/json") -> Callable[[Peer], Any]:
    """A server that says this each time."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(
                b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)
            )

    return script


async def test_a_stream_whose_usage_nobody_told_is_estimated_wherever_it_is_shown(books: Books) -> None:
    stream = spelt(says("Good morning to you"), says("", "stop"), "[DONE]")
    async with (
        scripted(answers(stream, b"text/event-stream")) as upstream,
        gateway(config(f"{upstream.origin}/v1", model=PRICE, extra=books.extra)) as running,
    ):
        await running.client.post("/v1/chat/completions", json=STREAMED)
        await until(lambda: len(running.entries) == 1)
        shown = counted(running, "input"), counted(running, "output"), running.entries[0].usage_source
    [record] = books.records()
    assert used(record) == shown
    assert record.usage_source == "estimated"
    assert record.input_tokens > 0
    assert record.output_tokens > 0
    assert record.cost_micros == record.input_tokens * 3 + record.output_tokens * 15


async def test_an_empty_answer_has_used_its_prompt(books: Books) -> None:
    async with (
        scripted(answers(orjson.dumps(whole("")))) as upstream,
        gateway(config(f"{upstream.origin}/v1", extra=books.extra)) as running,
    ):
        assert (await running.client.post("/v1/chat/completions", json=QUESTION)).status_code == 200
    [record] = books.records()
    assert record.usage_source == "estimated"
    assert record.input_tokens > 0


async def test_counts_that_cannot_be_true_are_the_same_untruth_everywhere(books: Books) -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 2**40, "prompt_tokens_details": {"cached_tokens": 50}}
    async with (
        scripted(answers(orjson.dumps(whole("hi", usage=told)))) as upstream,
        gateway(config(f"{upstream.origin}/v1", extra=books.extra)) as running,
    ):
        await running.client.post("/v1/chat/completions", json=QUESTION)
        await until(lambda: len(running.entries) == 1)
        shown = counted(running, "input"), counted(running, "output"), counted(running, "cache_read")
    [record] = books.records()
    assert (record.input_tokens, record.output_tokens, record.cache_read_tokens) == shown == (10, 10**9, 10)


# Providers that tell what the prompt counts before they fail


def only(frames: int, end: End) -> Callable[[Reply, Grammar], Iterator[Step]]:
    """A stream of so many frames."""

    def play(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        if not reply.frames:
            yield from script(reply, None, Faults(), 0)
            return
        opening = b"".join(chunk(frame.data) for frame in reply.frames[:frames])
        yield Write(head(reply, CHUNKED) + opening, sum(frame.tokens for frame in reply.frames[:frames]))
        yield end

    return play


@asynccontextmanager
async def world(
    books: Books, *upstreams: Simulator, model: str = PRICE, heartbeat: float = 15.0
) -> AsyncIterator[Running]:
    """A gateway before these simulators of Anthropic's API, the first of which is asked first."""
    async with AsyncExitStack() as stack:
        for upstream in upstreams:
            await stack.enter_async_context(upstream)
        text = config(*(upstream.url for upstream in upstreams), model=model, type="anthropic", extra=books.extra)
        yield await stack.enter_async_context(gateway(text, heartbeat=heartbeat))


def anthropic(frames: int | None = None, end: End = End.CLOSE) -> Simulator:
    return Simulator(type="anthropic", play=None if frames is None else only(frames, end))


ONCE = f"{PRICE}    retries: {{attempts: 1}}\n"
PROMPT = 2
"""Tokens of the question, as the simulator counts."""


async def test_an_attempt_that_failed_after_it_was_counted_is_charged(books: Books) -> None:
    async with world(books, anthropic(1), model=ONCE) as running:
        assert (await running.client.post("/v1/chat/completions", json=STREAMED)).status_code == 502
    [record] = books.records()
    assert record.outcome == "upstream_error"
    assert record.input_tokens == PROMPT
    assert record.usage_source == "reported"
    assert record.cost_micros == record.input_tokens * 3 + record.output_tokens * 15


async def test_a_call_is_charged_for_all_of_its_attempts(books: Books) -> None:
    async with world(books, anthropic(1), anthropic()) as running:
        assert (await running.client.post("/v1/chat/completions", json=STREAMED)).status_code == 200
        await until(lambda: len(running.entries) == 1)
        shown = counted(running, "input")
    [record] = books.records()
    assert [attempt.outcome for attempt in record.attempts] == ["truncated", "truncated", "ok"]
    assert record.input_tokens == shown == 3 * PROMPT


async def test_a_client_that_leaves_before_the_first_word_pays_for_what_was_read(books: Books) -> None:
    async with world(books, anthropic(1, End.STALL), heartbeat=0.1) as running:
        async with wire(running.port) as client:
            client.send(question(stream=True))
            await client.reader.readuntil(b": ping")  # by now the provider's opening has long been read
        await until(lambda: len(running.entries) == 1)
    [record] = books.records()
    assert (record.outcome, record.usage_source) == ("cancelled", "estimated")
    assert record.input_tokens == PROMPT


async def test_of_an_answer_that_was_cut_the_prompt_is_counted_by_the_provider(books: Books) -> None:
    async with world(books, anthropic(6)) as running:
        answer = await running.client.post("/v1/chat/completions", json=STREAMED)
        assert "[DONE]" not in answer.text
    [record] = books.records()
    assert (record.outcome, record.usage_source) == ("truncated", "estimated")
    assert record.input_tokens == PROMPT
    assert record.output_tokens > 0


async def test_the_loser_of_a_race_is_charged_for_what_it_was_counted(books: Books) -> None:
    first, second = anthropic(), anthropic()
    async with world(books, first, second, model=PRICE + HEDGED) as running:
        for _ in range(ENOUGH):
            await running.client.post("/v1/chat/completions", json=STREAMED)
        first.play = only(1, End.STALL)
        answer = await running.client.post("/v1/chat/completions", json=STREAMED)
        assert answer.headers["x-gateway-provider"] == "p1"
        await until(lambda: len(running.entries) == ENOUGH + 1)
    *_, before, raced = books.records()
    assert [attempt.outcome for attempt in raced.attempts] == ["outpaced", "ok"]
    assert (before.input_tokens, raced.input_tokens) == (PROMPT, 2 * PROMPT)
