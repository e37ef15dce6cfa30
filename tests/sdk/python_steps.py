"""What the scenarios of the Python SDK are made of, and what runs them.

They ask as people do, who do not declare the types of what they send. Like them, this imports nothing that does not
come with the SDK.
"""

from __future__ import annotations

import asyncio
import inspect
import json  # noqa: TID251  orjson does not come with the SDK
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

Scenario = Callable[[Any], Any]
"""Takes a client, an async one if it is an async function. Raises when what the SDK returned is not as it should be."""

TEXT = "one two three four five six seven eight nine ten"
ANSWER = f"You said: {TEXT}"
"""What the simulator answers to that."""

PATIENCE = 20.0
"""Seconds for one request."""


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def ask(client: OpenAI, content: Any = TEXT, *, model: str = "gpt-4o", **options: Any) -> Any:
    return client.chat.completions.create(model=model, messages=user(content), **options)


def gathering(client: OpenAI, **options: Any) -> Any:
    return client.chat.completions.stream(model="gpt-4o", messages=user(TEXT), **options)


def spoken(chunks: Iterable[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def same(given: object, wanted: object) -> None:
    if given != wanted:
        raise AssertionError(f"{given!r:.300} is not {wanted!r:.300}")


def adds_up(usage: Any) -> None:
    same(usage.prompt_tokens > 0 and usage.completion_tokens > 0, True)
    same(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)


def failure(kind: type[openai.APIError], call: Callable[[], object]) -> Any:
    """The error of exactly this kind that the call raises."""
    try:
        call()
    except openai.APIError as error:
        if type(error) is kind:
            return error
        raise
    raise AssertionError(f"no {kind.__name__} was raised")


def scenarios(names: Mapping[str, Any]) -> dict[str, Scenario]:
    """Those of a module: its functions that take a client and nothing else, by their names with spaces."""
    functions = [value for value in names.values() if inspect.isfunction(value)]
    taking_a_client = [each for each in functions if [*inspect.signature(each).parameters] == ["client"]]
    return {each.__name__.replace("_", " "): each for each in taking_a_client}


def tell(tried: Mapping[str, Scenario], base_url: str, api_key: str) -> None:
    """Prints a line of JSON for each scenario: its name, whether it went well, and if not, why."""
    for name, each in tried.items():
        problem = _problem(each, base_url=base_url, api_key=api_key, max_retries=0, timeout=PATIENCE)
        print(json.dumps({"name": name, "ok": not problem, "detail": problem}), flush=True)  # noqa: T201


def _problem(tried: Scenario, **options: Any) -> str:
    # Each has a client of its own: a stream that a failed one leaves behind can block httpcore's pool for good.
    try:
        if inspect.iscoroutinefunction(tried):
            asyncio.run(_with_async_client(tried, **options))
        else:
            with OpenAI(**options) as client:
                tried(client)
    except Exception:
        return traceback.format_exc()[-2000:]
    return ""


async def _with_async_client(tried: Scenario, **options: Any) -> None:
    async with AsyncOpenAI(**options) as client:
        await tried(client)
