"""The simulated Mistral, as its own SDK finds it."""

from __future__ import annotations

import re
import warnings
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import read
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

with warnings.catch_warnings():
    # The SDK's models shadow names of pydantic's, of which that warns when they are imported.
    warnings.simplefilter("ignore")
    from mistralai.client import Mistral
    from mistralai.client.errors import SDKError

HI: Any = [{"role": "user", "content": "hi"}]
CITY: Json = {"type": "object", "properties": {"city": {"const": "Zürich"}}}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}},
]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(type="mistral", api_key="right") as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(verify=PLAIN) as http:
        options: Any = {"api_key": "right", "server_url": simulator.origin, "async_client": http}
        async with Mistral(**options) as connected:
            yield connected


async def ask(client: Any, messages: Any = HI, **fields: Any) -> Any:
    return await client.chat.complete_async(model="mistral", messages=messages, **fields)


async def stream(client: Any, **fields: Any) -> list[Any]:
    told = await client.chat.stream_async(model="mistral", messages=HI, **fields)
    async with told as events:
        return [event.data async for event in events]


def parts(content: Any) -> list[tuple[str, str]]:
    """What is said, and whether it is thought."""
    if not isinstance(content, list):
        return [("text", content)] if content else []
    return [
        ("text", part.text) if part.type == "text" else ("thought", "".join(inner.text for inner in part.thinking))
        for part in content
    ]


def joined(said: list[tuple[str, str]]) -> dict[str, str]:
    return {kind: "".join(text for other, text in said if other == kind) for kind, _ in said}


# Answers


async def test_a_whole_answer_says_it_back(client: Any, simulator: Simulator) -> None:
    answer = await ask(client)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("You said: hi", "stop")
    assert answer.id == simulator.served[0].id
    assert answer.usage.completion_tokens == simulator.served[0].completion_tokens == 3


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": TOOLS}, {"reasoning_effort": "high"}, {"max_tokens": 2}, {"stop": " said"}],
    ids=["text", "tools", "thought", "limit", "stop"],
)
async def test_a_stream_gathers_to_the_whole_answer(client: Any, fields: Json) -> None:
    choice, chunks = (await ask(client, **fields)).choices[0], await stream(client, **fields)
    said = [part for chunk in chunks for part in parts(chunk.choices[0].delta.content)]
    assert joined(said) == joined(parts(choice.message.content))
    assert chunks[-1].choices[0].finish_reason == choice.finish_reason
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.function for call in calls] == [call.function for call in choice.message.tool_calls or []]


async def test_the_last_chunk_has_the_calls_the_reason_and_the_usage(client: Any) -> None:
    *others, last = await stream(client, tools=TOOLS)
    assert len(last.choices[0].delta.tool_calls) == 2
    assert (last.choices[0].finish_reason, last.usage.total_tokens > 0) == ("tool_calls", True)
    assert [chunk.usage for chunk in others] == [None]


async def test_results_are_quoted_and_ids_have_nine_letters(client: Any) -> None:
    message = (await ask(client, tools=TOOLS)).choices[0].message
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", call.id) for call in message.tool_calls)
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in message.tool_calls]
    answer = await ask(client, [*HI, message, *results], tools=TOOLS)
    assert answer.choices[0].message.content == "The tools answered: weather; time"


async def test_json_follows_its_schema(client: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    assert (await ask(client, response_format=wanted)).choices[0].message.content == '{"city":"Zürich"}'


async def test_images_are_counted(client: Any) -> None:
    content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": "https://example.com/cat.jpg"}]
    answer = await ask(client, [{"role": "user", "content": content}])
    assert answer.choices[0].message.content == "You said: what? (1 image)"


async def test_embeddings_have_the_size_that_is_asked_for(client: Any) -> None:
    answer = await client.embeddings.create_async(model="mistral-embed", inputs=["one", "two"], output_dimension=8)
    assert [len(each.embedding) for each in answer.data] == [8, 8]


async def test_models_are_listed(client: Any) -> None:
    listed = await client.models.list_async()
    assert [model.id for model in listed.data] == ["mistral-large-latest", "mistral-small-latest", "mistral-embed"]


# Errors


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("400", 400),
        ("401", 401),
        ("404", 404),
        ("429", 429),
        ("500", 500),
        ("503", 503),
        ("insufficient-quota", 402),
        ("context-length", 400),
        ("content-filter", 403),
    ],
)
async def test_errors_are_what_the_sdk_takes_them_for(
    simulator: Simulator, client: Any, fault: str, status: int
) -> None:
    simulator.faults = read(fail=[fault])
    with pytest.raises(SDKError) as error:
        await ask(client)
    assert error.value.status_code == status


async def post(simulator: Simulator, fields: Json, key: str = "right") -> httpx.Response:
    body, headers = {"model": "m", "messages": HI, **fields}, {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(verify=PLAIN) as plain:
        return await plain.post(f"{simulator.url}/chat/completions", json=body, headers=headers)


@pytest.mark.parametrize(("key", "words"), [("", "Unauthorized"), ("wrong", "Invalid API Key")])
async def test_only_the_right_key_is_let_in(simulator: Simulator, key: str, words: str) -> None:
    answer = await post(simulator, {}, key)
    assert (answer.status_code, answer.json()) == (401, {"detail": words})


def called(id: str, name: str = "f") -> list[Json]:
    call = {"id": id, "function": {"name": name, "arguments": "{}"}}
    return [*HI, {"role": "assistant", "content": "", "tool_calls": [call]}]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "Expected last role User or Tool"),
        ([*HI, {"role": "assistant", "content": "x"}], "but got assistant"),
        ([*HI, {"role": "assistant", "content": ""}, *HI], "must have either content or tool_calls"),
        (
            [*HI, {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}],
            "Unexpected role 'tool' after role 'user'",
        ),
        ([*called("call_1"), {"role": "tool", "tool_call_id": "call_1", "content": "x"}], "with a length of 9"),
        ([*called("abcdefghi", "a b"), {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}], "Function name"),
        ([*called("abcdefghi"), *HI], "Not the same number of function calls and responses"),
    ],
)
async def test_conversations_that_make_no_sense_are_refused(
    simulator: Simulator, messages: list[Json], words: str
) -> None:
    answer = await post(simulator, {"messages": messages})
    assert (answer.status_code, answer.json()["object"]) == (400, "error")
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    ("fields", "kind", "loc"),
    [
        ({"messages": None}, "missing", ["body", "messages"]),
        ({"stream_options": {}}, "extra_forbidden", ["body", "stream_options"]),
        ({"max_tokens": "3"}, "int_type", ["body", "max_tokens"]),
        ({"messages": [{"role": "developer", "content": "x"}]}, "union_tag_invalid", ["body", "messages", 0, "role"]),
    ],
)
async def test_fields_that_are_wrong_are_named(simulator: Simulator, fields: Json, kind: str, loc: list[Any]) -> None:
    answer = await post(simulator, fields)
    (detail,) = answer.json()["message"]["detail"]
    assert (answer.status_code, detail["type"], detail["loc"]) == (422, kind, loc)
