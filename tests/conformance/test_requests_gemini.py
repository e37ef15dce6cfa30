"""Requests that clients really sent to OpenAI-shaped servers, asked of Gemini: valid there, and nothing is lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema.validators import validator_for

from gateway.core.call import Call, Json, Target, UpstreamReply
from gateway.core.errors import InvalidRequest
from gateway.dialects import hub
from gateway.dialects.gemini import answer, ask
from gateway.surfaces.openai_chat import accept
from gateway.surfaces.openai_encoder import whole
from tests.conformance.test_recorded_requests import recorded

SHARED = Path(__file__).resolve().parents[3] / "shared"
RECORDINGS = SHARED / "recordings"
SCHEMAS = SHARED / "specs/gemini/google-genai-sdk.jsonschema.json"
SOURCES = ("openai.chat", "azure.chat", "vllm.chat", "ollama.v1-chat", "openai_compat.chat")
PLACES = {"contents": "Content", "systemInstruction": "Content", "tools": "Tool", "toolConfig": "ToolConfig",
          "generationConfig": "GenerationConfig"}  # fmt: skip
"""Where a request's parts are described, by Google's own SDK."""

UNSUPPORTED = {
    "This provider does not take tools of the type custom.",
    "This provider does not take tools of the type openrouter:advisor.",
    "This provider does not take tools of the type openrouter:web_search.",
    "This provider does not take parts of the type video_url.",
    "This provider's spoken answers cannot be told in OpenAI's grammar.",
}
"""What Gemini cannot be asked, and is not left out in silence."""

with_recordings = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here"),
]
URLS = {"chat": "http://127.0.0.1:1/chat"}


def target(model: str) -> Target:
    return Target("google", model, URLS)


def accepted(url: str, body: Json) -> Call:
    deployment = re.search(r"/deployments/([^/]+)/", url)
    return accept(orjson.dumps(body), id="r", path_model=deployment and deployment[1], default_model="any")


def asked(source: str, model: str) -> Iterator[tuple[str, Call, Json]]:
    """Name, call and upstream body of each recorded request that can be asked."""
    for name, url, body in recorded(source):
        call = accepted(url, body)
        try:
            yield name, call, orjson.loads(ask(call, target(model)).body)
        except InvalidRequest:
            continue  # which must be for one of the reasons above: see below


@cache
def described(kind: str) -> Any:
    schema = orjson.loads(SCHEMAS.read_bytes())["schemas"][kind]
    return validator_for(schema)(schema)


def complaints(sent: Json, own: frozenset[str]) -> list[str]:
    """What Google's description says against a request, beside fields that the client gave in Gemini's own name."""
    said = [f"unknown field {name}" for name in sent if name not in {*PLACES, "serviceTier", *own}]
    for place, kind in PLACES.items():
        values = sent.get(place, [])
        for value in values if isinstance(values, list) else [values]:
            said += [f"{place}: {error.message}" for error in described(kind).iter_errors(value)]
    return said


def leaves(value: Any) -> Iterator[str]:
    """All names and values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif isinstance(value, str) and value:
        yield value


def as_object(text: str) -> Any:
    """What a text says that is a JSON object; else the text."""
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return read if isinstance(read, dict) else text if read is not None else {}


def content_of(message: Json) -> Iterator[Any]:
    content = message.get("content") or []
    parts: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts:
        if part["type"] == "text":
            yield as_object(part["text"]) if message["role"] == "tool" else part["text"]
        elif part["type"] == "image_url":
            image = part["image_url"]
            yield (image if isinstance(image, str) else image["url"]).rpartition("base64,")[2]
        elif part["type"] == "input_audio":
            yield part["input_audio"]["data"]
        elif part["type"] == "file":
            yield (part["file"].get("file_data") or part["file"]["file_id"]).rpartition("base64,")[2]


def must_arrive(body: Json) -> Iterator[Any]:
    """What a request says: texts, pictures, calls and their ids, tools, the form of the answer."""
    for message in body["messages"]:
        yield from content_of(message)
        yield message.get("tool_call_id")
        for call in message.get("tool_calls") or ():
            yield call["id"]
            yield call["function"]["name"]
            yield as_object(call["function"]["arguments"])
    for tool in body.get("tools") or ():
        yield [tool["function"].get(name) for name in ("name", "description", "parameters")]
    match body.get("response_format"):
        case {"json_schema": {"schema": schema}}:
            yield schema


class TestRecordedRequests:
    pytestmark = with_recordings

    @pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-flash-preview"])
    @pytest.mark.parametrize("source", SOURCES)
    def test_are_valid_by_googles_own_description_and_lose_nothing(self, source: str, model: str) -> None:
        for name, call, sent in asked(source, model):
            assert not complaints(sent, frozenset(hub.private(call.body))), name
            arrived = "\0".join(leaves(sent))
            for said in must_arrive(call.body):
                lost = [leaf for leaf in leaves(said) if leaf not in arrived]
                assert not lost, name

    def test_are_refused_only_for_what_gemini_cannot_be_asked(self) -> None:
        refused: Counter[str] = Counter()
        for source in SOURCES:
            for _, url, body in recorded(source):
                try:
                    ask(accepted(url, body), target("gemini-2.5-flash"))
                except InvalidRequest as error:
                    refused[error.message if error.param else "it is not said where"] += 1
        assert set(refused) == UNSUPPORTED
        assert refused.total() < 20, refused


# The next turn.

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
nothing: st.SearchStrategy[Json] = st.just({})
signed = nothing | words.map(lambda text: {"thoughtSignature": text})
values = st.recursive(
    words | st.booleans() | st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(words, values, max_size=3)
thoughts = st.lists(words.map(lambda text: {"text": text, "thought": True}), max_size=2)
work = st.lists(
    st.builds(
        lambda code, seal: {"executableCode": {"language": "PYTHON", "code": code}, **seal}, code=words, seal=signed
    ),
    max_size=2,
)
text = st.lists(st.builds(lambda said, seal: {"text": said, **seal}, said=words, seal=signed), max_size=1)
calls = st.lists(
    st.builds(
        lambda id, name, args, seal: {"functionCall": {**id, "name": name, "args": args}, **seal},
        id=nothing | words.map(lambda id: {"id": id}),
        name=words,
        args=arguments,
        seal=signed,
    ),
    max_size=3,
    unique_by=lambda part: part["functionCall"].get("id", part["functionCall"]["name"]),
)


@given(thoughts=thoughts, work=work, text=text, calls=calls)
def test_the_next_turn_gives_back_what_gemini_had_said(
    thoughts: list[Json], work: list[Json], text: list[Json], calls: list[Json]
) -> None:
    assume(work or text or calls)
    parts = [*thoughts, *work, *text, *calls]
    said = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "r1"}
    message = whole(answer(UpstreamReply(200, (), orjson.dumps(said))), created=1)["choices"][0]["message"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in message.get("tool_calls", ())
    ]
    history = [{"role": "user", "content": "Go on."}, message, *results, {"role": "user", "content": "And now?"}]
    call = accept(orjson.dumps({"messages": history}), id="r", path_model=None, default_model="any")
    _, model, user = orjson.loads(ask(call, target("gemini-2.5-flash")).body)["contents"]
    returned = [part for part in model["parts"] if part != {"text": ""}]
    answered = [part["functionResponse"] for part in user["parts"] if "functionResponse" in part]
    for index, part in enumerate(calls):
        part["functionCall"].setdefault("id", f"call_r1_0_{index}")
    assert returned == [*work, *text, *calls]
    assert [(result["id"], result["name"]) for result in answered] == [
        (part["functionCall"]["id"], part["functionCall"]["name"]) for part in calls
    ]
