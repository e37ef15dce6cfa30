"""A whole gateway in front of providers that speak other grammars, each played by its simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.server import Simulator
from tests.house.aws import without_aws
from tests.house.harness import KEY, Running, gateway

SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


@asynccontextmanager
async def in_front_of(*types: str, extra: str = "", model: str = "") -> AsyncIterator[Running]:
    """A gateway whose model `m` tries a provider of each type, in this order."""
    async with AsyncExitStack() as stack:
        urls = {type: (await stack.enter_async_context(Simulator(type=type))).url for type in types}
        rows = "\n".join(f"  {type}: {{type: {type}, base_url: '{url}', api_key: k}}" for type, url in urls.items())
        targets = ", ".join(f"{{provider: {type}, model: {type}-1}}" for type in types)
        text = f"""
providers:
{rows}
models: {{m: {{strategy: ordered, targets: [{targets}]{model}}}}}
keys: [{{name: tester, key: {KEY}, priority: high}}]
{extra}
"""
        yield await stack.enter_async_context(gateway(text))


def asking(*content: Json, **more: object) -> Json:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}, *content]}],
        **more,
    }


async def test_what_a_provider_cannot_express_is_named() -> None:
    async with in_front_of("anthropic") as running:
        answer = await running.client.post("/v1/chat/completions", json=asking(seed=7, logit_bias={"1": 2}))
    assert answer.json()["choices"][0]["message"]["content"] == "You said: hello"
    assert answer.headers["x-gateway-dropped-params"] == "logit_bias, seed"


@pytest.mark.parametrize("place", ["extra", "model"])
async def test_it_is_refused_where_the_configuration_says_so(place: str) -> None:
    where = {"extra": "defaults: {unsupported: error}"} if place == "extra" else {"model": ", unsupported: error"}
    async with in_front_of("anthropic", **where) as running:
        answer = await running.client.post("/v1/chat/completions", json=asking(seed=7))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "seed"
    assert [entry.outcome for entry in running.entries] == ["client_error"]


async def test_another_target_may_take_what_the_first_cannot() -> None:
    async with in_front_of("anthropic", "gemini") as running:
        answer = await running.client.post("/v1/chat/completions", json=asking(SOUND))
    assert answer.headers["x-gateway-provider"] == "gemini"
    assert [tried.outcome for tried in running.entries[0].tried] == ["unsupported", "ok"]


async def test_what_no_target_takes_is_a_bad_request_that_names_the_place() -> None:
    async with in_front_of("anthropic", "cohere") as running:
        answer = await running.client.post("/v1/chat/completions", json=asking(SOUND))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].content[1]"


@pytest.mark.parametrize("url", ["https://127.0.0.1/x.png", "https://metadata.google.internal/", "http://10.0.0.1/x"])
async def test_a_link_that_leads_inside_is_never_followed(url: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": url}}
    async with in_front_of("gemini") as running:
        answer = await running.client.post("/v1/chat/completions", json=asking(picture))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].content[1]"
    assert running.entries[0].tried == []


async def test_a_stream_counts_what_the_provider_counts() -> None:
    async with in_front_of("anthropic") as running:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        answer = await running.client.post("/v1/chat/completions", json=asking(**options))
    *_, counted, stop = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert stop == "[DONE]"
    told, (entry,) = orjson.loads(counted)["usage"], running.entries
    assert entry.usage is not None
    assert entry.usage_source == "reported"
    assert (told["prompt_tokens"], told["completion_tokens"]) == (entry.usage.input, entry.usage.output)


async def test_without_any_credentials_bedrock_is_not_asked_and_the_log_says_where_they_were_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_aws(monkeypatch, tmp_path)
    text = f"""
providers: {{aws: {{type: bedrock, region: us-east-1, endpoint_url: 'http://127.0.0.1:1'}}}}
models: {{m: {{targets: [{{provider: aws, model: amazon.nova-lite-v1:0}}]}}}}
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""
    async with gateway(text) as running:
        answer = await running.client.post("/v1/chat/completions", json=asking())
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_error")
    assert b"shared-credentials-file" in running.log
