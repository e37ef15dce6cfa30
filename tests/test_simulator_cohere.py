"""The simulated Cohere, as its own SDK finds it."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import read
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

with warnings.catch_warnings():
    # The SDK defines models in ways that pydantic warns of, when it is imported.
    warnings.simplefilter("ignore")
    import cohere as sdk
    from cohere.core.api_error import ApiError

HI: Any = [{"role": "user", "content": "hi"}]
CITY: Json = {"type": "object", "properties": {"city": {"const": "Zürich"}}}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}},
]
THINKING: Any = {"type": "enabled"}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(type="cohere", api_key="co-right") as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(verify=PLAIN) as http:
        yield sdk.AsyncClientV2(api_key="co-right", base_url=simulator.origin, httpx_client=http)


async def ask(client: Any, messages: Any = HI, **fields: Any) -> Any:
    options = {"max_retries": 0, **fields.pop("options", {})}
    return await client.chat(**{"model": "command", "messages": messages, "request_options": options, **fields})


async def stream(client: Any, **fields: Any) -> list[Any]:
    told = client.chat_stream(**{"model": "command", "messages": HI, **fields})
    return [event async for event in told]


def gathered(events: list[Any]) -> Json:
    """The message that a stream tells of."""
    text, thought, calls = "", "", []
    for event in events:
        if event.type == "content-delta":
            text += event.delta.message.content.text or ""
            thought += event.delta.message.content.thinking or ""
        if event.type == "tool-call-start":
            calls.append([event.delta.message.tool_calls.function.name, ""])
        if event.type == "tool-call-delta":
            calls[event.index][1] += event.delta.message.tool_calls.function.arguments
    return {"text": text, "thought": thought, "calls": calls}


def said(message: Any) -> Json:
    """The same of a whole answer."""
    content = message.content or []
    return {
        "text": "".join(part.text for part in content if part.type == "text"),
        "thought": "".join(part.thinking for part in content if part.type == "thinking"),
        "calls": [[call.function.name, call.function.arguments] for call in message.tool_calls or []],
    }


# Answers


async def test_a_whole_answer_says_it_back(client: Any, simulator: Simulator) -> None:
    answer = await ask(client)
    assert (said(answer.message)["text"], answer.finish_reason) == ("You said: hi", "COMPLETE")
    assert answer.id == simulator.served[0].id
    assert answer.usage.billed_units.output_tokens == simulator.served[0].completion_tokens == 3
    assert answer.usage.billed_units.input_tokens < answer.usage.tokens.input_tokens
    assert answer.usage.tokens.input_tokens == simulator.served[0].prompt_tokens


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": TOOLS}, {"thinking": THINKING}, {"max_tokens": 2}, {"stop_sequences": [" said"]}],
    ids=["text", "tools", "thought", "limit", "stop"],
)
async def test_a_stream_gathers_to_the_whole_answer(client: Any, fields: Json) -> None:
    whole, events = await ask(client, **fields), await stream(client, **fields)
    assert gathered(events) == said(whole.message)
    assert events[-1].delta.finish_reason == whole.finish_reason
    assert events[-1].delta.usage == whole.usage


async def test_calls_have_a_plan_and_native_ids_and_no_content(client: Any) -> None:
    message = (await ask(client, tools=TOOLS)).message
    assert (message.content, bool(message.tool_plan)) == (None, True)
    assert [call.id[:-12] for call in message.tool_calls] == ["weather_", "time_"]


async def test_results_are_quoted_with_their_source(client: Any) -> None:
    message = (await ask(client, tools=TOOLS)).message
    found = [{"type": "document", "document": {"data": {"output": call.function.name}}} for call in message.tool_calls]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": [document]}
        for call, document in zip(message.tool_calls, found, strict=True)
    ]
    answer = (await ask(client, [*HI, message, *results], tools=TOOLS)).message
    text = answer.content[0].text
    assert text == "The tools answered: weather; time"
    assert [text[citation.start : citation.end] for citation in answer.citations] == ["weather", "time"]
    assert [citation.sources[0].id for citation in answer.citations] == [f"{call.id}:0" for call in message.tool_calls]


async def test_citations_are_streamed_inside_their_content(client: Any) -> None:
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = [*HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "f_1", "content": "sun"}]
    kinds = [event.type for event in await stream(client, messages=talk)]
    assert kinds[-4:] == ["citation-start", "citation-end", "content-end", "message-end"]


async def test_json_follows_its_schema(client: Any) -> None:
    answer = await ask(client, response_format={"type": "json_object", "json_schema": CITY})
    assert answer.message.content[0].text == '{"city":"Zürich"}'


async def test_embeddings_are_by_type(client: Any) -> None:
    answer = await client.embed(
        model="embed-v4.0",
        texts=["one", "two"],
        input_type="search_query",
        embedding_types=["float"],
        output_dimension=8,
    )
    assert [len(vector) for vector in answer.embeddings.float_] == [8, 8]


async def test_models_are_listed_and_found(client: Any) -> None:
    assert "command-a-03-2025" in [model.name for model in (await client.models.list()).models]
    assert (await client.models.get("command-a-03-2025")).endpoints == ["chat"]


async def test_a_stream_ends_with_done_that_has_no_name(simulator: Simulator) -> None:
    body, headers = {"model": "m", "messages": HI, "stream": True}, {"authorization": "Bearer co-right"}
    async with httpx.AsyncClient(verify=PLAIN) as plain:
        answer = await plain.post(f"{simulator.url}/chat", json=body, headers=headers)
    frames = answer.content.split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    opening = orjson.loads(frames[0].partition(b"data: ")[2])["delta"]["message"]
    assert (opening["content"], opening["tool_calls"], opening["citations"]) == ([], [], [])


# Errors


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("400", 400),
        ("401", 401),
        ("402", 402),
        ("404", 404),
        ("429", 429),
        ("500", 500),
        ("503", 503),
        ("insufficient-quota", 429),
        ("context-length", 400),
        ("content-filter", 400),
    ],
)
async def test_errors_are_flat(simulator: Simulator, client: Any, fault: str, status: int) -> None:
    simulator.faults = read(fail=[fault])
    with pytest.raises(ApiError) as error:
        await ask(client)
    assert error.value.status_code == status
    assert {"id", "message"} <= set(error.value.body)


async def test_errors_are_what_the_sdk_takes_them_for(client: Any) -> None:
    with pytest.raises(sdk.TooManyRequestsError) as error:
        await ask(client, options={"additional_headers": {"x-simulate-fault": "429, retry-after:7"}})
    assert error.value.headers is not None
    assert error.value.headers["retry-after"] == "7"


@pytest.mark.parametrize(("key", "words"), [("", "no api key supplied"), ("co-x", "Incorrect API key provided")])
async def test_only_the_right_key_is_let_in(simulator: Simulator, key: str, words: str) -> None:
    async with httpx.AsyncClient(verify=PLAIN) as plain:
        answer = await plain.get(
            f"{simulator.origin}/v1/models", headers={"authorization": f"Bearer {key}"} if key else {}
        )
    assert answer.status_code == 401
    assert words in answer.json()["message"]


async def test_an_error_in_a_stream_is_its_end(client: Any, simulator: Simulator) -> None:
    simulator.faults = read(fail=["error-in-stream"])
    events = await stream(client)
    assert events[-1].delta.finish_reason == "ERROR"


CALL: Json = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": None}, 400, "model is required"),
        ({"messages": []}, 400, "at least one message is required"),
        ({"parallel_tool_calls": True}, 422, "unknown field: parameter 'parallel_tool_calls' is not a valid field"),
        ({"messages": [{"role": "robot"}]}, 400, "messages[0].role must be one of"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "the last message must be from a user or a tool"),
        ({"messages": [{"role": "tool", "tool_call_id": "f_1", "content": "x"}]}, 400, "was not found in previous"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}, *HI]}, 400, "tool calls have no results: f_1"),
        ({"tool_choice": "auto"}, 400, "tool_choice must be REQUIRED or NONE"),
        ({"temperature": 1.5}, 400, "temperature must be between 0 and 1"),
    ],
)
async def test_what_the_api_refuses_is_refused(simulator: Simulator, fields: Json, status: int, words: str) -> None:
    body, headers = {"model": "m", "messages": HI, **fields}, {"authorization": "Bearer co-right"}
    async with httpx.AsyncClient(verify=PLAIN) as plain:
        answer = await plain.post(f"{simulator.url}/chat", json=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["message"]
