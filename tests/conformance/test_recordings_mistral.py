"""Recorded answers of Mistral reach the client whole, right and in order: as Mistral's own SDK reads the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import httpx
import orjson
import pytest
from mistralai.client import Mistral

from gateway.core.call import Target
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Event, UsageReported
from gateway.dialects.mistral import answer, refusal, stream
from gateway.dialects.openai_relay import Relay
from gateway.dialects.openai_relay import whole as relayed_whole
from gateway.surfaces.openai_encoder import whole
from tests.conformance.openai_reference import Story, events_of, heard_by_client, heard_whole
from tests.conformance.served import Served
from tests.conformance.test_recordings_openai import (
    RECORDINGS,
    SPECS,
    Recording,
    assert_fits,
    cut,
    cut_points,
    recordings,
    relayed,
)

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPECS.is_dir()), reason="the shared recordings are not here"),
]

FILE = "mistral.chat"
TARGET = Target("mistral", "mistral-small", {})

NO_ANSWER = {"mistral-000124": Failure.MALFORMED}
"""The text of a scanned page: another of Mistral's operations."""


def answered() -> Iterator[Recording]:
    return (r for r in recordings(FILE) if r.status < 400 and r.name not in NO_ANSWER)


def streams() -> Iterator[Recording]:
    return (r for r in answered() if r.streamed)


def told(recording: Recording) -> list[Event]:
    return heard([recording.body]) if recording.streamed else list(answer(recording.reply))


def heard(pieces: Iterable[bytes]) -> list[Event]:
    decoder = stream(TARGET)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.end()]


def test_events_tell_what_mistral_s_sdk_hears() -> None:
    for recording in answered():
        body = whole(told(recording), created=1)
        assert heard_whole(orjson.dumps(body)) == with_sound(read_by_sdk(recording)), recording.name
        assert_fits("body", body, recording.name)


def with_sound(story: Story) -> Story:
    """Events count as input what only the total has: the sound of a prompt, which `prompt_tokens` leaves out."""
    assert story.usage
    _, completion, total = story.usage
    return replace(story, usage=(total - completion, completion, total))


def test_what_is_relayed_tells_what_mistral_s_sdk_hears() -> None:
    for recording in answered():
        story = read_by_sdk(recording)
        if not recording.streamed:
            body = relayed_whole(recording.reply).body
            assert heard_whole(body) == story, recording.name
            assert_fits("body", orjson.loads(body), recording.name)
            continue
        chunks = events_of(relayed(recording, [recording.body], include_usage=True))
        assert heard_by_client(chunks) == story, recording.name
        for chunk in chunks:
            chunk.pop("p", None)  # padding, different in each
            assert_fits("chunk", chunk, recording.name)


def test_plain_text_is_relayed_as_the_bytes_that_came() -> None:
    plain = 0
    for recording in streams():
        relay, bodies = Relay(include_usage=True, done_marker=True), recording.body.split(b"\n\n")
        for event in bodies[:-2]:
            out = relay.feed(event + b"\n\n")
            if b'"delta":{"content":"' in event and b'"finish_reason":null' in event and out.count(b"data:") == 1:
                assert out == event + b"\n\n", recording.name
                plain += 1
    assert plain > 300


def test_how_the_network_cuts_a_stream_does_not_matter() -> None:
    for recording in streams():
        pieces = cut(recording.body, recording.name)
        assert heard(pieces) == told(recording), recording.name
        at_once = relayed(recording, [recording.body], include_usage=True)
        assert relayed(recording, pieces, include_usage=True) == at_once, recording.name


def test_no_part_of_a_stream_passes_for_the_whole() -> None:
    for recording in streams():
        for end in cut_points(recording):
            with pytest.raises(UpstreamError):
                assert heard([recording.body[:end]]) is None, (recording.name, end)


def test_every_answer_tells_its_cost_once() -> None:
    for recording in answered():
        (usage,) = (event.usage for event in told(recording) if isinstance(event, UsageReported))
        assert usage.cache_read <= usage.input, recording.name


@pytest.mark.parametrize("name", NO_ANSWER)
def test_a_200_that_is_no_answer_is_a_failure(name: str) -> None:
    recording = next(r for r in recordings(FILE) if r.name == name)
    with pytest.raises(UpstreamError) as failed:
        told(recording)
    assert failed.value.failure is NO_ANSWER[name]


REFUSALS = {
    b"Invalid model": Failure.MODEL_MISSING,
    b"Logprobs are not enabled": Failure.REJECTED,
    b"Invalid API Key": Failure.CREDENTIALS,
}


def test_a_refusal_is_told_for_what_it_is() -> None:
    refused = [r for r in recordings(FILE) if r.status >= 400]
    assert refused
    for recording in refused:
        failed = refusal(recording.reply)
        assert failed.failure is next(failure for words, failure in REFUSALS.items() if words in recording.body)
        assert failed.said in recording.body.decode(), recording.name


# The story as the SDK tells it.

FINISHES = {"stop": "stop", "length": "length", "model_length": "length", "tool_calls": "tool_calls"}


SERVED = Served()


@cache
def sdk() -> Mistral:
    """One for all: to make it takes longer than to read an answer."""
    client: Any = httpx.Client(transport=SERVED)
    return Mistral(api_key="none", server_url="http://sdk.invalid", client=client)


def read_by_sdk(recording: Recording) -> Story:
    SERVED.recording = recording
    ask: Any = sdk().chat.stream if recording.streamed else sdk().chat.complete
    answers = ask(model="any", messages=[{"role": "user", "content": "any"}])
    story = Story()
    for body in [event.data for event in answers] if recording.streamed else [answers]:
        _add(story, body, "delta" if recording.streamed else "message")
    for said in story.choices.values():
        for call in said.calls.values():
            call[2] = call[2] or ("" if said.finish == "length" else "{}")
    return story


def _add(story: Story, body: Any, part: str) -> None:
    for choice in body.choices:
        said, message = story.choice(choice.index), getattr(choice, part)
        _add_content(said, message.content)
        for position, call in enumerate(message.tool_calls or ()):
            index = call.index or position
            arguments = call.function.arguments
            parts = said.calls.setdefault(index, [call.id, call.function.name, "", "function"])
            parts[2] += arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        said.finish = FINISHES[choice.finish_reason] if choice.finish_reason else said.finish
    if usage := body.usage:
        story.usage = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def _add_content(said: Any, content: Any) -> None:
    if isinstance(content, str):
        said.text += content
        return
    for part in content or ():
        if part.type == "thinking":
            said.reasoning += "".join(inner.text for inner in part.thinking)
        elif part.type == "text":
            said.text += part.text
