"""Requests that clients really sent to OpenAI-shaped servers, as Anthropic would be asked them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import orjson
import pytest
from jsonschema.validators import validator_for

from gateway.core.call import Call, Json, Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.dialects.anthropic import ask
from gateway.surfaces.openai_chat import accept
from tests.conformance.test_recorded_requests import RECORDINGS, SHARED, recorded

SCHEMAS = SHARED / "specs/anthropic/anthropic-sdk-2.11.0.request.jsonschema.json"
SOURCES = ("openai.chat", "azure.chat", "vllm.chat", "ollama.v1-chat", "openai_compat.chat")
MODELS = ("claude-3-haiku-20240307", "claude-sonnet-4-0", "claude-sonnet-4-5", "claude-opus-5-5")
OLDER_FIELDS = {"temperature", "top_p", "top_k"}
"""The schema is of API version 2026-10-21, which took these three away."""

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SCHEMAS.is_file()), reason="the shared recordings are not here"),
]
each_source = pytest.mark.parametrize("source", SOURCES)
each_model = pytest.mark.parametrize("model", MODELS)

UNSUPPORTED = {
    "This provider does not take audio.": 6,
    "This provider does not take tools of the type custom.": 1,
    "This provider does not take tools of the type openrouter:web_search.": 6,
    "This provider does not take tools of the type openrouter:advisor.": 2,
    "This provider does not take parts of the type video_url.": 1,
}
"""What cannot be said there, and how many of all recorded requests want it."""


def calls(source: str) -> Iterator[tuple[str, Call]]:
    for name, url, body in recorded(source):
        deployment = re.search(r"/deployments/([^/]+)/", url)
        path_model = deployment[1] if deployment else None
        yield name, accept(orjson.dumps(body), id="req_1", path_model=path_model, default_model="any")


def asked(call: Call, model: str) -> Any:
    """The request body; None for what the provider cannot be asked."""
    try:
        return orjson.loads(ask(call, Target("p", model, {"chat": "https://api.example.com/v1/messages"})).body)
    except Unsupported:
        return None


@cache
def validator(kind: str) -> Any:
    schema = orjson.loads(SCHEMAS.read_bytes())["schemas"][f"MessageCreateParams{kind}"]
    return validator_for(schema)(schema)


@each_model
@each_source
def test_every_request_fits_the_providers_own_description(source: str, model: str) -> None:
    for name, call in calls(source):
        if (body := asked(call, model)) is not None:
            if "thinking" in call.body:  # meant for another provider: passed on as it came, or not at all
                assert body.pop("thinking", None) in (None, call.body["thinking"]), name
            schema = validator("Streaming" if call.stream else "NonStreaming")
            complaints = [error.message[:300] for error in schema.iter_errors(body)]
            assert not complaints, (name, complaints)
            assert not without_content(body), name


def without_content(body: Json) -> list[Any]:
    """Messages and texts that the API refuses as empty, which the schema does not say."""
    blocks = [block for message in body["messages"] for block in message["content"] if isinstance(block, dict)]
    empty_texts = [block for block in blocks if block["type"] == "text" and not block["text"].strip()]
    return empty_texts + [message for message in body["messages"] if not message["content"]]


@each_source
def test_no_field_goes_out_that_the_grammar_and_the_client_do_not_have(source: str) -> None:
    known = set(validator("Streaming").schema["properties"]) | OLDER_FIELDS
    for name, call in calls(source):
        body = asked(call, "claude-sonnet-4-0")
        assert body is None or set(body) <= known | set(call.body), name


@each_source
def test_no_text_tool_id_argument_or_image_is_lost(source: str) -> None:
    for name, call in calls(source):
        if (body := asked(call, "claude-sonnet-4-0")) is not None:
            said = "\n".join(strings(body))
            for text in wanted(call.body):
                assert text.strip() in said, (name, text[:100])
            assert arguments_asked(body) == arguments_wanted(call.body), name
            assert ids(body, "tool_use", "id") >= ids(body, "tool_result", "tool_use_id"), name


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from strings(list(value.values()))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def wanted(body: Json) -> Iterator[str]:
    """All that the provider has to hear, but for the arguments of calls."""
    for message in body["messages"]:
        yield from contents(message.get("content"))
        yield message.get("refusal") or ""
        yield fit(message.get("tool_call_id"))
        for call in message.get("tool_calls") or ():
            yield from (fit(call["id"]), call["function"]["name"])
    for tool in [tool["function"] for tool in body.get("tools") or ()] + (body.get("functions") or []):
        yield from (tool["name"], tool.get("description") or "", *(tool.get("parameters") or {}).get("properties", {}))


def fit(id: str | None) -> str:
    """An id that can go out as it is. Others (`functions.add:0`) get another name, in the call and in its result."""
    return id if id and re.fullmatch(r"[\w-]+", id) else ""


def ids(body: Json, kind: str, field: str) -> set[str]:
    blocks: Iterable[Any] = (block for message in body["messages"] for block in message["content"])
    return {block[field] for block in blocks if isinstance(block, dict) and block["type"] == kind}


def contents(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if part["type"] == "text":
            yield part["text"]
        elif part["type"] == "image_url":
            yield in_url(part["image_url"] if isinstance(part["image_url"], str) else part["image_url"]["url"])
        elif part["type"] == "file":
            yield in_url(part["file"].get("file_data") or part["file"].get("file_id") or "")


def in_url(url: str) -> str:
    return url.partition(";base64,")[2] or url


def arguments_wanted(body: Json) -> list[Any]:
    functions = [
        call["function"]
        for message in body["messages"]
        for call in message.get("tool_calls") or filter(None, [wrapped(message.get("function_call"))])
    ]
    return [read(function["arguments"]) for function in functions]


def wrapped(function: Json | None) -> Json | None:
    return {"function": function} if function else None


def read(arguments: str) -> Any:
    """As `arguments_object` promises it: what is no object stands in a field."""
    try:
        value = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        value = arguments
    return value if isinstance(value, dict) else {} if value is None else {"arguments": value}


def arguments_asked(body: Json) -> list[Any]:
    blocks: Iterable[Any] = (block for message in body["messages"] for block in message["content"])
    return [block["input"] for block in blocks if isinstance(block, dict) and block["type"] == "tool_use"]


def test_little_cannot_be_asked() -> None:
    reasons: Counter[str] = Counter()
    for source in SOURCES:
        for _, call in calls(source):
            try:
                ask(call, Target("p", "claude-sonnet-4-5", {"chat": "https://api.example.com/v1/messages"}))
            except InvalidRequest as refused:
                reasons[refused.message] += 1
    assert reasons == UNSUPPORTED
