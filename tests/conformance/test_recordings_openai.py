"""Recorded answers of OpenAI, and of every server that speaks like it, reach the client whole, right and in order."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from gateway.core.call import UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.openai_answers import Decoder, answer, refusal
from gateway.dialects.openai_relay import Relay, whole
from gateway.surfaces import openai_encoder
from tests.conformance.openai_reference import Story, events_of, heard_by_client, heard_whole, told_by_server

SHARED = Path(__file__).resolve().parents[3] / "shared"
RECORDINGS = SHARED / "recordings"
SPECS = SHARED / "specs" / "openai"
FILES = ["openai.chat", "azure.chat", "vllm.chat", "ollama.v1-chat", "gemini_openai.chat", "openai_compat.chat"]

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPECS.is_dir()), reason="the shared recordings are not here"),
]
every_file = pytest.mark.parametrize("file", FILES)

FAILED_MIDWAY = {"openai_compat-000861", "openai_compat-001261"}
"""Groq: an error within the stream, after a tool call that it could not read."""
NO_ANSWER = {
    "azure-000249": Failure.CONTENT_FILTERED,  # an error, recorded with status 200
    "openai_compat-000579": Failure.MALFORMED,  # an echo server's plain text
}
UNFINISHED = {"openai-000294"}
"""An early vision model: `finish_details` in place of `finish_reason`."""


class Recording:
    def __init__(self, told: Any) -> None:
        self.name: str = told["name"]
        self.status: int = told["response"]["status"]
        self.streamed: bool = told["response"]["stream"]
        self.body: bytes = (told["response"]["body_text"] or "").encode()
        headers = told["response"]["headers"] or {}
        self.headers = tuple((name.lower().encode(), str(value).encode()) for name, value in headers.items())
        self.capture: str = told["source"]["capture"]

    @property
    def reply(self) -> UpstreamReply:
        return UpstreamReply(self.status, self.headers, self.body)

    @property
    def done_marker(self) -> bool:
        """What a target would say of the server."""
        return b"[DONE]" in self.body


@cache
def recordings(file: str) -> list[Recording]:
    with gzip.open(RECORDINGS / f"{file}.jsonl.gz", "rb") as lines:
        return [Recording(orjson.loads(line)) for line in lines]


def streams(file: str) -> Iterator[Recording]:
    return (r for r in recordings(file) if r.streamed and r.status < 400 and r.name not in FAILED_MIDWAY)


def wholes(file: str) -> Iterator[Recording]:
    return (r for r in recordings(file) if not r.streamed and r.status < 400 and r.name not in NO_ANSWER)


def relayed(recording: Recording, pieces: Iterable[bytes], include_usage: bool) -> bytes:
    relay = Relay(include_usage=include_usage, done_marker=recording.done_marker)
    return b"".join([relay.feed(piece) for piece in pieces] + [relay.end()])


def cut(body: bytes, seed: str) -> list[bytes]:
    """Byte by byte what is short, at some forty places what is long."""
    chance = random.Random(seed)
    edges = range(len(body)) if len(body) < 3000 else sorted(chance.sample(range(len(body)), 40))
    return [body[start:end] for start, end in zip([0, *edges], [*edges, len(body)], strict=True)]


@every_file
def test_what_a_server_streams_is_what_the_client_reads(file: str) -> None:
    for recording in streams(file):
        told = told_by_server(recording.body, stream=True)
        for include_usage in (True, False):
            chunks = events_of(relayed(recording, [recording.body], include_usage))
            heard = heard_by_client(chunks)
            assert_same(heard, told, recording.name, usage=include_usage)
            for chunk in chunks:
                assert_fits("chunk", chunk, recording.name)
                assert include_usage or chunk.get("usage", "none") == "none", recording.name


@every_file
def test_how_the_network_cuts_a_stream_does_not_matter(file: str) -> None:
    for recording in streams(file):
        events = re.split(rb"(?<=\n\n)", recording.body)  # as it mostly comes, and what the relay is quickest with
        for include_usage in (True, False):
            at_once = relayed(recording, [recording.body], include_usage)
            for pieces in (cut(recording.body, recording.name), events):
                assert relayed(recording, pieces, include_usage) == at_once, recording.name


@every_file
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_all_line_ends_tell_the_same_story(file: str, line_end: bytes) -> None:
    for recording in streams(file):
        body = recording.body.replace(b"\r\n", b"\n").replace(b"\n", line_end)
        chunks = events_of(relayed(recording, cut(body, recording.name), include_usage=True))
        assert chunks == events_of(relayed(recording, [recording.body], include_usage=True)), recording.name


@every_file
def test_no_part_of_a_stream_passes_for_the_whole(file: str) -> None:
    for recording in streams(file):
        for end in cut_points(recording):
            with pytest.raises(UpstreamError):
                assert relayed(recording, [recording.body[:end]], include_usage=True) is None, (recording.name, end)


def cut_points(recording: Recording) -> list[int]:
    """Some places before the story is complete, at the ends of events and within."""
    body, chance = recording.body, random.Random(recording.name)
    last = body.rindex(b"[DONE]") + 6 if recording.done_marker else body.index(b'"finish_reason":"')
    boundaries = [found.start() for found in re.finditer(b"\n\n", body[:last])]
    ends = chance.sample(boundaries, min(4, len(boundaries)))
    return sorted({0, 1, last - 1, *(end + 2 for end in ends), *(chance.randrange(last) for _ in range(4))})


@every_file
def test_what_a_server_answers_at_once_is_what_the_client_reads(file: str) -> None:
    for recording in wholes(file):
        told = told_by_server(recording.body, stream=False)
        body = whole(recording.reply).body
        assert_same(heard_whole(body), told, recording.name, usage=True)
        assert_fits("body", orjson.loads(body), recording.name)


@every_file
def test_events_tell_what_the_bytes_tell(file: str) -> None:
    for recording in [*streams(file), *wholes(file)]:
        decoder = Decoder(recording.done_marker)
        events = [*decoder.feed(recording.body), *decoder.end()] if recording.streamed else answer(recording.reply)
        body = openai_encoder.whole(events, created=0)
        assert_fits("body", body, recording.name)
        told = as_events_tell(told_by_server(recording.body, recording.streamed))
        assert_same(as_events_tell(heard_whole(orjson.dumps(body))), told, recording.name, usage=True)


def as_events_tell(story: Story) -> Story:
    """A story without what events tell in another form than OpenAI-shaped servers do."""
    for said in story.choices.values():
        if said.function[0]:  # a call of the older grammar is told as a tool call
            said.calls[0] = ["call_0", *said.function, "function"]
            said.function, said.finish = ["", ""], "tool_calls" if said.finish == "function_call" else said.finish
        for call in said.calls.values():  # arguments are JSON, also the plain text for a custom tool
            if call[3] == "custom":
                call[2:] = [orjson.dumps(call[2]).decode(), "function"]
            if said.finish != "length":
                call[2] = call[2] or "{}"
        said.text, said.spoken = said.text + said.spoken, ""
    if story.usage:
        prompt, completion, total = story.usage
        completion = max(completion, total - prompt)  # reasoning that some leave out
        story.usage = prompt, completion, prompt + completion
    return story


def test_openai_s_own_streams_are_relayed_as_they_came() -> None:
    for recording in streams("openai.chat"):
        if recording.capture == "wire":
            expected = recording.body.replace(b',"system_fingerprint":null', b"")
            assert relayed(recording, [recording.body], include_usage=True) == expected, recording.name


@pytest.mark.parametrize("name", sorted(FAILED_MIDWAY))
def test_an_error_within_a_stream_is_a_failure(name: str) -> None:
    recording = next(r for r in recordings("openai_compat.chat") if r.name == name)
    with pytest.raises(UpstreamError) as failed:
        relayed(recording, [recording.body], include_usage=True)
    assert failed.value.failure is Failure.REJECTED
    assert "tool" in failed.value.message.lower()


@pytest.mark.parametrize(("name", "failure"), NO_ANSWER.items())
def test_a_200_that_is_no_answer_is_a_failure(name: str, failure: Failure) -> None:
    recording = next(r for file in FILES for r in recordings(file) if r.name == name)
    with pytest.raises(UpstreamError) as failed:
        whole(recording.reply)
    assert failed.value.failure is failure


REASONS = {
    b"context": Failure.CONTEXT_TOO_LONG,
    b"too_many_prompt_tokens": Failure.CONTEXT_TOO_LONG,
    b"decommissioned": Failure.MODEL_MISSING,
    b"supported API model names": Failure.MODEL_MISSING,
    b"tools is not supported": Failure.REJECTED,
}
"""What an error's words say of it, where that is more than its status says."""
STATUSES = {
    **dict.fromkeys((400, 422), Failure.REJECTED),
    **dict.fromkeys((401, 403), Failure.CREDENTIALS),
    404: Failure.MODEL_MISSING,
    429: Failure.RATE_LIMITED,
    500: Failure.SERVER_ERROR,
}


@every_file
def test_a_refusal_is_told_for_what_it_is(file: str) -> None:
    for recording in recordings(file):
        if recording.status >= 400:
            told = refusal(recording.reply)
            worded = next((failure for words, failure in REASONS.items() if words in recording.body), None)
            if b"Invalid schema" in recording.body or b"tool_use_failed" in recording.body:
                worded = Failure.REJECTED
            assert told.failure is (worded or STATUSES[recording.status]), (recording.name, told.said)
            assert told.said, recording.name
            assert "HTTP" not in told.said, recording.name


def assert_same(heard: Story, told: Story, name: str, usage: bool) -> None:
    for choice, said in told.choices.items():
        for index, call in said.calls.items():
            if not call[0]:  # the one field that may not stay empty
                call[0] = heard.choices[choice].calls[index][0]
                assert call[0], name
        if name in UNFINISHED:
            heard.choices[choice].finish = said.finish
    assert heard.choices == told.choices, name
    assert not usage or heard.usage == told.usage, name


# Schemas.


def assert_fits(kind: str, thing: Any, name: str) -> None:
    if not _fits(kind, form := _form(thing)):
        complaints = [error.message for schema in _schemas()[kind] for error in schema.iter_errors(orjson.loads(form))]
        pytest.fail(f"{name}: {complaints}")


@cache
def _fits(kind: str, form: bytes) -> bool:
    return all(schema.is_valid(orjson.loads(form)) for schema in _schemas()[kind])


FREE = frozenset(
    {
        "content",
        "reasoning_content",
        "reasoning",
        "id",
        "arguments",
        "model",
        "system_fingerprint",
        "token",
        "obfuscation",
    }
)


def _form(thing: Any) -> bytes:
    """What of a thing matters to a schema: not its texts and numbers. Few chunks of a stream differ in it."""
    return orjson.dumps(_formed(thing))


def _formed(thing: Any, name: str = "") -> Any:
    if isinstance(thing, dict):
        return {key: _formed(value, key) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_formed(item) for item in thing]
    if isinstance(thing, str):
        return "" if name in FREE else thing
    return thing if thing is None or isinstance(thing, bool) else type(thing)()


@cache
def _schemas() -> dict[str, list[jsonschema.Draft202012Validator]]:
    sdk = orjson.loads((SPECS / "openai-sdk-3.52.0.jsonschema.json").read_bytes())["schemas"]
    api = yaml.load((SPECS / "openapi.yaml").read_bytes(), Loader=yaml.CSafeLoader)
    defined = {"components": {"schemas": _nullable(api["components"]["schemas"])}}

    def described(name: str) -> jsonschema.Draft202012Validator:
        return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **defined})

    return {
        "chunk": [
            jsonschema.Draft202012Validator(sdk["ChatCompletionChunk"]),
            described("CreateChatCompletionStreamResponse"),
        ],
        "body": [jsonschema.Draft202012Validator(sdk["ChatCompletion"]), described("CreateChatCompletionResponse")],
    }


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON schema's own words."""
    if isinstance(schema, list):
        return [_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _nullable(value) for key, value in schema.items() if key not in ("discriminator", "example")}
    return {"anyOf": [converted, {"type": "null"}]} if converted.pop("nullable", False) is True else converted
