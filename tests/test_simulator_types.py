"""What holds for every provider type that can be simulated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import orjson
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.simulator import api
from gateway.simulator.faults import ERRORS, read
from gateway.simulator.http import UNIQUE, Account, Reply, respond
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

WORDS = "one two three four five six seven eight"
TOKENS = 2 + 8
"""`You said:` and the words."""

PARAMETERS: Json = {"type": "object", "properties": {"city": {"type": "string"}}}


@dataclass(frozen=True)
class Way:
    """How a provider type is asked, and how its streams end."""

    path: str
    body: Json
    headers: dict[str, str]
    stream_path: str = ""
    """Where it is another one; elsewhere the body says that a stream is wanted."""
    ending: bytes = b"data: [DONE]\n\n"

    def asking(self, *, stream: bool) -> tuple[str, Json]:
        if self.stream_path:
            return (self.stream_path if stream else self.path), self.body
        return self.path, {**self.body, "stream": stream}


OPENAI: Json = {
    "model": "m",
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": WORDS}],
}
KEY = {"authorization": "Bearer any"}
CHAT = Way("/v1/chat/completions", OPENAI, KEY)
WAYS = {
    "openai": CHAT,
    "openai_compatible": CHAT,
    "ollama": CHAT,
    "vllm": CHAT,
    "groq": CHAT,
    "mistral": CHAT,
    "azure": Way("/openai/deployments/m/chat/completions?api-version=1", OPENAI, {"api-key": "any"}),
    "cohere": Way("/v2/chat", OPENAI, KEY),
    "anthropic": Way(
        "/v1/messages",
        {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": WORDS}]},
        {"x-api-key": "any", "anthropic-version": "2023-06-01"},
        ending=b"message_stop",
    ),
    "bedrock": Way(
        "/model/m/converse",
        {"messages": [{"role": "user", "content": [{"text": WORDS}]}]},
        KEY,
        stream_path="/model/m/converse-stream",
        ending=b"metadata",
    ),
    "gemini": Way(
        "/v1beta/models/m:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": WORDS}]}]},
        {"x-goog-api-key": "any"},
        stream_path="/v1beta/models/m:streamGenerateContent?alt=sse",
        ending=b"finishReason",
    ),
}
every_type = pytest.mark.parametrize("type", WAYS)


async def ask(simulator: Simulator, type: str, *, stream: bool = False, fault: str = "none") -> httpx.Response:
    path, body = WAYS[type].asking(stream=stream)
    headers = {**WAYS[type].headers, "x-simulate-fault": fault}
    async with httpx.AsyncClient(timeout=5, verify=PLAIN) as client:
        return await client.post(simulator.origin + path, json=body, headers=headers)


def reply(type: str, *, stream: bool, **fields: Any) -> Reply:
    path, body = WAYS[type].asking(stream=stream)
    grammar = api.GRAMMARS[type]
    return respond(grammar, "POST", path, orjson.dumps(body | fields), account(type))


@cache
def account(type: str) -> Account:
    return Account(models=api.GRAMMARS[type].models, created=1)


# Answers


@every_type
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_each_answer_is_counted_and_has_an_id_of_its_own(type: str, stream: bool) -> None:
    async with Simulator(type=type) as simulator:
        answers = [await ask(simulator, type, stream=stream) for _ in range(2)]
        first, second = simulator.served
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (first.completion_tokens, first.stream, first.cut) == (TOKENS, stream, False)
    assert first.id != second.id
    for answer, served in zip(answers, (first, second), strict=True):
        assert served.id in answer.text + str(answer.headers)
        assert "SIMULATED" not in answer.text + str(answer.headers)


@every_type
async def test_a_stream_ends_with_its_full_stop(type: str) -> None:
    async with Simulator(type=type) as simulator:
        answer = await ask(simulator, type, stream=True)
        polite = await ask(simulator, type, stream=True, fault="no-done")
    assert WAYS[type].ending in answer.content[-400:]
    assert WAYS[type].ending not in polite.content
    assert [served.cut for served in simulator.served] == [False, True]


@every_type
def test_the_same_request_gets_the_same_reply(type: str) -> None:
    assert reply(type, stream=True) == reply(type, stream=True)


@every_type
async def test_tokens_are_where_the_account_says_they_are(type: str) -> None:
    """Cut after each number of tokens, the stream has so much of the text and no more."""
    told = reply(type, stream=True)
    said = [b"".join(frame.data for frame in told.frames[: told.after(count)]) for count in range(TOKENS + 1)]
    words = ["You", " said:", *(word for word in f" {WORDS}".replace(" ", "| ").split("|")[1:])]
    for count, heard in enumerate(said):
        assert [f'"{word}"'.encode() in heard for word in words] == [at < count for at in range(TOKENS)]


# Faults


@every_type
@pytest.mark.parametrize("name", ["400", "401", "403", "404", "429", "500", "503", "529", *ERRORS])
async def test_every_error_can_be_asked_for(type: str, name: str) -> None:
    async with Simulator(read(fail=[name]), type=type) as simulator:
        path, body = WAYS[type].asking(stream=True)
        async with httpx.AsyncClient(verify=PLAIN) as client:
            answer = await client.post(simulator.origin + path, json=body, headers=WAYS[type].headers)
    # At Amazon nobody is unauthorized: whoever is not known is forbidden.
    expected = {"401": 403}.get(name, name) if type == "bedrock" else name
    assert not name.isdigit() or answer.status_code == int(expected)
    assert isinstance(answer.json(), dict)
    assert simulator.served == []


@every_type
async def test_an_error_comes_after_as_much_output_as_asked_for(type: str) -> None:
    async with Simulator(type=type) as simulator:
        answer = await ask(simulator, type, stream=True, fault="error-after:3")
    assert answer.content.endswith(api.GRAMMARS[type].broken.split(UNIQUE.encode())[-1])
    assert (simulator.served[0].completion_tokens, simulator.served[0].cut) == (3, True)


@every_type
@pytest.mark.parametrize("fault", ["garbage", "truncated-json", "error-in-200", "html", "empty", "null"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_spoilt_answer_is_not_the_sound_one(type: str, fault: str, stream: bool) -> None:
    async with Simulator(type=type) as simulator:
        sound, spoilt = [await ask(simulator, type, stream=stream, fault=name) for name in ("none", fault)]
    assert spoilt.status_code == 200
    assert spoilt.content != sound.content


@every_type
async def test_a_stream_is_cut_after_so_many_tokens(type: str) -> None:
    async with Simulator(type=type) as simulator:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(simulator, type, stream=True, fault="cut-after:4")
        assert (simulator.served[0].completion_tokens, simulator.served[0].cut) == (4, True)


@every_type
async def test_a_fault_that_makes_no_sense_is_explained(type: str) -> None:
    async with Simulator(type=type) as simulator:
        answer = await ask(simulator, type, fault="resett")
    assert answer.status_code == 400
    assert "did you mean `reset`?" in answer.text


@every_type
async def test_what_it_does_not_have_is_not_found(type: str) -> None:
    async with Simulator(type=type) as simulator, httpx.AsyncClient(verify=PLAIN) as client:
        answer = await client.get(f"{simulator.url}/openai/v1/nothing", headers=WAYS[type].headers)
    assert answer.status_code == 404


def test_a_frame_that_is_garbage_is_none_for_botocore() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(api.GRAMMARS["bedrock"].garbage)
    with pytest.raises(Exception, match=r"[Cc]hecksum|length"):
        list(buffer)


# Nothing breaks it

texts = st.text(max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a request."""
    found = [above] if above else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        found += places(inner, (*above, step))
    return found


def changed(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """The request with another value in one place."""
    if not place:
        return other
    step, *rest = place
    if isinstance(value, list):
        return [changed(inner, tuple(rest), other) if at == step else inner for at, inner in enumerate(value)]
    return {**value, step: changed(value[step], tuple(rest), other)}


FULL: dict[str, Json] = {
    "openai": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "x"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}},
        "max_tokens": 3,
        "stop": ["x"],
        "temperature": 1,
        "n": 1,
    },
    "cohere": {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "tool_calls": [{"id": "f_1", "function": {"name": "f", "arguments": "{}"}}]},
            {
                "role": "tool",
                "tool_call_id": "f_1",
                "content": [{"type": "document", "document": {"data": {"a": "b"}}}],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
        "thinking": {"type": "enabled"},
        "stop_sequences": ["x"],
        "max_tokens": 3,
    },
    "anthropic": {
        "model": "m",
        "max_tokens": 3,
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}],
            },
        ],
        "tools": [{"name": "f", "input_schema": PARAMETERS}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "disabled"},
        "output_config": {"format": {"type": "json_schema", "schema": PARAMETERS}},
        "temperature": 1,
    },
    "bedrock": {
        "system": [{"text": "x"}],
        "messages": [
            {"role": "user", "content": [{"text": "x"}, {"image": {"format": "png", "source": {"bytes": ""}}}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"a": 1}}]}}]},
        ],
        "inferenceConfig": {"maxTokens": 3, "temperature": 0.5, "stopSequences": ["x"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": PARAMETERS}}}],
            "toolChoice": {"tool": {"name": "f"}},
        },
        "additionalModelRequestFields": {"thinking": {"type": "enabled"}},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}},
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "x"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "x"}, {"inlineData": {"mimeType": "image/png", "data": ""}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"a": "b"}, "parts": []}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": PARAMETERS}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 3,
            "responseMimeType": "application/json",
            "responseSchema": PARAMETERS,
            "stopSequences": ["x"],
            "thinkingConfig": {"includeThoughts": True},
            "candidateCount": 1,
            "temperature": 1,
        },
    },
}


@settings(max_examples=40)
@pytest.mark.parametrize("type", [name for name in WAYS if name != "groq"])
@given(data=st.data())
def test_no_request_breaks_it(type: str, data: st.DataObject) -> None:
    whole = FULL.get(type, FULL["openai"])
    body = changed(whole, data.draw(st.sampled_from(places(whole))), data.draw(values))
    for stream in (False, True):
        path, _ = WAYS[type].asking(stream=stream)
        asked = body if WAYS[type].stream_path else {**body, "stream": stream}
        told = respond(api.GRAMMARS[type], "POST", path, orjson.dumps(asked), account(type))
        assert told.status == 200 or 400 <= told.status < 500


@given(st.sampled_from(sorted(WAYS)), st.binary(max_size=20) | values.map(orjson.dumps))
def test_no_body_breaks_it(type: str, body: bytes) -> None:
    told = respond(api.GRAMMARS[type], "POST", WAYS[type].path, body, account(type))
    assert 400 <= told.status < 500
    assert isinstance(orjson.loads(told.body), dict)
