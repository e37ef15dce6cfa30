"""Recorded answers of the Messages API reach a client of OpenAI's API whole, right and in order."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

import orjson
import pytest

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Event
from gateway.dialects.anthropic import answer, refusal, stream
from gateway.surfaces import openai_encoder
from tests.conformance.anthropic_reference import sealed_in, sources_in, told_by_sdk, with_plain_arguments
from tests.conformance.openai_reference import events_of, heard_by_client, heard_whole
from tests.conformance.test_recordings_openai import RECORDINGS, SPECS, Recording, assert_fits, cut, recordings

FILES = ["anthropic.messages", "ollama.v1-messages"]
TARGET = Target("p", "claude-sonnet-4-5", {})

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPECS.is_dir()), reason="the shared recordings are not here"),
]

SPLICED = "anthropic-000806"
"""A proxy's two attempts in one stream: the second message begins in the middle of the first one's tool call."""
PROGRAM = "anthropic-000134"
"""Calls that the provider's own program made, and had answered before the turn ended. To a client they are calls."""
NO_ANSWER = "ollama-000152"
"""An error, recorded with status 200."""


def streams() -> Iterator[Recording]:
    return (r for f in FILES for r in recordings(f) if r.streamed and r.status < 400 and r.name != SPLICED)


def wholes() -> Iterator[Recording]:
    return (r for f in FILES for r in recordings(f) if not r.streamed and r.status < 400 and r.name != NO_ANSWER)


def heard(pieces: Iterable[bytes]) -> list[Event]:
    decoder = stream(TARGET)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.end()]


def chunks(events: Iterable[Event]) -> list[Json]:
    """What a client that streams is sent, and its full stop."""
    encoder = openai_encoder.Encoder(created=1, include_usage=True, id="chatcmpl-1")
    return events_of(b"".join(encoder.encode(event) for event in events) + encoder.end())


def test_a_streamed_answer_says_what_the_providers_own_sdk_reads() -> None:
    for recording in streams():
        told = told_by_sdk(recording.body, stream=True)
        events = heard([recording.body])
        sent = chunks(events)
        for chunk in sent:
            assert_fits("chunk", chunk, recording.name)
        assert with_plain_arguments(heard_by_client(sent)) == with_plain_arguments(told.story), recording.name
        message = openai_encoder.whole(events, created=1)["choices"][0]["message"]
        assert (sealed_in(message), sources_in(message)) == (told.sealed, told.sources), recording.name


def test_a_whole_answer_says_what_the_providers_own_sdk_reads() -> None:
    for recording in wholes():
        told = told_by_sdk(recording.body, stream=False)
        if recording.name == PROGRAM:
            told.story.choices[0].finish = "tool_calls"
        body = openai_encoder.whole(answer(recording.reply), created=1)
        assert_fits("body", body, recording.name)
        read = heard_whole(orjson.dumps(body))
        assert with_plain_arguments(read) == with_plain_arguments(told.story), recording.name
        message = body["choices"][0]["message"]
        assert (sealed_in(message), sources_in(message)) == (told.sealed, told.sources), recording.name


def test_how_the_network_cuts_a_stream_does_not_matter() -> None:
    for recording in streams():
        assert heard(cut(recording.body, recording.name)) == heard([recording.body]), recording.name


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_all_line_ends_tell_the_same_story(line_end: bytes) -> None:
    for recording in streams():
        body = recording.body.replace(b"\r\n", b"\n")
        assert heard([body.replace(b"\n", line_end)]) == heard([body]), recording.name


def test_no_part_of_a_stream_passes_for_the_whole() -> None:
    for recording in streams():
        for end in cut_points(recording):
            with pytest.raises(UpstreamError):
                assert heard([recording.body[:end]]) is None, (recording.name, end)


def cut_points(recording: Recording) -> list[int]:
    """Some places before the message is complete, at the ends of events and within."""
    body, chance = recording.body, random.Random(recording.name)
    found = re.search(rb'^data:.*"message_stop"\s*}', body, re.MULTILINE)
    assert found is not None
    last = found.end()
    boundaries = [blank.end() for blank in re.finditer(rb"\r?\n\r?\n", body[:last])]
    ends = chance.sample(boundaries, min(4, len(boundaries)))
    return sorted({0, 1, last - 1, *ends, *(chance.randrange(last) for _ in range(4))})


def test_two_answers_spliced_into_one_are_a_failure() -> None:
    recording = next(r for r in recordings(FILES[0]) if r.name == SPLICED)
    with pytest.raises(UpstreamError) as failed:
        heard([recording.body])
    assert failed.value.failure is Failure.MALFORMED


def test_an_error_told_with_status_200_is_a_failure() -> None:
    recording = next(r for r in recordings(FILES[1]) if r.name == NO_ANSWER)
    with pytest.raises(UpstreamError) as failed:
        list(answer(recording.reply))
    assert (failed.value.failure, failed.value.message) == (Failure.REJECTED, "messages is required")


STATUSES = {400: Failure.REJECTED, 401: Failure.CREDENTIALS, 404: Failure.MODEL_MISSING}


def test_a_refusal_is_told_for_what_it_is() -> None:
    refused = [r for file in FILES for r in recordings(file) if r.status >= 400]
    assert refused
    for recording in refused:
        told = refusal(recording.reply)
        long = b"prompt is too long" in recording.body
        assert told.failure is (Failure.CONTEXT_TOO_LONG if long else STATUSES[recording.status]), recording.name
        assert told.said == orjson.loads(recording.body)["error"]["message"], recording.name
        assert told.status == (recording.status if recording.status in (400, 404) else 502), recording.name


def test_the_wait_until_a_limit_is_replenished_is_read_from_real_headers() -> None:
    """No recorded answer was limited, but a thousand say how they are: each would be told a time to wait."""
    told = [
        r for f in FILES for r in recordings(f) if any(b"ratelimit-requests-reset" in name for name, _ in r.headers)
    ]
    dated = [r for r in told if any(name == b"date" for name, _ in r.headers)]
    assert dated
    for recording in dated:
        wait = refusal(UpstreamReply(429, recording.headers, b"{}")).retry_after
        assert wait is not None, recording.name
        assert 0 <= wait < 3600, recording.name
