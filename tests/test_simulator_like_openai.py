"""The simulated servers whose grammar is OpenAI's: Azure, Ollama, vLLM, and the plain one for all other vendors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai as sdk
import orjson
import pytest

from gateway.config.vendor_table import VENDORS
from gateway.core.call import Json
from gateway.simulator.api import GRAMMARS
from gateway.simulator.faults import read
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"const": "Zürich"}}}},
    },
    {"type": "function", "function": {"name": "time"}},
]
TYPES = ("azure", "ollama", "openai", "openai_compatible", "vllm")
ERRORS: Json = {
    "400": sdk.BadRequestError,
    "401": sdk.AuthenticationError,
    "403": sdk.PermissionDeniedError,
    "404": sdk.NotFoundError,
    "429": sdk.RateLimitError,
    "500": sdk.InternalServerError,
    "503": sdk.InternalServerError,
    "insufficient-quota": sdk.RateLimitError,
    "context-length": sdk.BadRequestError,
    "content-filter": sdk.BadRequestError,
}


@asynccontextmanager
async def playing(type: str, **options: Any) -> AsyncIterator[tuple[Simulator, sdk.AsyncOpenAI]]:
    """A simulator, and the official client for it."""
    async with Simulator(type=type, **options) as simulator:
        client = connect(simulator, type, options.get("api_key", "any"))
        yield simulator, client
        await client.close()


def connect(simulator: Simulator, type: str, key: str) -> sdk.AsyncOpenAI:
    options: Any = {"api_key": key, "max_retries": 0, "http_client": sdk.DefaultAsyncHttpxClient(verify=PLAIN)}
    if type == "azure":
        return sdk.AsyncAzureOpenAI(azure_endpoint=simulator.origin, api_version="2024-10-21", **options)
    return sdk.AsyncOpenAI(base_url=simulator.url, **options)


async def ask(client: sdk.AsyncOpenAI, messages: Any = HI, **fields: Any) -> Any:
    return await client.chat.completions.create(model="gpt-4o", messages=messages, **fields)


def gathered(chunks: list[Any]) -> Json:
    """What a stream says, put together."""
    told: Json = {"text": "", "thought": "", "calls": {}, "finish": None}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        told["text"] += choice.delta.content or ""
        told["thought"] += thought(choice.delta) or ""
        told["finish"] = choice.finish_reason or told["finish"]
        for call in choice.delta.tool_calls or ():
            known = told["calls"].setdefault(call.index, ["", ""])
            known[0] += call.function.name or ""
            known[1] += call.function.arguments or ""
    return {**told, "calls": list(told["calls"].values())}


def thought(message: Any) -> str | None:
    extra = message.model_extra or {}
    return extra.get("reasoning") or extra.get("reasoning_content")


def said(answer: Any) -> Json:
    """The same of a whole answer."""
    choice = answer.choices[0]
    calls = [[call.function.name, call.function.arguments] for call in choice.message.tool_calls or ()]
    return {
        "text": choice.message.content or "",
        "thought": thought(choice.message) or "",
        "calls": calls,
        "finish": choice.finish_reason,
    }


# What all of them do


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": TOOLS}, {"max_tokens": 2}, {"reasoning_effort": "high"}],
    ids=["text", "tools", "limit", "thought"],
)
async def test_a_stream_gathers_to_the_whole_answer(type: str, fields: Json) -> None:
    async with playing(type) as (simulator, client):
        whole = await ask(client, **fields)
        chunks = [chunk async for chunk in await ask(client, stream=True, **fields)]
        assert gathered(chunks) == said(whole)
        assert [served.completion_tokens for served in simulator.served] == [whole.usage.completion_tokens] * 2
        if type in ("ollama", "vllm", "openai_compatible"):
            assert bool(said(whole)["thought"]) == ("reasoning_effort" in fields)


@pytest.mark.parametrize("type", TYPES)
async def test_results_are_quoted(type: str) -> None:
    async with playing(type) as (_, client):
        message = (await ask(client, tools=TOOLS)).choices[0].message
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in message.tool_calls
        ]
        answer = await ask(client, [*HI, message, *results], tools=TOOLS)
        assert answer.choices[0].message.content == "The tools answered: weather; time"


@pytest.mark.parametrize("type", TYPES)
async def test_embeddings_and_models_are_served(type: str) -> None:
    async with playing(type) as (simulator, client):
        answer = await client.embeddings.create(model="m", input=["one", "two words"], dimensions=8)
        assert [len(each.embedding) for each in answer.data] == [8, 8]
        assert answer.usage.prompt_tokens == 3
        listed = [model.id async for model in client.models.list()]
        assert listed == list(simulator.account.models)


async def test_embeddings_are_the_same_in_either_encoding() -> None:
    async with playing("openai") as (_, client):
        plain = await client.embeddings.create(model="m", input="x", dimensions=8, encoding_format="float")
        packed = await client.embeddings.create(model="m", input="x", dimensions=8)
    assert packed.data[0].embedding == plain.data[0].embedding
    assert abs(sum(number**2 for number in plain.data[0].embedding) - 1) < 1e-6


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("fault", ERRORS)
async def test_errors_are_what_the_sdk_takes_them_for(type: str, fault: str) -> None:
    async with playing(type, faults=read(fail=[fault])) as (_, client):
        with pytest.raises(ERRORS[fault]):
            await ask(client)


@pytest.mark.parametrize("type", TYPES)
async def test_a_wrong_key_is_refused(type: str) -> None:
    async with playing(type, api_key="right") as (simulator, client), connect(simulator, type, "wrong") as stranger:
        assert (await ask(client)).choices
        with pytest.raises(sdk.AuthenticationError):
            await ask(stranger)


@pytest.mark.parametrize("type", TYPES)
async def test_an_error_in_a_stream_is_raised(type: str) -> None:
    async with playing(type, faults=read(fail=["error-in-stream"])) as (_, client):
        with pytest.raises(sdk.APIError):
            assert [chunk async for chunk in await ask(client, stream=True)]


def test_every_vendor_of_openais_grammar_can_be_played() -> None:
    wanted = {name for name, vendor in VENDORS.items() if vendor.dialect == "openai_chat" and not vendor.in_process}
    assert wanted <= set(GRAMMARS)
    assert set(GRAMMARS) - wanted <= {"anthropic", "bedrock", "cohere", "gemini", "mistral"}


# What one of them does


async def post(simulator: Simulator, path: str, body: Json, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=PLAIN) as plain:
        return await plain.post(simulator.origin + path, json=body, headers=headers)


AZURE = "/openai/deployments/mine/chat/completions?api-version=2024-10-21"


async def test_azure_tells_first_what_its_filters_found() -> None:
    async with Simulator(type="azure") as simulator:
        answer = await post(simulator, AZURE, {"messages": HI, "stream": True}, **{"api-key": "any"})
        first = orjson.loads(answer.content.split(b"\n\n")[0].removeprefix(b"data: "))
        assert (first["choices"], first["id"], "prompt_filter_results" in first) == ([], "", True)
        assert simulator.served[0].model == "mine"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (AZURE, {}, 401),
        (AZURE, {"api-key": "k"}, 200),
        (AZURE, {"authorization": "Bearer k"}, 200),
        (AZURE.partition("?")[0], {"api-key": "k"}, 404),
        ("/v1/chat/completions", {"api-key": "k"}, 404),
        ("/openai/v1/chat/completions", {"api-key": "k"}, 200),
    ],
)
async def test_azure_wants_its_key_its_path_and_its_version(path: str, headers: dict[str, str], status: int) -> None:
    async with Simulator(type="azure") as simulator:
        assert (await post(simulator, path, {"model": "m", "messages": HI}, **headers)).status_code == status


async def test_azures_filter_says_what_it_found() -> None:
    async with Simulator(read(fail=["content-filter"]), type="azure") as simulator:
        error = (await post(simulator, AZURE, {"messages": HI}, **{"api-key": "any"})).json()["error"]
    assert error["innererror"]["content_filter_result"]["hate"] == {"filtered": True, "severity": "high"}


async def test_ollama_repeats_the_role_and_calls_in_one_chunk() -> None:
    async with playing("ollama") as (_, client):
        chunks = [chunk async for chunk in await ask(client, tools=TOOLS, stream=True)]
    assert {chunk.choices[0].delta.role for chunk in chunks} == {"assistant"}
    calls = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert [call.function.arguments for call in calls] == ['{"city":"Zürich"}', "{}"]


async def test_ollama_lists_what_is_on_the_machine() -> None:
    async with Simulator(type="ollama") as simulator, httpx.AsyncClient(verify=PLAIN) as plain:
        listed = (await plain.get(f"{simulator.origin}/api/tags")).json()["models"]
    assert [model["name"] for model in listed] == ["qwen3:latest", "llama3.2:latest"]


async def test_vllm_starts_a_call_without_arguments() -> None:
    async with playing("vllm") as (_, client):
        chunks = [chunk async for chunk in await ask(client, tools=TOOLS[:1], stream=True)]
    first = next(chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls)
    assert (first.id.startswith("chatcmpl-tool-"), first.function.arguments) == (True, None)


async def test_vllms_error_codes_are_numbers() -> None:
    async with Simulator(type="vllm") as simulator:
        answer = await post(simulator, "/v1/chat/completions", {"model": "m", "messages": []})
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("BadRequestError", 400)
