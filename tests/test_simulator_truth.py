"""What the simulator says that it has served is what its answers say, for every type and whatever becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from gateway.config.vendor_table import VENDORS
from gateway.core.call import Json, UpstreamReply
from gateway.core.events import Usage, UsageReported
from gateway.dialects.registry import embeddings
from gateway.simulator import api
from gateway.simulator.http import Reply, respond
from gateway.simulator.server import KEPT_CALLS, Simulator
from gateway.simulator.truth import Served, Tally, Truth
from tests.house.harness import PLAIN
from tests.test_simulator_dialects import OPENAI_TOOLS, THOUGHT, TOOLS, answered, events
from tests.test_simulator_types import KEY, WAYS, Way, account

LONG = "word " * 1500

# Each scenario changes the plain request of a type.

SAID: dict[str, Json] = {
    "anthropic": {"messages": [{"role": "user", "content": LONG}]},
    "bedrock": {"messages": [{"role": "user", "content": [{"text": LONG}]}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": LONG}]}]},
}
MARKED: dict[str, Json] = {
    "anthropic": {
        "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "hi"}],
    },
    "bedrock": {
        "system": [{"text": LONG}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    },
}
CUT_SHORT: dict[str, Json] = {
    "anthropic": {"max_tokens": 3},
    "bedrock": {"inferenceConfig": {"maxTokens": 3}},
    "gemini": {"generationConfig": {"maxOutputTokens": 3}},
}
SEVERAL: dict[str, Json] = {"gemini": {"generationConfig": {"candidateCount": 3}}}
SCENARIOS: dict[str, tuple[dict[str, Json], Json]] = {
    "plain": ({}, {}),
    "tools": (TOOLS, OPENAI_TOOLS),
    "thoughts": (THOUGHT, {"reasoning_effort": "high"}),
    "a long prompt": (SAID, {"messages": [{"role": "user", "content": LONG}]}),
    "a marked prompt": (SAID | MARKED, {"messages": [{"role": "user", "content": LONG}]}),
    "a limit": (CUT_SHORT, {"max_tokens": 3}),
    "several choices": (SEVERAL, {"n": 3}),
}
ONE_CHOICE = ("anthropic", "bedrock", "cohere")
CASES = [(type, name) for type in WAYS for name in SCENARIOS if name != "several choices" or type not in ONE_CHOICE]
REMEMBERS = [type for type in WAYS if type not in ("ollama", "vllm")]
"""Those that say what their cache had."""


def scenario(name: str, type: str) -> Json:
    own, common = SCENARIOS[name]
    return own.get(type, {} if type in ("anthropic", "bedrock", "gemini") else common)


def usage(told: Reply) -> Usage:
    """As the account has it."""
    return Usage(told.prompt_tokens, told.output, cache_read=told.cached, reasoning=told.reasoning)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("type", "name"), CASES)
def test_the_account_is_what_the_gateway_reads_of_the_answer(type: str, name: str, stream: bool) -> None:
    told = answered(type, stream=stream, **scenario(name, type))
    assert told.status == 200
    (read,) = [event.usage for event in events(type, told) if isinstance(event, UsageReported)]
    assert read == usage(told)
    assert not stream or sum(frame.tokens for frame in told.frames) == told.output


@pytest.mark.parametrize("type", REMEMBERS)
def test_a_cache_is_part_of_the_account(type: str) -> None:
    assert 0 < answered(type, stream=True, **scenario("a marked prompt", type)).cached < 2100


@pytest.mark.parametrize("type", ["groq", "openai_compatible", "gemini"])
def test_what_a_model_thinks_is_part_of_the_account(type: str) -> None:
    told = answered(type, stream=True, **scenario("thoughts", type))
    assert 0 < told.reasoning < told.output


@pytest.mark.parametrize("type", WAYS)
def test_a_stream_that_tells_no_usage_is_counted_all_the_same(type: str) -> None:
    path, body = WAYS[type].asking(stream=True)
    told = respond(api.GRAMMARS[type], "POST", path, orjson.dumps(body), account(type))
    assert usage(told) == usage(answered(type, stream=True))


# Embeddings

INPUT: Json = {"model": "m", "input": ["one two", "three"]}
EMBEDDED = {
    "openai": Way("/v1/embeddings", INPUT, KEY),
    "azure": Way("/openai/deployments/m/embeddings?api-version=1", INPUT, KEY),
    "mistral": Way("/v1/embeddings", INPUT, KEY),
    "ollama": Way("/v1/embeddings", INPUT, KEY),
    "cohere": Way("/v2/embed", {"model": "m", "texts": ["one two", "three"], "input_type": "classification"}, KEY),
    "bedrock": Way("/model/amazon.titan-embed-text-v2%3A0/invoke", {"inputText": "one two three"}, KEY),
}


@pytest.mark.parametrize("type", EMBEDDED)
def test_embeddings_are_counted_as_the_gateway_reads_them(type: str) -> None:
    way, dialect = EMBEDDED[type], embeddings(VENDORS[type].dialect)
    told = respond(api.GRAMMARS[type], "POST", way.path, orjson.dumps(way.body), account(type))
    assert dialect is not None
    assert dialect.answer(UpstreamReply(told.status, told.headers, told.body)).usage == usage(told) == Usage(3)


def test_embeddings_of_gemini_are_counted_though_the_api_says_nothing() -> None:
    body = {"content": {"parts": [{"text": "one two three"}]}}
    path = "/v1beta/models/gemini-embedding-001:embedContent"
    assert usage(respond(api.GRAMMARS["gemini"], "POST", path, orjson.dumps(body), account("gemini"))) == Usage(3)


# Sums


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


async def ask(simulator: Simulator, model: str = "m", key: str = "k", fault: str = "none", **fields: Any) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], **fields}
    headers = {"authorization": f"Bearer {key}", "x-simulate-fault": fault}
    async with httpx.AsyncClient(timeout=5, verify=PLAIN) as client:
        await client.post(f"{simulator.url}/chat/completions", json=body, headers=headers)


async def test_the_truth_is_summed_by_key_and_model(simulator: Simulator) -> None:
    for model, key in (("m", "k"), ("m", "k"), ("other", "k"), ("m", "l")):
        await ask(simulator, model, key)
    once = Truth(1, Usage(3, 5))
    assert simulator.truth() == {("k", "m"): Truth(2, Usage(6, 10)), ("k", "other"): once, ("l", "m"): once}


async def test_calls_that_no_model_answered_are_no_part_of_the_truth(simulator: Simulator) -> None:
    for fault in ("429", "500", "context-length", "html", "empty", "error-in-200"):
        await ask(simulator, fault=fault)
    assert simulator.truth() == {}


async def test_what_was_cut_is_summed_apart_with_what_came_of_it(simulator: Simulator) -> None:
    await ask(simulator)
    for fault in ("cut-after:2", "error-after:3"):
        try:
            await ask(simulator, fault=fault, stream=True)
        except httpx.RemoteProtocolError:
            continue
    assert simulator.truth() == {("k", "m"): Truth(1, Usage(3, 5), 2, Usage(6, 5))}


async def test_a_client_that_leaves_has_used_what_was_sent_to_it(simulator: Simulator) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "one two three"}], "stream": True}
    headers = {"authorization": "Bearer k", "x-simulate-fault": "chunk-delay:10ms"}
    async with (
        httpx.AsyncClient(timeout=5, verify=PLAIN) as client,
        client.stream("POST", f"{simulator.url}/chat/completions", json=body, headers=headers) as answer,
    ):
        await anext(answer.aiter_bytes())
    await simulator.until(lambda: bool(simulator.truth()))
    [truth] = simulator.truth().values()
    assert (truth.calls, truth.cut) == (0, 1)
    assert truth.cut_usage == Usage(3, simulator.served[0].completion_tokens)
    assert simulator.served[0].completion_tokens < 5


async def test_a_call_that_the_simulator_itself_drops_is_counted_as_cut() -> None:
    dropping = Simulator()
    await dropping.start()

    async def close() -> None:
        await dropping.until(lambda: dropping.busy == 1)
        await dropping.aclose()

    asked, _ = await asyncio.gather(ask(dropping, fault="stall-after:2", stream=True), close(), return_exceptions=True)
    assert isinstance(asked, httpx.HTTPError)
    assert dropping.truth() == {("k", "m"): Truth(0, Usage(), 1, Usage(3, 2))}
    assert dropping.hangups == []


async def test_thoughts_that_were_cut_short_are_counted_as_far_as_they_came() -> None:
    async with Simulator(type="groq") as simulator:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(simulator, fault="cut-after:4", stream=True, reasoning_effort="high")
        [truth] = simulator.truth().values()
    assert truth.cut_usage == Usage(3, 4, reasoning=4)


def test_the_truth_forgets_no_call_that_the_list_has_no_room_for() -> None:
    tally, call = Tally(), Served("id", "m", False, 3, 5, cut=False, client_left=False, key="k", cached=2, reasoning=1)
    for _ in range(KEPT_CALLS + 1):
        tally.enter(call)
    total = KEPT_CALLS + 1
    assert tally.truths() == {("k", "m"): Truth(total, Usage(3 * total, 5 * total, 2 * total, 0, total))}


@pytest.mark.parametrize("type", WAYS)
async def test_the_key_is_known_however_the_api_wants_it_named(type: str) -> None:
    path, body = WAYS[type].asking(stream=False)
    async with Simulator(type=type) as simulator, httpx.AsyncClient(verify=PLAIN) as client:
        await client.post(simulator.origin + path, json=body, headers=WAYS[type].headers)
        assert [key for key, _ in simulator.truth()] == ["any"]


async def test_the_key_may_be_in_the_query_or_an_access_key() -> None:
    signed = (
        "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20270101/us-east-1/bedrock/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    )
    ways = {
        "gemini": (f"{WAYS['gemini'].path}?key=AIza-example", {}),
        "bedrock": (WAYS["bedrock"].path, {"authorization": signed, "x-amz-date": "20270101T000000Z"}),
    }
    found = []
    for type, (path, headers) in ways.items():
        async with Simulator(type=type) as simulator, httpx.AsyncClient(verify=PLAIN) as client:
            await client.post(simulator.origin + path, json=WAYS[type].body, headers=headers)
            found += [key for key, _ in simulator.truth()]
    assert found == ["AIza-example", "AKIAEXAMPLE"]
