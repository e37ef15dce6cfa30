"""Recorded answers of Gemini reach the client as Google's own SDK reads them: whole, right and in order."""

from __future__ import annotations

import base64
import gzip
import random
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Event, Pictured, ReasoningSealed, ToolCallStarted
from gateway.dialects.gemini import answer, refusal, stream
from gateway.dialects.gemini_turns import unsealed
from gateway.surfaces.openai_encoder import Encoder, whole
from tests.conformance.openai_reference import Story, events_of, heard_by_client, heard_whole
from tests.conformance.test_recordings_openai import assert_fits, cut

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "recordings"
FILES = ["gemini.generateContent", "gemini.streamGenerateContent"]
TARGET = Target("google", "gemini-2.5-flash", {})

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here"),
]
every_file = pytest.mark.parametrize("file", FILES)

NO_ANSWER = {
    "gemini-000421": Failure.CONTENT_FILTERED,  # a reason nobody knows yet
    "gemini-000436": Failure.MALFORMED,  # of another grammar
    "gemini-000566": Failure.SERVER_ERROR,  # an error in the middle of a stream
    "gemini-000648": Failure.CONTENT_FILTERED,
    "gemini-000678": Failure.MALFORMED,  # a cache was made, nothing was asked
    "gemini-001124": Failure.SERVER_ERROR,  # "failed to generate content due to internal error"
    "gemini-001159": Failure.CONTENT_FILTERED,
    "gemini-001229": Failure.MALFORMED,  # of another grammar
    "gemini-001348": Failure.CONTENT_FILTERED,
    "gemini-001588": Failure.CONTENT_FILTERED,
    "gemini-001709": Failure.MALFORMED,  # a cache was made, nothing was asked
    "gemini-001729": Failure.CONTENT_FILTERED,
}
MEANS: dict[str | None, str] = {
    **dict.fromkeys(("STOP", "FAKE_NEW_FINISH_REASON", None), "stop"),
    "MAX_TOKENS": "length",
    **dict.fromkeys(("SAFETY", "MODEL_ARMOR"), "content_filter"),
}
NUMBERED = {1: "STOP", 2: "MAX_TOKENS"}
"""Some were asked for with `enum-encoding=int`, which the SDK does not read."""


class Recording:
    def __init__(self, told: Any) -> None:
        self.name: str = told["name"]
        self.status: int = told["response"]["status"]
        self.streamed: bool = told["response"]["stream"]
        self.body: bytes = (told["response"]["body_text"] or "").encode()

    @property
    def reply(self) -> UpstreamReply:
        return UpstreamReply(self.status, (), self.body)

    def events(self, pieces: Iterable[bytes] | None = None) -> Iterator[Event]:
        """The story as the dialect tells it."""
        if not self.streamed:
            yield from answer(self.reply)
            return
        decoder = stream(TARGET)
        for piece in [self.body] if pieces is None else pieces:
            yield from decoder.feed(piece)
        yield from decoder.end()

    def chunks(self) -> list[Json]:
        """The story in the server's own objects, found in another way than the dialect does."""
        if not self.streamed or self.body.lstrip().startswith(b"["):
            read = orjson.loads(self.body)
            return read if isinstance(read, list) else [read]
        return [orjson.loads(line[5:]) for line in self.body.splitlines() if line.startswith(b"data:")]


@cache
def recordings(file: str) -> list[Recording]:
    with gzip.open(RECORDINGS / f"{file}.jsonl.gz", "rb") as lines:
        return [Recording(orjson.loads(line)) for line in lines]


def answers(file: str) -> Iterator[Recording]:
    return (each for each in recordings(file) if each.status < 400 and each.name not in NO_ANSWER)


# What the SDK reads.


def read_by_sdk(chunk: Json) -> Any:
    types = pytest.importorskip("google.genai.types")
    for candidate in chunk.get("candidates", ()):
        candidate["finishReason"] = NUMBERED.get(candidate.get("finishReason"), candidate.get("finishReason"))
        candidate.pop("safetyRatings", None)  # with numbers too; we tell nothing of them
    chunk.get("usageMetadata", {}).pop("trafficType", None)
    for counts in chunk.get("usageMetadata", {}).values():
        for each in counts if isinstance(counts, list) else ():
            each.pop("modality", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reasons that are not in its list
        return types.GenerateContentResponse._from_response(response=chunk, kwargs={})


class Told:
    """A story from the SDK's objects, in OpenAI's words."""

    def __init__(self, chunks: list[Any]) -> None:
        self.story = Story()
        self.signatures: list[str] = []
        self.pictures: list[str] = []
        for chunk in chunks:
            for position, candidate in enumerate(chunk.candidates or ()):
                index = candidate.index if candidate.index is not None else position
                self._candidate(index, candidate)
            counts = chunk.usage_metadata
            if counts:
                prompt = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
                completion = (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)
                self.story.usage = (prompt, completion, prompt + completion) if prompt + completion else None
        for said in self.story.choices.values():
            said.finish = said.finish or "stop"
            if said.calls and said.finish == "stop":
                said.finish = "tool_calls"

    def _candidate(self, index: int, candidate: Any) -> None:
        said = self.story.choice(index)
        for part in (candidate.content and candidate.content.parts) or ():
            if part.thought:
                said.reasoning += part.text or ""
            else:
                said.text += part.text or ""
            if call := part.function_call:
                arguments = orjson.dumps(call.args or {}, option=orjson.OPT_SORT_KEYS).decode()
                said.calls[len(said.calls)] = [call.id or "", call.name, arguments, "function"]
            if part.inline_data and part.inline_data.mime_type.startswith("image/"):
                self.pictures.append(base64.b64encode(part.inline_data.data).decode())
            if part.thought_signature:
                self.signatures.append(canonical(base64.b64encode(part.thought_signature).decode()))
        if candidate.finish_reason is not None:
            said.finish = MEANS[str(candidate.finish_reason.value)]


def canonical(signature: str) -> str:
    """Base64 in one alphabet and without padding, as the SDK decodes both."""
    return signature.replace("-", "+").replace("_", "/").rstrip("=")


def signatures_of(events: list[Event]) -> list[str]:
    told = [
        event.signature if isinstance(event, ToolCallStarted) else unsealed(event.data).get("thoughtSignature", "")
        for event in events
        if isinstance(event, ToolCallStarted | ReasoningSealed)
    ]
    return [canonical(signature) for signature in told if signature]


def encoded(events: Iterable[Event]) -> bytes:
    encoder = Encoder(created=1, include_usage=True, id="req_1")
    return b"".join([encoder.encode(event) for event in events] + [encoder.end()])


def assert_same(heard: Story, told: Story, name: str) -> None:
    for index, said in heard.choices.items():
        for call, other in zip(said.calls.values(), told.choices[index].calls.values(), strict=True):
            assert call[0], name
            call[0] = other[0] and call[0]  # one without an id was given one
            call[2] = orjson.dumps(orjson.loads(call[2]), option=orjson.OPT_SORT_KEYS).decode()
    assert heard == told, name


@every_file
def test_what_gemini_says_is_what_the_client_hears(file: str) -> None:
    for recording in answers(file):
        told = Told([read_by_sdk(chunk) for chunk in recording.chunks()])
        events = list(recording.events())
        body = whole(events, created=1)
        assert_fits("body", body, recording.name)
        assert_same(heard_whole(orjson.dumps(body)), told.story, recording.name)
        chunks = events_of(encoded(events))
        for chunk in chunks:
            assert_fits("chunk", chunk, recording.name)
        assert_same(heard_by_client(chunks), told.story, recording.name)
        assert signatures_of(events) == told.signatures, recording.name
        pictures = [event.url.partition(",")[2] for event in events if isinstance(event, Pictured)]
        assert pictures == told.pictures, recording.name


@every_file
def test_sources_point_at_the_words_they_support(file: str) -> None:
    for recording in answers(file):
        message = whole(recording.events(), created=1)["choices"][0]["message"]
        cited = [each["url_citation"] for each in message.get("annotations", ())]
        quoted = [message["content"][each["start_index"] : each["end_index"]] for each in cited]
        for chunk in recording.chunks():
            for candidate in chunk.get("candidates", ()):
                grounding = candidate.get("groundingMetadata", {})
                sources = range(len(grounding.get("groundingChunks", ())))
                for support in grounding.get("groundingSupports", ()):
                    if any(index in sources for index in support["groundingChunkIndices"]):
                        assert support["segment"]["text"] in quoted, recording.name


def test_how_the_network_cuts_a_stream_does_not_matter() -> None:
    for recording in answers("gemini.streamGenerateContent"):
        pieces = cut(recording.body, recording.name)
        assert list(recording.events(pieces)) == list(recording.events()), recording.name


def test_no_part_of_a_stream_passes_for_the_whole() -> None:
    """Up to its first finish reason; what Gemini says after one cannot be known to be missing, but for a half event."""
    for recording in answers("gemini.streamGenerateContent"):
        first, last = recording.body.index(b'"finishReason"'), len(recording.body.rstrip()) - 1
        chance = random.Random(recording.name)
        for end in (0, 1, first, last, *(chance.randrange(first) for _ in range(5))):
            with pytest.raises(UpstreamError):
                assert list(recording.events([recording.body[:end]])) is None, (recording.name, end)


@every_file
def test_a_200_that_is_no_answer_is_a_failure(file: str) -> None:
    for recording in recordings(file):
        if recording.name in NO_ANSWER:
            with pytest.raises(UpstreamError) as failed:
                list(recording.events())
            assert failed.value.failure is NO_ANSWER[recording.name], recording.name


REASONS = {
    b"API_KEY_INVALID": Failure.CREDENTIALS,
    b"location is not supported": Failure.CREDENTIALS,
    b"cache content metadata": Failure.REJECTED,
}
"""What an error says of itself, where that is more than its status says."""
STATUSES = {
    400: Failure.REJECTED,
    403: Failure.CREDENTIALS,
    404: Failure.MODEL_MISSING,
    429: Failure.RATE_LIMITED,
}


@every_file
def test_a_refusal_is_told_for_what_it_is(file: str) -> None:
    for recording in recordings(file):
        if recording.status >= 400:
            told = refusal(recording.reply)
            worded = next((failure for words, failure in REASONS.items() if words in recording.body), None)
            assert told.failure is (worded or STATUSES[recording.status]), (recording.name, told.said)
            assert told.said in recording.body.decode().replace('\\"', '"').replace("\\n", "\n"), recording.name
