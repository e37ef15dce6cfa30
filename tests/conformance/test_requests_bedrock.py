"""Requests that clients really sent to OpenAI-shaped servers, asked of Bedrock: valid, and with nothing lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson
import pytest

from gateway.core.call import Call, Json, Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects.bedrock import OWN_FIELDS, ask
from gateway.surfaces.openai_chat import accept
from tests.conformance.bedrock_reference import complaints, own_fields
from tests.conformance.test_recorded_requests import RECORDINGS, recorded

SOURCES = ("openai.chat", "azure.chat", "vllm.chat", "ollama.v1-chat", "openai_compat.chat")
MODELS = (
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.anthropic.claude-sonnet-5",
    "us.amazon.nova-2-lite-v1:0",
    "openai.gpt-oss-120b-1:0",
    "us.meta.llama3-3-70b-instruct-v1:0",
)

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here"),
]
each_model = pytest.mark.parametrize("model", MODELS)


@cache
def calls() -> list[tuple[str, Call]]:
    """Every recorded request that the surface accepts."""
    accepted = []
    for source in SOURCES:
        for name, url, body in recorded(source):
            deployment = re.search(r"/deployments/([^/]+)/", url)
            path_model = deployment[1] if deployment else None
            try:
                call = accept(orjson.dumps(body), id="req_1", path_model=path_model, default_model="any")
            except InvalidRequest:
                continue
            accepted.append((name, call))
    return accepted


def asked(model: str) -> Iterator[tuple[str, Call, Json]]:
    """Name, call and what Bedrock is sent, of each call that can be expressed."""
    target = Target("aws", model, {"chat": "https://bedrock.example/model/x/converse"})
    for name, call in calls():
        try:
            request = ask(call, target)
        except Unsupported:
            continue
        yield name, call, orjson.loads(request.body)


@each_model
def test_what_is_asked_is_valid_by_awss_own_description(model: str) -> None:
    for name, _, request in asked(model):
        assert not complaints(request, model), (name, complaints(request, model))
        sides = [message["role"] for message in request["messages"]]
        assert sides == [("user", "assistant")[turn % 2] for turn in range(len(sides))], name


@each_model
def test_nothing_that_was_said_is_lost(model: str) -> None:
    for name, call, request in asked(model):
        missing = said_by_client(call.body) - said_to_bedrock(request)
        assert not missing, (name, missing)


def said_by_client(body: Json) -> Counter[str]:
    """All texts, images, documents, calls, results and tools of a request, each with what it is."""
    said: Counter[str] = Counter()
    for message in body["messages"]:
        said.update(_content(message.get("content")))
        if message.get("refusal"):
            said[f"text {message['refusal']}"] += 1
        for call in message.get("tool_calls") or ():
            said[f"call {call['id']} {call['function']['name']} {_plain(call['function']['arguments'])}"] += 1
        if message.get("tool_call_id"):
            said[f"result {message['tool_call_id']}"] += 1
    if body.get("tool_choice") != "none":
        said.update(f"tool {tool['function']['name']}" for tool in body.get("tools") or ())
    return said


def _content(content: Any) -> Iterator[str]:
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        match part:
            case {"type": "text", "text": text} if text.strip():
                yield f"text {text}"
            case {"type": "image_url", "image_url": {"url": url}}:
                yield f"data {url.partition('base64,')[2]}"
            case {"type": "input_audio", "input_audio": {"data": data}}:
                yield f"data {data}"
            case {"type": "file", "file": {"file_data": data}}:
                yield f"data {data.partition('base64,')[2]}"


def _plain(arguments: str) -> str:
    try:
        read = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        read = {"arguments": arguments}
    return orjson.dumps(read or {}, option=orjson.OPT_SORT_KEYS).decode()


def said_to_bedrock(request: Json) -> Counter[str]:
    blocks = [*request.get("system", ()), *(block for turn in request["messages"] for block in turn["content"])]
    told = Counter(said for block in blocks for said in _block(block))
    specs = [tool["toolSpec"] for tool in request.get("toolConfig", {}).get("tools", ()) if "toolSpec" in tool]
    told.update(f"tool {spec['name']}" for spec in specs)
    return told


def _block(block: Json) -> Iterator[str]:
    match block:
        case {"text": text}:
            yield f"text {text}"
        case {"toolUse": call}:
            arguments = orjson.dumps(call["input"], option=orjson.OPT_SORT_KEYS).decode()
            yield f"call {call['toolUseId']} {call['name']} {arguments}"
        case {"toolResult": result}:
            yield f"result {result['toolUseId']}"
            for inner in result["content"]:
                yield from _block(inner)
        case {"image": media} | {"audio": media} | {"document": media}:
            yield f"data {media['source']['bytes']}"


UNSUPPORTED = {
    "Bedrock fetches nothing: send the bytes as a data URL.": 12,  # the house fetches them before it asks
    "This provider does not take parts of the type video_url.": 1,
    "This provider does not take tools of the type custom.": 1,
    "This provider does not take tools of the type openrouter:advisor.": 2,
    "This provider does not take tools of the type openrouter:web_search.": 6,
}


def test_only_what_bedrock_has_no_words_for_is_refused() -> None:
    target = Target("aws", MODELS[0], {"chat": "https://bedrock.example/model/x/converse"})
    refused = []
    for _, call in calls():
        try:
            ask(call, target)
        except Unsupported as error:
            refused.append(error)
    assert Counter(error.message for error in refused) == UNSUPPORTED
    assert all(error.param and re.match(r"(messages|tools)\[\d+\]", error.param) for error in refused)


def test_every_field_of_converses_own_is_known() -> None:
    assert own_fields() == OWN_FIELDS
