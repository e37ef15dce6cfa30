"""Embeddings through the whole gateway: real sockets, simulated providers of every type, OpenAI's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import orjson
import pytest

from gateway.core.call import Json
from gateway.core.events import Usage
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.simulator.vectors import vector
from tests.house.harness import KEY, Running, config, gateway
from tests.house.scripted import Peer, scripted, until

WORDS = ["gull", "tern", "curlew sandpiper"]

MODELS = {
    "openai": "text-embedding-3-small",
    "azure": "a-deployment",
    "openai_compatible": "any",
    "mistral": "codestral-embed",
    "cohere": "embed-v4.0",
    "gemini": "gemini-embedding-001",
    "bedrock": "amazon.titan-embed-text-v2:0",
}
"""By provider type: one that embeds."""

ACCESS = {
    "azure": "base_url: '{url}', api_key: k, api_version: '2024-10-21'",
    "bedrock": "endpoint_url: '{url}', region: eu-west-1, access_key_id: AKIAEXAMPLE, secret_access_key: s3cr3t",
}
"""What a provider's entry says of where it is, where that is not just an address and a key."""


@asynccontextmanager
async def house(type: str) -> AsyncIterator[tuple[Running, Simulator]]:
    """A gateway in front of one simulated provider, whose model is called `m`."""
    async with Simulator(type=type) as upstream:
        access = ACCESS.get(type, "base_url: '{url}', api_key: k").format(url=upstream.url)
        text = f"""
providers: {{p: {{type: {type}, {access}}}}}
models: {{m: {{targets: [{{provider: p, model: "{MODELS[type]}"}}]}}}}
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""
        async with gateway(text) as running:
            yield running, upstream


async def embed(running: Running, path: str = "/v1/embeddings", **fields: Any) -> httpx.Response:
    return await running.client.post(path, json={"model": "m", "input": WORDS, **fields})


def failing(fault: str) -> Faults:
    return Faults(fail=((fault, 1.0),))


def vectors(answer: httpx.Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [row["embedding"] for row in rows]


# Every provider.


@pytest.mark.parametrize("type", MODELS)
async def test_openais_sdk_gets_the_same_vectors_in_both_encodings(type: str) -> None:
    async with (
        house(type) as (running, _),
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY, max_retries=0) as client,
    ):
        in_base64 = await client.embeddings.create(model="m", input=WORDS, dimensions=16)
        as_numbers = await client.embeddings.create(model="m", input=WORDS, dimensions=16, encoding_format="float")
        for answer in (in_base64, as_numbers):
            assert [row.embedding for row in answer.data] == [vector(word, 16) for word in WORDS]
            assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


REQUESTS_FOR_600 = {
    "openai": 1, "azure": 1, "openai_compatible": 1, "mistral": 3, "cohere": 7, "gemini": 6, "bedrock": 600,
}  # fmt: skip


@pytest.mark.parametrize("type", MODELS)
async def test_a_batch_of_any_size_comes_back_in_its_order(type: str) -> None:
    texts = [f"text {number}" for number in range(600)]
    async with house(type) as (running, upstream):
        answer = await embed(running, input=texts, dimensions=2)
        assert vectors(answer) == [vector(text, 2) for text in texts]
        assert upstream.received == REQUESTS_FOR_600[type]
        assert running.entries[0].outcome == "ok"


async def test_the_record_has_what_was_read_and_nothing_that_was_said() -> None:
    async with house("openai") as (running, _):
        answer = await embed(running)
        assert answer.headers["x-gateway-model"] == MODELS["openai"]
        (entry,) = running.entries
        assert (entry.endpoint, entry.model, entry.usage, entry.usage_source) == (
            "embeddings",
            "m",
            Usage(4),
            "reported",
        )
        metrics = (await running.client.get("/metrics")).text
        labels = 'endpoint="embeddings",key="tester",model="m",provider="p",status="200"'
        assert f"gateway_requests_total{{{labels}}} 1.0" in metrics


async def test_where_a_provider_counts_nothing_the_tokens_are_estimated() -> None:
    async with house("gemini") as (running, _):
        answer = await embed(running, input="x" * 400)
        (entry,) = running.entries
        assert entry.usage_source == "estimated"
        assert entry.usage is not None
        assert 100 <= entry.usage.input == answer.json()["usage"]["prompt_tokens"] <= 120
        assert entry.usage.output == 0


async def test_token_numbers_are_for_those_who_read_them() -> None:
    async with house("openai") as (running, _):
        assert len(vectors(await embed(running, input=[[1, 2], [3]]))) == 2
        assert len(vectors(await embed(running, input=[1, 2, 3]))) == 1
    async with house("cohere") as (running, upstream):
        answer = await embed(running, input=[1, 2, 3])
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
        assert not upstream.received


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/openai/deployments/m/embeddings?api-version=1"])
async def test_every_spelling_of_the_path_reaches_the_model(path: str) -> None:
    async with house("openai") as (running, _):
        answer = await running.client.post(path, json={"input": "gull", **({} if "/m/" in path else {"model": "m"})})
        assert len(vectors(answer)) == 1
        refused = await running.client.get(path)
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


# What goes wrong.


@pytest.mark.parametrize("fault", ["500", "429", "404", "reset", "html", "error-in-200"])
async def test_with_a_healthy_second_target_the_client_hears_of_no_failure(fault: str) -> None:
    async with Simulator(failing(fault)) as ill, Simulator() as well, gateway(config(ill.url, well.url)) as running:
        answer = await embed(running, dimensions=4)
        assert vectors(answer) == [vector(word, 4) for word in WORDS]
        assert answer.headers["x-gateway-provider"] == "p1"


async def test_one_refused_part_of_a_batch_ends_the_others_and_all_of_it_goes_elsewhere() -> None:
    async def second_part_is_refused(peer: Peer) -> None:
        request = await peer.request()
        if b'"text 96"' in request.body:
            await peer.say(b"HTTP/1.1 429 No\r\ncontent-length: 2\r\n\r\n{}")
        await peer.gone()

    async with scripted(second_part_is_refused) as ill, Simulator() as well:
        text = f"""
providers:
  ill: {{type: cohere, base_url: "{ill.origin}", api_key: k}}
  well: {{type: openai, base_url: "{well.url}", api_key: k}}
models:
  m:
    strategy: ordered
    targets: [{{provider: ill, model: a}}, {{provider: well, model: b}}]
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""
        async with gateway(text) as running:
            texts = [f"text {number}" for number in range(400)]
            assert vectors(await embed(running, input=texts, dimensions=2)) == [vector(text, 2) for text in texts]
            assert [tried.outcome for tried in running.entries[0].tried] == ["rate_limited", "ok"]
            assert 2 <= len(ill.requests) <= 4
            await until(lambda: sum(not peer.left for peer in ill.peers) <= 1)  # one may be kept for the next call


def one_vector(tokens: int) -> Callable[[Peer], Awaitable[None]]:
    """A server that answers everything with one vector, for so many tokens."""
    body = orjson.dumps({
        "object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })  # fmt: skip

    async def answering(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    return answering


async def test_a_provider_that_counts_zero_tokens_has_not_counted() -> None:
    async with scripted(one_vector(0)) as upstream, gateway(config(upstream.origin)) as running:
        answer = await embed(running, input="x" * 400)
        (entry,) = running.entries
        assert entry.usage_source == "estimated"
        assert answer.json()["usage"]["prompt_tokens"] >= 100


async def test_a_vector_too_few_is_no_answer() -> None:
    async with scripted(one_vector(1)) as upstream, gateway(config(upstream.origin)) as running:
        assert vectors(await embed(running, input="gull")) == [[0.5]]
        answer = await embed(running, input=["gull", "tern"])
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "upstream_error")


async def test_a_provider_without_embeddings_says_so_and_another_is_asked() -> None:
    async with Simulator() as upstream:
        text = f"""
providers:
  fast: {{type: groq, base_url: "{upstream.url}", api_key: k}}
  whole: {{type: openai, base_url: "{upstream.url}", api_key: k}}
models:
  only: {{targets: [{{provider: fast, model: a}}]}}
  m: {{strategy: ordered, targets: [{{provider: fast, model: a}}, {{provider: whole, model: b}}]}}
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""
        async with gateway(text) as running:
            answer = await embed(running, model="only")
            error = answer.json()["error"]
            assert (answer.status_code, error["message"]) == (400, "The provider fast has no embeddings.")
            assert not upstream.received
            assert (await embed(running)).headers["x-gateway-provider"] == "whole"


async def test_what_a_provider_cannot_express_is_named_or_refused_as_the_configuration_says() -> None:
    async with Simulator(type="mistral") as upstream:
        models = "  strict: {unsupported: error, targets: [{provider: p, model: mistral-embed}]}"
        text = f"""
providers: {{p: {{type: mistral, base_url: "{upstream.url}", api_key: k}}}}
models:
  m: {{targets: [{{provider: p, model: mistral-embed}}]}}
{models}
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""
        async with gateway(text) as running:
            answer = await embed(running, dimensions=4)
            assert answer.headers["x-gateway-dropped-params"] == "dimensions"
            refused = await embed(running, model="strict", dimensions=4)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dimensions")


HOSTILE: list[Json | bytes] = [
    b'{"model": "m", "input": [1e400]}', b'{"model": "m", "input": [%d]}' % 10**30,
    b"", b"{", b"[]", b"null", b'"x"', b'{"model": "m"}', b'{"model": "m", "input": ' + b"[" * 5000,
    {"model": "m", "input": {}}, {"model": "m", "input": [[]]}, {"model": "m", "input": [["x"]]},
    {"model": "m", "input": [None]}, {"model": "m", "input": [1, "x"]},
    {"model": "m", "input": "x", "dimensions": 10**18}, {"model": "m", "input": "x", "encoding_format": {}},
    {"model": "m", "input": "x", "user": []}, {"model": ["m"], "input": "x"}, {"model": "m\n", "input": "x"},
    {"model": "m", "input": ["x"] * 20_000}, {"model": "m", "input": [[1]] * 20_000},
]  # fmt: skip


@pytest.mark.parametrize("type", MODELS)
async def test_hostile_requests_are_refused_in_the_envelope(type: str) -> None:
    async with house(type) as (running, upstream):
        for body in HOSTILE:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            answer = await running.client.post(
                "/v1/embeddings", content=content, headers={"content-type": "application/json"}
            )
            assert 400 <= answer.status_code < 500, body
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert not upstream.received


async def test_a_client_that_leaves_takes_every_part_of_its_batch_with_it() -> None:
    asked = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with scripted(silent) as upstream:
        text = f"""
providers: {{p: {{type: cohere, base_url: "{upstream.origin}", api_key: k}}}}
models: {{m: {{targets: [{{provider: p, model: a}}]}}}}
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""
        async with gateway(text) as running:
            call = asyncio.ensure_future(embed(running, input=["x"] * 300))
            await asyncio.wait_for(asked.wait(), 5)
            call.cancel()
            await asyncio.wait([call])
            await upstream.all_left(2.0)
            assert len(upstream.requests) <= 4
    assert [entry.outcome for entry in running.entries] == ["cancelled"]
