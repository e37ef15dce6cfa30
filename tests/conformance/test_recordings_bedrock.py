"""Recorded answers of Bedrock's Converse reach a client of OpenAI's API whole, right and in order."""

from __future__ import annotations

import gzip
import random
from base64 import b64decode
from collections.abc import Iterable
from functools import cache

import orjson
import pytest

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Event
from gateway.dialects.bedrock import answer, refusal, stream
from gateway.surfaces import openai_encoder
from tests.conformance.bedrock_reference import told_by_sdk
from tests.conformance.openai_reference import Story, events_of, heard_by_client, heard_whole
from tests.conformance.test_recordings_openai import RECORDINGS, SPECS, assert_fits, cut

TARGET = Target("p", "anthropic.claude-sonnet-4-5-20250929-v1:0", {})

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not (RECORDINGS.is_dir() and SPECS.is_dir()), reason="the shared recordings are not here"),
]

FAILED_AT_ONCE = "bedrock-000215"
"""An exception where the first event should be."""
UNCOUNTED_STREAM = "bedrock-000226"
"""Made by hand, without the `metadata` in which every stream of AWS says what it cost. It cannot be told complete."""


class Recording:
    def __init__(self, told: Json) -> None:
        response = told["response"]
        self.name: str = told["name"]
        self.status: int = response["status"]
        self.streamed: bool = "body_base64" in response
        self.body = b64decode(response["body_base64"]) if self.streamed else response["body_text"].encode()
        self.headers = tuple((k.lower().encode(), str(v).encode()) for k, v in (response["headers"] or {}).items())

    @property
    def reply(self) -> UpstreamReply:
        return UpstreamReply(self.status, self.headers, self.body)


@cache
def recordings() -> dict[str, Recording]:
    read = []
    for file in ("bedrock.converse", "bedrock.converse-stream"):
        with gzip.open(RECORDINGS / f"{file}.jsonl.gz", "rb") as lines:
            read += [Recording(orjson.loads(line)) for line in lines]
    return {recording.name: recording for recording in read}


def streams() -> list[Recording]:
    failed = (FAILED_AT_ONCE, UNCOUNTED_STREAM)
    return [r for r in recordings().values() if r.streamed and r.status < 400 and r.name not in failed]


def wholes() -> list[Recording]:
    return [r for r in recordings().values() if not r.streamed and r.status < 400]


def heard(pieces: Iterable[bytes]) -> list[Event]:
    decoder = stream(TARGET)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.end()]


def chunks(events: Iterable[Event]) -> list[Json]:
    """What a client that streams is sent."""
    encoder = openai_encoder.Encoder(created=1, include_usage=True, id="chatcmpl-1")
    return events_of(b"".join(encoder.encode(event) for event in events) + encoder.end())


def with_plain_arguments(story: Story) -> Story:
    """The same with the arguments of calls in one spelling."""
    for said in story.choices.values():
        for call in said.calls.values():
            call[2] = orjson.dumps(orjson.loads(call[2] or "{}")).decode()
    return story


def sealed_in(message: Json) -> list[Json]:
    return [{k: v for k, v in detail.items() if k != "index"} for detail in message.get("reasoning_details", ())]


def sources_in(message: Json) -> list[tuple[str, str]]:
    cited = [annotation["url_citation"] for annotation in message.get("annotations", ())]
    return [(message["content"][one["start_index"] : one["end_index"]], one["title"]) for one in cited]


def test_a_streamed_answer_says_what_awss_own_sdk_reads() -> None:
    for recording in streams():
        told = told_by_sdk(recording.body, stream=True)
        events = heard([recording.body])
        sent = chunks(events)
        for chunk in sent:
            assert_fits("chunk", chunk, recording.name)
        assert with_plain_arguments(heard_by_client(sent)) == told.story, recording.name
        message = openai_encoder.whole(events, created=1)["choices"][0]["message"]
        assert (sealed_in(message), sources_in(message)) == (told.sealed, told.sources), recording.name


def test_a_whole_answer_says_what_awss_own_sdk_reads() -> None:
    for recording in wholes():
        told = told_by_sdk(recording.body, stream=False)
        body = openai_encoder.whole(answer(recording.reply), created=1)
        assert_fits("body", body, recording.name)
        assert with_plain_arguments(heard_whole(orjson.dumps(body))) == told.story, recording.name
        message = body["choices"][0]["message"]
        assert (sealed_in(message), sources_in(message)) == (told.sealed, told.sources), recording.name


def test_how_the_network_cuts_a_stream_does_not_matter() -> None:
    for recording in streams():
        assert heard(cut(recording.body, recording.name)) == heard([recording.body]), recording.name


def test_no_part_of_a_stream_passes_for_the_whole() -> None:
    for recording in [*streams(), recordings()[UNCOUNTED_STREAM]]:
        chance = random.Random(recording.name)
        size = len(recording.body)
        for end in {0, 1, size - 1, *(chance.randrange(size) for _ in range(8))}:
            with pytest.raises(UpstreamError) as failed:
                assert heard([recording.body[:end]]) is None, (recording.name, end)
            assert failed.value.failure is Failure.TRUNCATED, (recording.name, end)


def test_a_stream_that_does_not_say_what_it_cost_is_not_complete() -> None:
    with pytest.raises(UpstreamError) as failed:
        heard([recordings()[UNCOUNTED_STREAM].body])
    assert failed.value.failure is Failure.TRUNCATED


def test_an_exception_within_a_stream_is_a_failure() -> None:
    with pytest.raises(UpstreamError) as failed:
        heard([recordings()[FAILED_AT_ONCE].body])
    assert (failed.value.failure, failed.value.status) == (Failure.REJECTED, 400)
    assert "does not match the expected type image/png" in failed.value.message


REFUSALS = {
    "bedrock-000031": Failure.CONTEXT_TOO_LONG,
    "bedrock-000162": Failure.CREDENTIALS,  # an unknown key
    "bedrock-000434": Failure.CREDENTIALS,  # an expired token
    "bedrock-000439": Failure.MODEL_MISSING,  # "The provided model identifier is invalid."
    "bedrock-000455": Failure.CREDENTIALS,  # a signature of five minutes ago
}


def test_a_refusal_is_told_for_what_it_is() -> None:
    refused = {name: refusal(r.reply) for name, r in recordings().items() if r.status >= 400}
    assert {name: error.failure for name, error in refused.items()} == REFUSALS
    for name, error in refused.items():
        words = orjson.loads(recordings()[name].body)["message"].rstrip(".")
        assert error.said.startswith(words), name
        told = error.failure is Failure.CONTEXT_TOO_LONG
        assert error.message.startswith(words) is told, name
