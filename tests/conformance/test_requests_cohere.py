"""Requests that clients really sent to OpenAI-shaped servers, as Cohere would be sent them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway.core.call import Call, Json, Target, UpstreamRequest
from gateway.core.errors import Unsupported
from gateway.dialects.cohere import ask
from gateway.surfaces.openai_chat import accept
from tests.conformance.test_recorded_requests import RECORDINGS, SHARED, SOURCES, each_source, recorded

SPEC = SHARED / "specs/cohere/cohere-openapi.yaml"
TARGET = Target("cohere", "command-a", {"chat": "https://api.cohere.com/v2/chat"})

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPEC.is_file()), reason="the shared recordings are not here"),
]

INEXPRESSIBLE = {
    "Cohere takes texts and images, not parts of the kind file.": 12,
    "Cohere takes texts and images, not parts of the kind audio.": 6,
    "Cohere takes the results of tools as text only.": 2,
    "This provider does not take parts of the type video_url.": 1,
    "This provider does not take tools of the type openrouter:web_search.": 6,
    "This provider does not take tools of the type openrouter:advisor.": 2,
    "This provider does not take tools of the type custom.": 1,
}
"""What Cohere has no way to say, and how many of the 1977 requests ask for it."""

OTHERS = frozenset({"thinking"})
"""Fields of Cohere's that other providers have under the same name, in another form (recorded: OpenRouter's)."""


class Outcome(NamedTuple):
    sent: list[tuple[str, Json, Json]]
    """Name, the client's body and the provider's."""
    refused: Counter[str]
    """How often each thing cannot be said."""


def outcome(source: str, ask: Callable[[Call, Target], UpstreamRequest], target: Target) -> Outcome:
    """What becomes of all requests of one source."""
    asked = Outcome([], Counter())
    for name, url, body in recorded(source):
        model = {"model": "public"} if "/deployments/" in url else {}
        call = accept(orjson.dumps({**body, **model}), id="r", path_model=None, default_model="public")
        try:
            asked.sent.append((name, call.body, orjson.loads(ask(call, target).body)))
        except Unsupported as error:
            asked.refused[error.message] += 1
    return asked


@cache
def cohere(source: str) -> Outcome:
    return outcome(source, ask, TARGET)


def test_what_cohere_cannot_say_is_little_and_known() -> None:
    assert sum((cohere(source).refused for source in SOURCES), Counter()) == INEXPRESSIBLE


@each_source
def test_each_request_is_valid_by_cohere_s_own_description(source: str) -> None:
    for name, asked, body in cohere(source).sent:
        own = {field: value for field, value in body.items() if field not in OTHERS or field not in asked}
        complaints = [error.message[:300] for error in schema().iter_errors(own)]
        assert not complaints, name


@each_source
def test_no_word_tool_argument_or_image_is_lost(source: str) -> None:
    for name, asked, body in cohere(source).sent:
        everything = "\n".join(strings(body))
        missing = [text[:80] for text in said(asked) if text not in everything]
        assert not missing, name


@each_source
def test_each_result_answers_the_call_that_it_answered(source: str) -> None:
    for name, asked, body in cohere(source).sent:
        assert links(body["messages"]) == links(asked["messages"]), name


@cache
def schema() -> Any:
    described = yaml.load(SPEC.read_bytes(), Loader=yaml.CSafeLoader)
    request = described["paths"]["/v2/chat"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    components = {"components": {"schemas": described["components"]["schemas"]}}
    return Draft202012Validator(_by_discriminator({**request, **components}))


def _by_discriminator(schema: Any) -> Any:
    """`oneOf` with a discriminator means the one that it names, though others may fit as well."""
    if isinstance(schema, list):
        return [_by_discriminator(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {"anyOf" if "discriminator" in schema and key == "oneOf" else key: _by_discriminator(value)
            for key, value in schema.items()}  # fmt: skip


# What a client says: read without the gateway's help.


def said(body: Json) -> Iterator[str]:
    """Every text, image, call and tool of a request."""
    for message in body["messages"]:
        content = message.get("content") or ""
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield from _part(part)
        calls = [call["function"] for call in message.get("tool_calls") or () if "function" in call]
        for function in [*calls, *filter(None, [message.get("function_call")])]:
            yield from (function["name"], function["arguments"])
    for tool in [tool["function"] for tool in body.get("tools") or ()] + (body.get("functions") or []):
        if tool["name"] == forced(body) or not forced(body):
            yield from (tool["name"], tool.get("description") or "", *strings(tool.get("parameters")))
    form = (body.get("response_format") or {}).get("json_schema") or {}
    yield from (*strings(form.get("schema")), form.get("description") or "")


def forced(body: Json) -> str:
    """The tool that must be called: the others need not be known then."""
    choice = body.get("tool_choice")
    return choice["function"]["name"] if isinstance(choice, dict) else ""


def _part(part: Json) -> Iterator[str]:
    match part["type"]:
        case "text" | "refusal":
            yield part[part["type"]]
        case "image_url":
            image = part["image_url"]
            url = image if isinstance(image, str) else image["url"]
            yield url.rpartition(";base64,")[2] if url.startswith("data:") else url
        case "input_audio":
            yield part["input_audio"]["data"]
        case "file":
            yield from filter(None, (part["file"].get("file_data"), part["file"].get("file_id")))


def strings(value: Any) -> Iterator[str]:
    """All that is written anywhere in it, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def links(messages: list[Json]) -> list[tuple[str, list[int]]]:
    """Each result's text, and the places of the calls that have its id among all calls."""
    ids = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    return [
        (text_of(message["content"]), [at for at, id in enumerate(ids) if id == message["tool_call_id"]])
        for message in messages
        if message["role"] == "tool"
    ]


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
