"""Recorded answers of Cohere reach the client whole, right and in order: as Cohere's own SDK reads the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import cohere
import httpx
import orjson
import pytest

from gateway.core.call import Target
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Cited, Event, LogProbs, Text
from gateway.dialects.cohere import answer, refusal, stream
from gateway.surfaces.openai_encoder import Encoder, whole
from tests.conformance.openai_reference import Story, events_of, heard_by_client, heard_whole
from tests.conformance.served import Served
from tests.conformance.test_recordings_openai import RECORDINGS, SPECS, Recording, assert_fits, cut, recordings

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPECS.is_dir()), reason="the shared recordings are not here"),
]

FILE = "cohere.chat"
TARGET = Target("cohere", "command-a", {})

NO_ANSWER = {"cohere-000171": Failure.MALFORMED}
"""An answer of the first version's API."""
BROKE_OFF = {"cohere-000152": "invalid tool generation", "cohere-000193": "invalid tool generation"}
"""`finish_reason: ERROR` at the end of a stream."""


def answered() -> Iterator[Recording]:
    left_out = NO_ANSWER.keys() | BROKE_OFF.keys()
    return (r for r in recordings(FILE) if r.status < 400 and r.name not in left_out)


def streams() -> Iterator[Recording]:
    return (r for r in answered() if r.streamed)


def told(recording: Recording) -> list[Event]:
    return heard([recording.body]) if recording.streamed else list(answer(recording.reply))


def heard(pieces: Iterable[bytes]) -> list[Event]:
    decoder = stream(TARGET)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.end()]


def test_the_client_hears_what_cohere_s_sdk_hears() -> None:
    for recording in answered():
        events, story = told(recording), read_by_sdk(recording)
        body = whole(events, created=1)
        assert heard_whole(orjson.dumps(body)) == story, recording.name
        assert_fits("body", body, recording.name)
        encoder = Encoder(created=1, include_usage=True, id="call")
        chunks = events_of(b"".join(encoder.encode(event) for event in events) + encoder.end())
        assert heard_by_client(chunks) == story, recording.name
        for chunk in chunks:
            assert_fits("chunk", chunk, recording.name)


def test_how_the_network_cuts_a_stream_does_not_matter() -> None:
    for recording in streams():
        assert heard(cut(recording.body, recording.name)) == told(recording), recording.name


def test_no_part_of_a_stream_passes_for_the_whole() -> None:
    for recording in streams():
        ends = [found.end() for found in re.finditer(b"\n\n", recording.body[: recording.body.index(b"message-end")])]
        last = recording.body.index(b"finish_reason")
        for end in {0, 1, *ends[:3], *ends[-3:], *range(3, last, max(1, last // 20)), last}:
            with pytest.raises(UpstreamError):
                assert heard([recording.body[:end]]) is None, (recording.name, end)


def test_a_source_stands_at_the_words_that_it_is_for() -> None:
    cited = 0
    for recording in answered():
        events = told(recording)
        text = "".join(event.text for event in events if isinstance(event, Text))
        wanted = [(c["text"], source["id"]) for c in citations(recording) for source in c["sources"]]
        found = [event for event in events if isinstance(event, Cited)]
        assert [(text[event.start : event.end]) for event in found] == [words for words, _ in wanted], recording.name
        assert [event.url for event in found] == [f"document:{id}" for _, id in wanted], recording.name
        cited += len(found)
    assert cited


def citations(recording: Recording) -> list[Any]:
    if not recording.streamed:
        return list(orjson.loads(recording.body)["message"].get("citations") or ())
    events = [orjson.loads(line) for line in re.findall(rb"data: ?(\{.*)", recording.body)]
    return [event["delta"]["message"]["citations"] for event in events if event["type"] == "citation-start"]


def test_token_counts_are_those_of_the_model() -> None:
    for recording in answered():
        assert not any(isinstance(event, LogProbs) for event in told(recording)), recording.name
        usage = whole(told(recording), created=1)["usage"]
        counted = [int(count) for count in re.findall(rb'"reasoning_tokens": ?(\d+)', recording.body)]
        assert usage["completion_tokens_details"]["reasoning_tokens"] == sum(counted), recording.name
        cached = [int(count) for count in re.findall(rb'"cached_tokens": ?(\d+)', recording.body)]
        assert usage["prompt_tokens_details"]["cached_tokens"] == sum(cached), recording.name


@pytest.mark.parametrize("name", BROKE_OFF)
def test_an_answer_that_broke_off_is_a_failure(name: str) -> None:
    recording = next(r for r in recordings(FILE) if r.name == name)
    with pytest.raises(UpstreamError) as failed:
        told(recording)
    assert failed.value.failure is Failure.SERVER_ERROR
    assert BROKE_OFF[name] in failed.value.said
    assert failed.value.upstream_code == "INVALID_TOOL_GENERATION"


@pytest.mark.parametrize("name", NO_ANSWER)
def test_a_200_that_is_no_answer_is_a_failure(name: str) -> None:
    recording = next(r for r in recordings(FILE) if r.name == name)
    with pytest.raises(UpstreamError) as failed:
        told(recording)
    assert failed.value.failure is NO_ANSWER[name]


REFUSALS = {400: Failure.CONTEXT_TOO_LONG, 401: Failure.CREDENTIALS}


def test_a_refusal_is_told_for_what_it_is() -> None:
    refused = [r for r in recordings(FILE) if r.status >= 400]
    assert {r.status for r in refused} == REFUSALS.keys()
    for recording in refused:
        failed = refusal(recording.reply)
        assert failed.failure is REFUSALS[recording.status], recording.name
        assert failed.said in recording.body.decode(), recording.name


# The story as the SDK tells it.

FINISHES = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


SERVED = Served()


@cache
def sdk() -> cohere.ClientV2:
    """One for all: to make it takes longer than to read an answer."""
    client = httpx.Client(transport=SERVED)
    return cohere.ClientV2(api_key="none", base_url="http://sdk.invalid", httpx_client=client)


def read_by_sdk(recording: Recording) -> Story:
    SERVED.recording = recording
    story = Story()
    if recording.streamed:
        for event in sdk().chat_stream(model="any", messages=[]):
            _hear(story, event)
    else:
        _read(story, sdk().chat(model="any", messages=[]))
    return story


def _hear(story: Story, event: Any) -> None:
    said = story.choice(0)
    message: Any = getattr(getattr(event, "delta", None), "message", None)
    match event.type:
        case "tool-plan-delta":
            said.text += message.tool_plan
        case "content-start" | "content-delta":
            said.text += message.content.text or ""
            said.reasoning += message.content.thinking or ""
        case "tool-call-start":
            call = message.tool_calls
            said.calls[event.index] = [call.id, call.function.name, call.function.arguments, "function"]
        case "tool-call-delta":
            said.calls[event.index][2] += message.tool_calls.function.arguments
        case "message-end":
            _close(story, event.delta.finish_reason, event.delta.usage)


def _read(story: Story, body: Any) -> None:
    said, message = story.choice(0), body.message
    said.text = message.tool_plan or ""
    for content in message.content or ():
        said.text += getattr(content, "text", None) or ""
        said.reasoning += getattr(content, "thinking", None) or ""
    for index, call in enumerate(message.tool_calls or ()):
        said.calls[index] = [call.id, call.function.name, call.function.arguments, "function"]
    _close(story, body.finish_reason, body.usage)


def _close(story: Story, finish: str, usage: Any) -> None:
    said = story.choice(0)
    said.finish = FINISHES[finish]
    for call in said.calls.values():
        call[2] = "{}" if call[2] in ("", "null") else call[2]
    read, written = int(usage.tokens.input_tokens), int(usage.tokens.output_tokens)
    story.usage = read, written, read + written
