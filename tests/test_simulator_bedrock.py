"""The simulated Bedrock, as botocore finds it: signed requests, binary streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from functools import cache
from typing import Any

import httpx
import orjson
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.simulator import eventstream
from gateway.simulator.faults import read
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

HI: Any = [{"role": "user", "content": [{"text": "hi"}]}]
CITY: Json = {"type": "object", "properties": {"city": {"const": "Zürich"}}}
TOOLS: Json = {
    "tools": [
        {"toolSpec": {"name": "weather", "inputSchema": {"json": CITY}}},
        {"toolSpec": {"name": "time", "inputSchema": {"json": {"type": "object"}}}},
    ]
}
THINKING: Json = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(type="bedrock", api_key="AKIASIMULATED", secret="right", region="us-east-1") as running:
        yield running


session = cache(Session)
"""One for all tests: it takes longer to read the service's model than to do anything with it."""


async def call(simulator: Simulator, name: str, service: str = "bedrock-runtime", **fields: Any) -> Any:
    """An operation of the SDK, in a thread because it blocks."""
    return await asyncio.to_thread(_call, simulator, name, service, {}, fields)


async def call_as(simulator: Simulator, who: Json) -> Any:
    """A conversation with someone else's credentials."""
    return await asyncio.to_thread(
        _call, simulator, "converse", "bedrock-runtime", who, {"modelId": "m", "messages": HI}
    )


def _call(simulator: Simulator, name: str, service: str, who: Json, fields: Json) -> Any:
    client: Any = session().create_client(
        service,
        endpoint_url=simulator.origin,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
        **{
            "region_name": "us-east-1",
            "aws_access_key_id": "AKIASIMULATED",
            "aws_secret_access_key": "right",
            **who,
        },
    )
    with closing(client):
        answer = getattr(client, name)(**fields)
        if "body" in answer:
            answer["body"] = orjson.loads(answer["body"].read())
        if "stream" in answer:
            with closing(answer["stream"]) as events:
                answer["stream"] = list(events)
        return answer


async def converse(simulator: Simulator, messages: Any = HI, **fields: Any) -> Any:
    return await call(simulator, "converse", modelId="anthropic.claude-v1:0", messages=messages, **fields)


async def stream(simulator: Simulator, messages: Any = HI, **fields: Any) -> list[Json]:
    told = await call(simulator, "converse_stream", modelId="anthropic.claude-v1:0", messages=messages, **fields)
    events: list[Json] = told["stream"]
    return events


def gathered(events: list[Json]) -> list[Json]:
    """The content blocks that a stream tells of."""
    blocks: dict[int, Json] = {}
    for event in events:
        if "contentBlockStart" in event:
            started = event["contentBlockStart"]
            blocks[started["contentBlockIndex"]] = {"toolUse": {**started["start"]["toolUse"], "input": ""}}
        if "contentBlockDelta" in event:
            add(blocks.setdefault(event["contentBlockDelta"]["contentBlockIndex"], {}), event["contentBlockDelta"])
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = orjson.loads(block["toolUse"]["input"])
    return [blocks[index] for index in sorted(blocks)]


def add(block: Json, event: Json) -> None:
    delta = event["delta"]
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    for name, value in delta.get("reasoningContent", {}).items():
        thought = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
        thought[name] = thought.get(name, "") + value


# Answers


async def test_a_whole_answer_says_it_back(simulator: Simulator) -> None:
    answer = await converse(simulator)
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "You said: hi"}]}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["outputTokens"] == simulator.served[0].completion_tokens == 3
    assert simulator.served[0].id in str(answer["ResponseMetadata"]["HTTPHeaders"])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"toolConfig": TOOLS},
        {"additionalModelRequestFields": THINKING, "toolConfig": TOOLS},
        {"inferenceConfig": {"maxTokens": 2}},
        {"inferenceConfig": {"stopSequences": [" said"]}},
    ],
    ids=["text", "tools", "thought and tools", "limit", "stop"],
)
async def test_a_stream_gathers_to_the_whole_answer(simulator: Simulator, fields: Json) -> None:
    whole, events = await converse(simulator, **fields), await stream(simulator, **fields)
    content = whole["output"]["message"]["content"]
    assert gathered(events) == content
    assert events[-2]["messageStop"]["stopReason"] == whole["stopReason"]
    assert events[-1]["metadata"]["usage"] == whole["usage"]


async def test_calls_have_native_ids_and_their_results_are_quoted(simulator: Simulator) -> None:
    message = (await converse(simulator, toolConfig=TOOLS))["output"]["message"]
    calls = [block["toolUse"] for block in message["content"]]
    assert [(call["name"], call["input"]) for call in calls] == [("weather", {"city": "Zürich"}), ("time", {})]
    assert all(call["toolUseId"].startswith("tooluse_") for call in calls)
    results = [{"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": call["name"]}]}} for call in calls]
    talk = [*HI, message, {"role": "user", "content": results}]
    answer = await converse(simulator, talk, toolConfig=TOOLS)
    assert answer["output"]["message"]["content"] == [{"text": "The tools answered: weather; time"}]


async def test_thought_is_wanted_back_unchanged(simulator: Simulator) -> None:
    message = (await converse(simulator, additionalModelRequestFields=THINKING))["output"]["message"]
    assert (await converse(simulator, [*HI, message, *HI]))["stopReason"] == "end_turn"
    message["content"][0]["reasoningContent"]["reasoningText"]["text"] = "another"
    with pytest.raises(ClientError, match="Invalid `signature`"):
        await converse(simulator, [*HI, message, *HI])


async def test_what_was_thought_before_calls_is_wanted_back_with_their_results(simulator: Simulator) -> None:
    asked: Json = {"toolConfig": TOOLS, "additionalModelRequestFields": THINKING}
    message = (await converse(simulator, **asked))["output"]["message"]
    results = [
        {"toolResult": {"toolUseId": block["toolUse"]["toolUseId"], "content": [{"text": "sunny"}]}}
        for block in message["content"]
        if "toolUse" in block
    ]
    answering: Json = {"role": "user", "content": results}
    assert (await converse(simulator, [*HI, message, answering], **asked))["stopReason"] == "end_turn"
    del message["content"][0]
    with pytest.raises(ClientError, match="Expected `thinking`"):
        await converse(simulator, [*HI, message, answering], **asked)


async def test_what_stands_before_a_cache_point_comes_from_the_cache(simulator: Simulator) -> None:
    point: Json = {"cachePoint": {"type": "default"}}
    answer = await converse(simulator, system=[{"text": "be brief"}, point, {"text": "please"}])
    assert (answer["usage"]["cacheReadInputTokens"], answer["usage"]["inputTokens"]) == (2, 2)


async def test_json_follows_its_schema(simulator: Simulator) -> None:
    structure = {"jsonSchema": {"schema": orjson.dumps(CITY).decode()}}
    answer = await converse(simulator, outputConfig={"textFormat": {"type": "json_schema", "structure": structure}})
    assert answer["output"]["message"]["content"] == [{"text": '{"city":"Zürich"}'}]


async def test_images_are_counted(simulator: Simulator) -> None:
    image = {"image": {"format": "png", "source": {"bytes": b"any"}}}
    answer = await converse(simulator, [{"role": "user", "content": [{"text": "what?"}, image]}])
    assert answer["output"]["message"]["content"] == [{"text": "You said: what? (1 image)"}]


async def test_documents_are_quoted_with_their_place(simulator: Simulator) -> None:
    document = {"name": "facts", "format": "txt", "source": {"bytes": b"Ruby is red. Rust is not."}}
    talk = [
        {"role": "user", "content": [{"document": {**document, "citations": {"enabled": True}}}, {"text": "which?"}]}
    ]
    said, quoted = (await converse(simulator, talk))["output"]["message"]["content"]
    assert said == {"text": "You said: which? It says: "}
    assert quoted["citationsContent"]["content"] == [{"text": "Ruby is red."}]
    assert quoted["citationsContent"]["citations"][0]["location"]["documentChar"]["end"] == 12
    deltas = [
        event["contentBlockDelta"]["delta"] for event in await stream(simulator, talk) if "contentBlockDelta" in event
    ]
    assert deltas[-2]["citation"] == quoted["citationsContent"]["citations"][0]
    assert deltas[-1] == {"text": "Ruby is red."}


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": "two words", "dimensions": 256}),
        ("cohere.embed-english-v3", {"texts": ["two words"], "input_type": "search_query"}),
        ("cohere.embed-v4:0", {"texts": ["two words"], "input_type": "search_query", "embedding_types": ["float"]}),
    ],
)
async def test_embeddings_are_invoked(simulator: Simulator, model: str, body: Json) -> None:
    answer = await call(simulator, "invoke_model", modelId=model, body=orjson.dumps(body))
    assert "embedding" in answer["body"] or "embeddings" in answer["body"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "2"


async def test_models_are_listed_by_the_control_plane(simulator: Simulator) -> None:
    listed = await call(simulator, "list_foundation_models", "bedrock")
    assert "amazon.nova-lite-v1:0" in [model["modelId"] for model in listed["modelSummaries"]]
    profiles = await call(simulator, "list_inference_profiles", "bedrock")
    names = [profile["inferenceProfileId"] for profile in profiles["inferenceProfileSummaries"]]
    assert names == ["us.anthropic.claude-sonnet-4-5-20250929-v1:0"]


# Signatures


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "AKIANOBODY"}, "UnrecognizedClientException"),
        ({"region_name": "eu-west-1"}, "InvalidSignatureException"),
    ],
)
async def test_a_wrong_signature_is_refused(simulator: Simulator, who: Json, code: str) -> None:
    with pytest.raises(ClientError) as error:
        await call_as(simulator, who)
    assert error.value.response["Error"]["Code"] == code
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_a_session_token_may_be_signed_too(simulator: Simulator) -> None:
    answer = await call_as(simulator, {"aws_session_token": "a token/with=signs"})
    assert answer["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "MissingAuthenticationTokenException"),
        ("AWS4-HMAC-SHA256 Credential=AKIASIMULATED", "IncompleteSignatureException"),
        ("Bearer bedrock-api-key-wrong", "AccessDeniedException"),
    ],
)
async def test_what_is_not_signed_is_refused(simulator: Simulator, authorization: str, code: str) -> None:
    async with httpx.AsyncClient(verify=PLAIN) as client:
        headers = {"authorization": authorization} if authorization else {}
        answer = await client.post(f"{simulator.url}/model/m/converse", json={"messages": HI}, headers=headers)
    assert (answer.status_code, list(answer.json())) == (403, ["message"])
    assert answer.headers["x-amzn-errortype"].split(":")[0] == code


@pytest.mark.parametrize("date", ["", "20260101", "20260102T000000Z"])
async def test_a_signature_needs_the_date_that_it_names(simulator: Simulator, date: str) -> None:
    credential = "Credential=AKIASIMULATED/20260101/us-east-1/bedrock/aws4_request"
    signed = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    headers = {"authorization": signed, **({"x-amz-date": date} if date else {})}
    async with httpx.AsyncClient(verify=PLAIN) as client:
        answer = await client.post(f"{simulator.url}/model/m/converse", json={"messages": HI}, headers=headers)
    assert answer.headers["x-amzn-errortype"].startswith("IncompleteSignatureException:")


async def test_an_api_key_of_bedrocks_own_is_let_in() -> None:
    async with (
        Simulator(type="bedrock", api_key="bedrock-api-key-x") as simulator,
        httpx.AsyncClient(verify=PLAIN) as client,
    ):
        headers = {"authorization": "Bearer bedrock-api-key-x"}
        answer = await client.post(f"{simulator.url}/model/m%3A0/converse", json={"messages": HI}, headers=headers)
        assert answer.json()["stopReason"] == "end_turn"
        assert simulator.served[0].model == "m:0"


# Errors


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("400", "ValidationException"),
        ("403", "AccessDeniedException"),
        ("404", "ResourceNotFoundException"),
        ("429", "ThrottlingException"),
        ("500", "InternalServerException"),
        ("503", "ServiceUnavailableException"),
        ("insufficient-quota", "ServiceQuotaExceededException"),
        ("context-length", "ValidationException"),
        ("content-filter", "ValidationException"),
    ],
)
async def test_errors_are_what_the_sdk_takes_them_for(simulator: Simulator, fault: str, code: str) -> None:
    simulator.faults = read(fail=[fault])
    with pytest.raises(ClientError) as error:
        await converse(simulator)
    assert error.value.response["Error"]["Code"] == code


async def test_a_stream_without_its_full_stop_has_neither_reason_nor_usage(simulator: Simulator) -> None:
    simulator.faults = read(fail=["no-done"])
    assert list((await stream(simulator))[-1]) == ["contentBlockStop"]


async def test_an_exception_in_a_stream_is_raised(simulator: Simulator) -> None:
    simulator.faults = read(fail=["error-in-stream"])
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        await stream(simulator)


USE: Json = {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {}}}
RESULT: Json = {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "ok"}]}}


def own(*blocks: Json) -> Json:
    return {"role": "assistant", "content": [*blocks]}


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": [*blocks]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": [own({"text": "hi"})]}, "A conversation must start with a user message."),
        ({"messages": [*HI, *HI]}, "A conversation must alternate between user and assistant roles."),
        ({"messages": [{"role": "tool", "content": []}]}, "enum value set: [user, assistant]"),
        ({"messages": [user()]}, "The content field in the Message object at messages.0 is empty."),
        ({"messages": [user({"text": ""})]}, "The text field in the ContentBlock object at messages.0.content.0"),
        ({"stream": True}, "extraneous key [stream] is not permitted"),
        ({"messages": [user(RESULT)], "toolConfig": TOOLS}, "exceeds the number of toolUse blocks of previous turn"),
        ({"messages": [*HI, own(USE), *HI], "toolConfig": TOOLS}, "Expected toolResult blocks at messages.2.content"),
        ({"messages": [*HI, own(USE), user(RESULT)]}, "The toolConfig field must be defined"),
        ({"toolConfig": {"tools": []}}, "Member must have length greater than or equal to 1"),
        (
            {"toolConfig": {"tools": [{"toolSpec": {"name": "a b", "inputSchema": {"json": CITY}}}]}},
            "regular expression",
        ),
        ({"inferenceConfig": {"temperature": 1.5}}, "inferenceConfig.temperature"),
        ({"inferenceConfig": {"max_tokens": 5}}, "extraneous key [inferenceConfig.max_tokens]"),
    ],
)
async def test_what_the_service_refuses_is_refused_in_its_words(fields: Json, words: str) -> None:
    async with Simulator(type="bedrock") as simulator, httpx.AsyncClient(verify=PLAIN) as client:
        headers = {"authorization": "Bearer any"}
        body = {"messages": HI, **fields}
        answer = await client.post(f"{simulator.url}/model/m/converse", json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["x-amzn-errortype"].startswith("ValidationException:http://internal.amazon.com/")
    assert words in answer.json()["message"]


# Framing


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=4), st.binary(max_size=400))
def test_botocore_reads_every_message_that_is_written(headers: dict[str, str], payload: bytes) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.message(headers, payload))
    messages: Any = list(buffer)
    assert [(message.headers, message.payload) for message in messages] == [(headers, payload)]
