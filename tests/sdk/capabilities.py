"""What applications expect of a provider, tried from the official SDK through the gateway to the provider and back.

A capability is a coroutine that returns only if all of it works. What a type of provider cannot do is declared in
`LIMITS`, with the reason; what is worth knowing of what it can do, in `NOTES`. `provider_table` writes the document.

The providers are simulators, which answer and refuse as the real ones were seen to.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jsonschema
import openai
import orjson
from openai import AsyncOpenAI

from gateway.app.times import clock
from gateway.app.upstreams import account
from gateway.config.snapshot import Provider
from gateway.simulator.server import Simulator
from gateway.upstream.discovery import check
from tests.house.harness import KEY, gateway
from tests.sdk.providers import provider
from tests.sdk.python_scenarios import ARGUMENTS, tool
from tests.sdk.python_steps import ANSWER, PATIENCE, TEXT, adds_up, same, user

CHAT, EMBED = "chat", "embed"
"""The two models that the gateway under test publishes."""

OWN_NAMES: Mapping[str, tuple[str, str]] = {
    "openai": ("gpt-4o", "text-embedding-3-small"),
    "azure": ("my-gpt-4o", "my-embeddings"),
    "openai_compatible": ("llama-3.3-70b", "bge-m3"),
    "ollama": ("qwen3:latest", "nomic-embed-text"),
    "vllm": ("Qwen/Qwen3-8B", "BAAI/bge-m3"),
    "mistral": ("mistral-small-latest", "mistral-embed"),
    "anthropic": ("claude-sonnet-4-5-20250929", "none"),
    "gemini": ("gemini-3-flash-preview", "gemini-embedding-001"),
    "cohere": ("command-a-reasoning-08-2025", "embed-v4.0"),
    "bedrock": ("anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.titan-embed-text-v2:0"),
}
"""By type: what the provider calls a model that chats, and one that embeds."""

SEALING = frozenset({"anthropic", "bedrock", "gemini"})
"""Types that sign what a model thought before it called a tool, and want it back unchanged with the result."""

MARKING = frozenset({"anthropic", "bedrock"})
"""Types that cache what the client has marked, and nothing else."""

CONFIG = """
providers:
  tried: {provider}
models:
  chat: {{targets: [{{provider: tried, model: "{chat}"}}]}}
  embed: {{targets: [{{provider: tried, model: "{embed}"}}]}}
keys:
  - {{name: sdk, key: {key}}}
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One type of provider behind a gateway, and a client in front of it."""

    type: str
    client: AsyncOpenAI
    simulator: Simulator
    provider: Provider


Capability = Callable[[Trial], Awaitable[None]]
"""Raises AssertionError, or an error of the SDK's, where something does not work."""


async def streaming(trial: Trial) -> None:
    chunks = [
        chunk async for chunk in await _ask(trial, user(TEXT), stream=True, stream_options={"include_usage": True})
    ]
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    same(("".join(pieces), len(pieces) > 2), (ANSWER, True))
    adds_up(chunks[-1].usage)


async def tools(trial: Trial) -> None:
    await _use_tools(trial, {"get_weather": "sunny"})


async def parallel_tools(trial: Trial) -> None:
    await _use_tools(trial, {"get_weather": "sunny", "get_traffic": "quiet"})


async def images(trial: Trial) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    for message in await _both_ways(trial, user([{"type": "text", "text": "what is this?"}, picture])):
        same(message.content, "You said: what is this? (1 image)")


LONG = 2000
"""Words of a prompt that is long enough for every cache."""

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Zürich", "Bern"]},
        "days": {"type": "array", "items": {"$ref": "#/$defs/day"}},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {
        "day": {
            "type": "object",
            "properties": {"sunny": {"type": "boolean"}, "degrees": {"type": "number"}},
            "required": ["sunny", "degrees"],
            "additionalProperties": False,
        }
    },
}


async def json_schema(trial: Trial) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
    for message in await _both_ways(trial, user(TEXT), response_format=wanted):
        jsonschema.validate(orjson.loads(message.content), SCHEMA)


async def reasoning(trial: Trial) -> None:
    for message in await _both_ways(trial, user(TEXT), reasoning_effort="low"):
        assert getattr(message, "reasoning_content", ""), "no reasoning was shown"
        same(message.content, ANSWER)
    calls = await _use_tools(trial, {"get_weather": "sunny"}, reasoning_effort="low")
    for call in calls:
        same(bool(SEAL.search(_spelt(call))), trial.type in SEALING)
        if trial.type in SEALING:
            await _refused(_results(trial, _forged(call), {"get_weather": "sunny"}, reasoning_effort="low"))


async def caching(trial: Trial) -> None:
    mark = {}
    if trial.type in MARKING:
        same(await _cached(trial), 0)
        mark = {"cache_control": {"type": "ephemeral"}}
    cached = await _cached(trial, **mark)
    assert cached > LONG / 2, f"{cached} tokens came from the cache"


async def embeddings(trial: Trial) -> None:
    """In base64, which the SDK asks for by itself, and as numbers."""
    create = partial(trial.client.embeddings.create, model=EMBED, input=["one", "two"])
    found = [await create(), await create(encoding_format="float")]
    vectors = [[item.embedding for item in each.data] for each in found]
    same(vectors[0], vectors[1])
    same((len(vectors[0]), vectors[0][0] != vectors[0][1], len(vectors[0][0]) > 100), (2, True, True))
    same([each.usage.prompt_tokens > 0 for each in found], [True, True])


async def discovery(trial: Trial) -> None:
    found = await check(account(trial.provider), clock)
    same((found.reachable, found.error), (True, ""))
    same(set(trial.simulator.account.models) - set(found.models or ()), set())


CAPABILITIES: Mapping[str, Capability] = {
    "streaming": streaming,
    "tools": tools,
    "parallel tools": parallel_tools,
    "images": images,
    "JSON schema": json_schema,
    "reasoning": reasoning,
    "caching": caching,
    "embeddings": embeddings,
    "discovery": discovery,
}
"""By the heading of their column."""

_NOT_SHOWN = "Chat Completions says how many tokens were thought, and not what."

LIMITS: Mapping[tuple[str, str], str] = {
    ("openai", "reasoning"): _NOT_SHOWN,
    ("azure", "reasoning"): _NOT_SHOWN,
    ("ollama", "caching"): "Ollama does not say what it had in its cache.",
    ("vllm", "caching"): "vLLM says what it had in its cache only when started with `--enable-prompt-tokens-details`.",
    ("anthropic", "embeddings"): "Anthropic has no models that embed.",
}
"""By type and capability: why it cannot be. Whatever is not named here works."""

_SIGNED = "What was thought is signed: give a message with tool calls back whole, with its `reasoning_details`."
_MARKED = (
    "The prompt is cached up to a `cache_control` mark, on a message or on a part. Others cache long prompts unasked."
)
_FETCHED = "It takes the image itself; the gateway fetches one that is given by its https address."

NOTES: Mapping[tuple[str, str], str] = {
    ("anthropic", "reasoning"): _SIGNED,
    ("bedrock", "reasoning"): _SIGNED,
    ("gemini", "reasoning"): "Calls are signed: give a message with tool calls back whole, with their `extra_content`.",
    ("anthropic", "caching"): _MARKED,
    ("bedrock", "caching"): _MARKED,
    ("gemini", "images"): _FETCHED,
    ("bedrock", "images"): _FETCHED,
    ("gemini", "embeddings"): "Gemini does not count their tokens: the usage is estimated.",
    ("azure", "discovery"): "The list shows what can be deployed, not what is: `models: discover` is refused.",
}
"""By type and capability: what is worth knowing of it."""


async def prove(type: str) -> dict[str, str]:
    """By capability: what went wrong with it at this type of provider. Empty: nothing."""
    async with Simulator(type=type) as simulator:
        chat, embed = OWN_NAMES[type]
        text = CONFIG.format(provider=provider(type, simulator.url), chat=chat, embed=embed, key=KEY)
        async with (
            gateway(text) as running,
            AsyncOpenAI(
                base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE
            ) as client,
        ):
            trial = Trial(type, client, simulator, running.gateway.live.house.snapshot.providers["tried"])
            return {name: await _failure(capability(trial)) for name, capability in CAPABILITIES.items()}


async def _failure(tried: Awaitable[None]) -> str:
    try:
        await tried
    except (AssertionError, RuntimeError, ValueError, openai.APIError, jsonschema.ValidationError) as error:
        return str(error) or repr(error)
    return ""


# Steps


async def _ask(trial: Trial, messages: list[Any], **options: Any) -> Any:
    return await trial.client.chat.completions.create(model=CHAT, messages=messages, **options)


async def _both_ways(trial: Trial, messages: list[Any], **options: Any) -> list[Any]:
    """The message that answers, whole and as the SDK gathers it from a stream."""
    whole = await _ask(trial, messages, **options)
    async with trial.client.chat.completions.stream(model=CHAT, messages=messages, **options) as stream:
        streamed = await stream.get_final_completion()
    return [whole.choices[0].message, streamed.choices[0].message]


async def _use_tools(trial: Trial, results: Mapping[str, str], **options: Any) -> list[Any]:
    """Has each tool called once, and gives the model their results. Returns the messages with the calls."""
    calling = await _both_ways(trial, user(TEXT), tools=[tool(name) for name in results], **options)
    for message in calling:
        same([call.function.name for call in message.tool_calls or ()], [*results])
        same([orjson.loads(call.function.arguments) for call in message.tool_calls], [ARGUMENTS] * len(results))
        same(len({call.id for call in message.tool_calls}), len(results))
        for answer in await _results(trial, message.to_dict(), results, **options):
            same(answer.content, f"The tools answered: {'; '.join(results.values())}")
    return calling


async def _results(trial: Trial, calling: Any, results: Mapping[str, str], **options: Any) -> list[Any]:
    """What the model says to the results, given the message with its calls."""
    told = [
        {"role": "tool", "tool_call_id": call["id"], "content": results[call["function"]["name"]]}
        for call in calling["tool_calls"]
    ]
    return await _both_ways(trial, [*user(TEXT), calling, *told], tools=[tool(name) for name in results], **options)


SEAL = re.compile(rb'(?<=signature":")[^"]+')
"""Signatures, wherever in a message they are."""


def _spelt(message: Any) -> bytes:
    return orjson.dumps(message.to_dict())


def _forged(message: Any) -> Any:
    """The message with other signatures, to see whether the provider is given those that it gave."""
    return orjson.loads(SEAL.sub(lambda found: found[0][::-1], _spelt(message)))


async def _refused(asked: Awaitable[object]) -> None:
    try:
        await asked
    except openai.BadRequestError:
        return
    raise AssertionError("what the provider has not signed was taken")


async def _cached(trial: Trial, **mark: Any) -> int:
    """How many of a long prompt's tokens the provider says that it had in its cache."""
    system = {"role": "system", "content": [{"type": "text", "text": "word " * LONG, **mark}]}
    usage = (await _ask(trial, [system, *user(TEXT)])).usage
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else 0
    same(cached <= usage.prompt_tokens, True)
    return cached or 0
