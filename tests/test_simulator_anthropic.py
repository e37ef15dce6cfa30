"""The simulated Anthropic, as its own SDK finds it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic as sdk
import httpx
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import read
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"const": "Zürich"}}}},
    {"name": "time", "input_schema": {"type": "object"}},
]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(type="anthropic", api_key="sk-ant-right") as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[sdk.AsyncAnthropic]:
    http = sdk.DefaultAsyncHttpxClient(verify=PLAIN)
    async with sdk.AsyncAnthropic(
        base_url=simulator.origin, api_key="sk-ant-right", max_retries=0, http_client=http
    ) as connected:
        yield connected


async def ask(client: sdk.AsyncAnthropic, messages: Any = HI, **fields: Any) -> Any:
    return await client.messages.create(**{"model": "claude", "max_tokens": 4000, "messages": messages, **fields})


async def stream(client: sdk.AsyncAnthropic, messages: Any = HI, **fields: Any) -> Any:
    fields = {"model": "claude", "max_tokens": 4000, "messages": messages, **fields}
    async with client.messages.stream(**fields) as streamed:
        return await streamed.get_final_message()


# Answers


async def test_a_whole_answer_says_it_back(client: sdk.AsyncAnthropic, simulator: Simulator) -> None:
    answer = await ask(client)
    assert (answer.content[0].text, answer.stop_reason) == ("You said: hi", "end_turn")
    assert simulator.served[0].id == answer.id
    assert simulator.served[0].completion_tokens == answer.usage.output_tokens == 3


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": TOOLS},
        {"thinking": THINKING},
        {"thinking": THINKING, "tools": TOOLS},
        {"max_tokens": 2},
        {"stop_sequences": [" said"]},
    ],
    ids=["text", "tools", "thought", "thought and tools", "limit", "stop"],
)
async def test_a_stream_gathers_to_the_whole_answer(client: sdk.AsyncAnthropic, fields: Json) -> None:
    whole, streamed = await ask(client, **fields), await stream(client, **fields)
    for name in ("stop_reason", "stop_sequence", "model", "role"):
        assert getattr(streamed, name) == getattr(whole, name)
    assert [said(block) for block in streamed.content] == [said(block) for block in whole.content]
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def said(block: Any) -> Json:
    """What a block says; the ids of calls differ from answer to answer."""
    fields: Json = block.model_dump(exclude_none=True)
    fields.pop("parsed_output", None)
    return {name: value for name, value in fields.items() if name != "id"}


async def test_parallel_calls_have_native_ids_and_arguments(client: sdk.AsyncAnthropic) -> None:
    answer = await ask(client, tools=TOOLS)
    assert [(block.name, block.input) for block in answer.content] == [("weather", {"city": "Zürich"}), ("time", {})]
    assert all(block.id.startswith("toolu_01") and len(block.id) == 30 for block in answer.content)
    assert answer.stop_reason == "tool_use"


async def test_results_are_quoted_and_thought_is_wanted_back_unchanged(client: sdk.AsyncAnthropic) -> None:
    first = await ask(client, tools=TOOLS[:1], thinking=THINKING)
    thought, call = (block.model_dump(exclude_none=True) for block in first.content)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}

    def talk(*own: Json) -> Any:
        return [*HI, {"role": "assistant", "content": [*own, call]}, {"role": "user", "content": [result]}]

    answer = await ask(client, talk(thought), tools=TOOLS[:1], thinking=THINKING)
    assert answer.content[-1].text == "The tools answered: sunny"
    with pytest.raises(sdk.BadRequestError, match="Invalid `signature` in `thinking` block"):
        await ask(client, talk({**thought, "thinking": "another"}), tools=TOOLS[:1], thinking=THINKING)
    with pytest.raises(sdk.BadRequestError, match="must start with a thinking block"):
        await ask(client, talk(), tools=TOOLS[:1], thinking=THINKING)


async def test_json_follows_its_schema(client: sdk.AsyncAnthropic) -> None:
    wanted = {"format": {"type": "json_schema", "schema": TOOLS[0]["input_schema"]}}
    assert (await ask(client, output_config=wanted)).content[0].text == '{"city":"Zürich"}'


async def test_images_are_counted(client: sdk.AsyncAnthropic) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    answer = await ask(client, [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}])
    assert answer.content[0].text == "You said: what? (1 image)"


async def test_documents_are_quoted_with_their_place(client: sdk.AsyncAnthropic) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Ruby is red. Rust is not."}
    document = {"type": "document", "title": "facts", "source": source, "citations": {"enabled": True}}
    talk = [{"role": "user", "content": [document, {"type": "text", "text": "which?"}]}]
    whole, streamed = await ask(client, talk), await stream(client, talk)
    assert [block.text for block in whole.content] == ["You said: which? It says: ", "Ruby is red."]
    (citation,) = whole.content[1].citations
    assert (citation.cited_text, citation.document_title, citation.end_char_index) == ("Ruby is red.", "facts", 12)
    assert [said(block) for block in streamed.content] == [said(block) for block in whole.content]


async def test_what_is_cached_is_counted_apart_from_the_input(client: sdk.AsyncAnthropic) -> None:
    marked = [{"type": "text", "text": "be brief and kind", "cache_control": {"type": "ephemeral"}}]
    usage = (await ask(client, system=marked)).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (1, 4)


async def test_a_stream_looks_like_a_recorded_one(simulator: Simulator) -> None:
    body = {"model": "claude", "max_tokens": 9, "messages": HI, "stream": True}
    headers = {"x-api-key": "sk-ant-right", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(verify=PLAIN) as client:
        answer = await client.post(f"{simulator.url}/messages", json=body, headers=headers)
    events = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events[:3] == ["message_start", "content_block_start", "ping"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert any(line.endswith("  }") for line in answer.text.splitlines())
    assert "anthropic-ratelimit-input-tokens-remaining" in answer.headers


async def test_models_are_listed_and_found(client: sdk.AsyncAnthropic) -> None:
    names = [model.id async for model in client.models.list()]
    assert names == ["claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"]
    assert (await client.models.retrieve(names[0])).id == names[0]
    with pytest.raises(sdk.NotFoundError):
        await client.models.retrieve("claude-1")


# Errors


async def test_only_the_right_key_is_let_in(simulator: Simulator) -> None:
    async with sdk.AsyncAnthropic(base_url=simulator.origin, api_key="sk-ant-wrong", max_retries=0) as stranger:
        with pytest.raises(sdk.AuthenticationError, match="invalid x-api-key"):
            await ask(stranger)
    async with httpx.AsyncClient(base_url=simulator.url, verify=PLAIN) as plain:
        assert (await plain.get("/models")).json()["error"]["message"] == "x-api-key header is required"
        no_version = await plain.get("/models", headers={"x-api-key": "sk-ant-right"})
    assert no_version.json()["error"]["message"] == "anthropic-version: header is required"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("400", sdk.BadRequestError),
        ("401", sdk.AuthenticationError),
        ("403", sdk.PermissionDeniedError),
        ("404", sdk.NotFoundError),
        ("429", sdk.RateLimitError),
        ("500", sdk.InternalServerError),
        ("529", sdk.InternalServerError),
        ("insufficient-quota", sdk.BadRequestError),
        ("context-length", sdk.BadRequestError),
        ("content-filter", sdk.BadRequestError),
    ],
)
async def test_errors_are_what_the_sdk_takes_them_for(
    simulator: Simulator, client: sdk.AsyncAnthropic, fault: str, kind: type[sdk.APIStatusError]
) -> None:
    simulator.faults = read(fail=[fault])
    with pytest.raises(kind) as error:
        await ask(client)
    assert isinstance(error.value.body, dict)
    assert error.value.body["type"] == "error"
    assert error.value.request_id == error.value.body["request_id"]


async def test_a_rate_limit_says_when_to_come_back(simulator: Simulator, client: sdk.AsyncAnthropic) -> None:
    with pytest.raises(sdk.RateLimitError) as error:
        await ask(client, extra_headers={"x-simulate-fault": "429, retry-after:7"})
    assert error.value.response.headers["retry-after"] == "7"
    assert error.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


async def test_an_error_in_a_stream_is_raised(client: sdk.AsyncAnthropic) -> None:
    with pytest.raises(sdk.APIStatusError, match="Overloaded"):
        await stream(client, extra_headers={"x-simulate-fault": "error-in-stream"})


CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}


def own(*blocks: Json) -> Json:
    return {"role": "assistant", "content": [*blocks]}


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": [*blocks]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "system", "content": "x"}, *HI]}, "top-level `system` parameter"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "user", "content": ""}]}, "all messages must have non-empty content"),
        ({"messages": [user({"type": "text", "text": ""})]}, "text content blocks must be non-empty"),
        ({"messages": [*HI, {"role": "assistant", "content": "so "}]}, "cannot end with trailing whitespace"),
        ({"messages": [user({"type": "image_url", "image_url": {}})]}, "Input tag 'image_url' found using 'type'"),
        ({"messages": [*HI, own(CALL), *HI]}, "messages.1: `tool_use` ids were found without `tool_result` blocks"),
        ({"messages": [user(RESULT)]}, "messages.0.content.0: unexpected `tool_use_id` found in `tool_result`"),
        ({"messages": [*HI, own({**CALL, "id": "a b"}), user(RESULT)]}, "String should match pattern"),
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools.0.custom.name: String should match"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools: Tool names must be unique."),
        ({"tool_choice": {"type": "tool", "name": "x"}, "tools": TOOLS}, "Tool 'x' not found in provided tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "`max_tokens` must be greater than"),
        ({"thinking": THINKING, "tools": TOOLS, "tool_choice": {"type": "any"}}, "Thinking may not be enabled when"),
    ],
)
async def test_what_the_api_refuses_is_refused_in_its_words(simulator: Simulator, fields: Json, words: str) -> None:
    body = {"model": "claude", "max_tokens": 4000, "messages": HI, **fields}
    headers = {"x-api-key": "sk-ant-right", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(verify=PLAIN) as client:
        answer = await client.post(f"{simulator.url}/messages", json=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"]
