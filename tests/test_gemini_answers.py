"""What Gemini answers, told as events."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    LogProbs,
    Pictured,
    Reasoning,
    ReasoningSealed,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.gemini_answers import answer, stream
from gateway.dialects.gemini_turns import unsealed

TARGET = Target("google", "tide-1", {})
NAMED: Json = {"responseId": "r1", "modelVersion": "tide-1"}
STARTED = Started("r1", "tide-1")


def candidate(*parts: Json, **more: Any) -> Json:
    return {"content": {"role": "model", "parts": list(parts)}, **more}


def told(*parts: Json, finish: Any = "STOP", chunk: Json | None = None, **more: Any) -> list[Event]:
    """The events of one unstreamed answer, between its opening and its end."""
    body = {**NAMED, "candidates": [candidate(*parts, finishReason=finish, **more)], **(chunk or {})}
    first, *events = answer(UpstreamReply(200, (), orjson.dumps(body)))
    assert first == STARTED
    return events


def streamed(*chunks: Json) -> list[Event]:
    decoder = stream(TARGET)
    raw = b"".join(b"data: " + orjson.dumps({**NAMED, **chunk}) + b"\r\n\r\n" for chunk in chunks)
    return [*decoder.feed(raw), *decoder.end()]


def failure_of(body: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as failed:
        list(answer(UpstreamReply(200, (), body)))
    return failed.value


def test_an_answer_is_told_in_order() -> None:
    events = told({"text": "Look.", "thought": True}, {"text": "Ebb"}, {"text": "."})
    assert events == [Reasoning("Look."), Text("Ebb"), Text("."), Finished("stop")]


def test_the_opening_has_a_time_where_there_is_one() -> None:
    body = {**NAMED, "createTime": "2025-10-09T08:53:20.123456789Z", "candidates": [candidate({"text": "a"})]}
    assert next(iter(answer(UpstreamReply(200, (), orjson.dumps(body))))) == Started("r1", "tide-1", 1760000000)


def test_a_call_without_an_id_gets_one_that_is_always_the_same() -> None:
    call = {"functionCall": {"name": "tide_table", "args": {"days": 2}}}
    first, again = told(call, call), told(call, call)
    assert first == again
    assert first == [
        ToolCallStarted(0, "call_r1_0_0", "tide_table"),
        ToolCallArguments(0, '{"days":2}'),
        ToolCallStarted(1, "call_r1_0_1", "tide_table"),
        ToolCallArguments(1, '{"days":2}'),
        Finished("tool_calls"),
    ]


def test_calls_of_answers_without_an_id_differ_too() -> None:
    ids = set()
    for days in (1, 2):
        body = {"candidates": [candidate({"functionCall": {"name": "tide_table", "args": {"days": days}}})]}
        _, call, *_ = answer(UpstreamReply(200, (), orjson.dumps(body)))
        assert isinstance(call, ToolCallStarted)
        ids.add(call.id)
    assert len(ids) == 2


def test_a_call_keeps_its_id_and_its_signature() -> None:
    part = {"functionCall": {"id": "c7", "name": "wind_now"}, "thoughtSignature": "c2ln"}
    assert told(part)[:2] == [ToolCallStarted(0, "c7", "wind_now", 0, "c2ln"), ToolCallArguments(0, "{}")]


def test_arguments_in_pieces_are_not_taken_for_whole_ones() -> None:
    part = {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}]}}
    body = {"candidates": [candidate(part)]}
    assert failure_of(orjson.dumps(body)).failure is Failure.MALFORMED


def test_a_signature_on_a_text_is_sealed_behind_it() -> None:
    text, seal, _ = told({"text": "Six.", "thoughtSignature": "c2ln"})
    assert text == Text("Six.")
    assert isinstance(seal, ReasoningSealed)
    assert unsealed(seal.data) == {"thoughtSignature": "c2ln"}


@pytest.mark.parametrize("part", [{"text": "", "thoughtSignature": "c2ln"}, {"thoughtSignature": "c2ln"}])
def test_a_signature_without_a_text_is_no_text(part: Json) -> None:
    assert told(part) == [ReasoningSealed(data='{"thoughtSignature":"c2ln"}'), Finished("stop")]


@pytest.mark.parametrize("kind", ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"])
def test_what_googles_tools_did_is_kept_for_the_next_turn(kind: str) -> None:
    part = {kind: {"id": "1"}, "thoughtSignature": "c2ln"}
    (seal, _) = told(part)
    assert isinstance(seal, ReasoningSealed)
    assert unsealed(seal.data) == part


def test_a_picture_is_told_as_a_data_url_and_sound_not_at_all() -> None:
    picture, sound = ({"inlineData": {"mimeType": kind, "data": "iVBO"}} for kind in ("image/png", "audio/wav"))
    assert told(sound, picture) == [Pictured("data:image/png;base64,iVBO"), Finished("stop")]


# The end.


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("STOP", "stop"), (1, "stop"), ("A_REASON_OF_TOMORROW", "stop"), ("OTHER", "stop"),
        ("MALFORMED_FUNCTION_CALL", "stop"), ("MAX_TOKENS", "length"), (2, "length"), ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"), ("PROHIBITED_CONTENT", "content_filter"), ("BLOCKLIST", "content_filter"),
        ("SPII", "content_filter"), ("IMAGE_SAFETY", "content_filter"), ("MODEL_ARMOR", "content_filter"),
    ],
)  # fmt: skip
def test_reasons_are_told_in_openais_words(finish: Any, reason: FinishReason) -> None:
    assert told({"text": "Ebb"}, finish=finish)[-1] == Finished(reason)


def test_calls_that_were_cut_off_finish_for_length() -> None:
    assert told({"functionCall": {"name": "f"}}, finish="MAX_TOKENS")[-1] == Finished("length")


def test_an_answer_without_content_is_an_answer() -> None:
    body = {**NAMED, "candidates": [{"finishReason": "SAFETY"}]}
    assert list(answer(UpstreamReply(200, (), orjson.dumps(body)))) == [STARTED, Finished("content_filter")]


@pytest.mark.parametrize(
    ("finish", "failure"),
    [
        ("MALFORMED_FUNCTION_CALL", Failure.MALFORMED),
        ("UNEXPECTED_TOOL_CALL", Failure.MALFORMED),
        ("NO_IMAGE", Failure.MALFORMED),
        ("OTHER", Failure.SERVER_ERROR),
        ("MISSING_THOUGHT_SIGNATURE", Failure.REJECTED),
    ],
)
def test_a_model_that_failed_without_a_word_has_failed(finish: str, failure: Failure) -> None:
    body = {"candidates": [{"content": {}, "finishReason": finish, "finishMessage": "It broke."}]}
    failed = failure_of(orjson.dumps(body))
    assert failed.failure is failure
    assert failed.said == f"{finish}: It broke."


def test_a_blocked_prompt_is_refused_as_openai_refuses_it() -> None:
    failed = failure_of(b'{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}')
    assert (failed.status, failed.code) == (400, "content_filter")
    assert "SAFETY" in failed.message


def test_a_finish_reason_is_told_once_and_last() -> None:
    """Some streams say STOP in every chunk (recorded)."""
    chunks = [{"candidates": [candidate({"text": text}, finishReason="STOP")]} for text in ("Ebb", ".")]
    assert streamed(*chunks) == [STARTED, Text("Ebb"), Text("."), Finished("stop")]


def test_a_stream_without_a_finish_reason_is_cut_off() -> None:
    with pytest.raises(UpstreamError) as failed:
        streamed({"candidates": [candidate({"text": "Ebb"})]})
    assert failed.value.failure is Failure.TRUNCATED


def test_each_candidate_has_to_be_finished() -> None:
    begun = {"candidates": [candidate({"text": "Ebb"}, finishReason="STOP"), candidate({"text": "Fl"})]}
    with pytest.raises(UpstreamError) as failed:
        streamed(begun)
    assert failed.value.failure is Failure.TRUNCATED
    more = {"candidates": [candidate({"text": "ood"}, index=1, finishReason="MAX_TOKENS")]}
    assert streamed(begun, more)[-2:] == [Finished("stop", 0), Finished("length", 1)]


def test_the_last_token_counts_are_right_wherever_they_are() -> None:
    counts = [{"promptTokenCount": 8}, {"promptTokenCount": 8, "candidatesTokenCount": 2}]
    said = {"candidates": [candidate({"text": "Ebb"}, finishReason="STOP")], "usageMetadata": counts[0]}
    assert streamed(said, {"usageMetadata": counts[1]})[-1] == UsageReported(Usage(8, 2))


def test_token_counts_add_up() -> None:
    counts = {
        "promptTokenCount": 100, "cachedContentTokenCount": 60, "toolUsePromptTokenCount": 20,
        "candidatesTokenCount": 7, "thoughtsTokenCount": 30, "totalTokenCount": 157,
    }  # fmt: skip
    usage = told({"text": "Ebb"}, chunk={"usageMetadata": counts})[-1]
    assert usage == UsageReported(Usage(input=120, output=37, cache_read=60, reasoning=30))


@pytest.mark.parametrize("count", [-5, "many", [7], {}, 2**60, None])
def test_a_count_that_is_none_counts_nothing_and_costs_no_answer(count: object) -> None:
    counts = {"promptTokenCount": count, "candidatesTokenCount": 4}
    assert told({"text": "Ebb"}, chunk={"usageMetadata": counts})[-1] == UsageReported(Usage(0, 4))


def test_no_token_counts_are_invented() -> None:
    events = told({"text": "Ebb"}, chunk={"usageMetadata": {"trafficType": "ON_DEMAND"}})
    assert not any(isinstance(event, UsageReported) for event in events)


# Beside the words.


def test_sources_are_counted_in_characters() -> None:
    text = "Über den Wellen. Ebbe um 4."
    start = len("Über den Wellen. ".encode())
    events = told(
        {"text": text},
        groundingMetadata={
            "groundingChunks": [
                {"web": {"uri": "https://a.example", "title": "A"}},
                {"maps": {"uri": "https://b.example", "title": "B"}},
                {"retrievedContext": {"title": "pilot.pdf"}},
            ],
            "groundingSupports": [
                {
                    "segment": {"startIndex": start, "endIndex": start + 10, "text": "Ebbe um 4."},
                    "groundingChunkIndices": [0, 9],
                }
            ],
        },
    )
    assert events[1:-1] == [
        Cited("https://a.example", "A", 17, 27),
        Cited("https://b.example", "B"),
        Cited("document:pilot.pdf", "pilot.pdf"),
    ]


def test_a_place_that_is_a_little_off_is_found_by_its_words() -> None:
    support = {"segment": {"startIndex": 5, "endIndex": 9, "text": "Ebb."}, "groundingChunkIndices": [0]}
    grounding = {"groundingChunks": [{"web": {"uri": "u", "title": "t"}}], "groundingSupports": [support]}
    assert told({"text": "Now: Ebb."}, groundingMetadata=grounding)[1] == Cited("u", "t", 5, 9)
    assert told({"text": "Now Ebb."}, groundingMetadata=grounding)[1] == Cited("u", "t", 4, 8)


@pytest.mark.parametrize("name", ["citations", "citationSources"])
def test_recited_works_are_named(name: str) -> None:
    cited = [{"startIndex": 2, "endIndex": 4, "uri": "https://a.example", "title": "A"}, {"license": "mit"}]
    events = told({"text": "Öle"}, citationMetadata={name: cited})
    assert events[1:-1] == [Cited("https://a.example", "A", 1, 3)]


def test_likelihoods_are_told_token_by_token() -> None:
    chosen = [{"token": "Ö", "logProbability": -0.5}, {"token": "l"}]
    top = [{"candidates": [{"token": "Ö", "logProbability": -0.5}]}]
    events = told({"text": "Öl"}, logprobsResult={"chosenCandidates": chosen, "topCandidates": top})
    first = {"token": "Ö", "logprob": -0.5, "bytes": [195, 150]}
    second = {"token": "l", "logprob": 0.0, "bytes": [108], "top_logprobs": []}
    assert events[1] == LogProbs(({**first, "top_logprobs": [first]}, second))


# Framing.


def test_an_array_is_read_where_events_were_asked_for() -> None:
    chunks = [{**NAMED, "candidates": [candidate({"text": "Ebb"})]}, {"candidates": [{"finishReason": "STOP"}]}]
    raw = orjson.dumps(chunks, option=orjson.OPT_INDENT_2)
    decoder = stream(TARGET)
    events = [event for at in range(len(raw)) for event in decoder.feed(raw[at : at + 1])]
    assert [*events, *decoder.end()] == [STARTED, Text("Ebb"), Finished("stop")]


@pytest.mark.parametrize("before", [b"", b"data: "], ids=["bare", "event"])
def test_an_error_in_the_middle_of_a_stream_is_told(before: bytes) -> None:
    decoder = stream(TARGET)
    said = b"data: " + orjson.dumps({**NAMED, "candidates": [candidate({"text": "Ebb"}, finishReason="STOP")]})
    assert list(decoder.feed(said + b"\r\n\r\n")) == [STARTED, Text("Ebb")]
    with pytest.raises(UpstreamError) as failed:
        list(decoder.feed(before + b'{"error": {"code": 503, "status": "UNAVAILABLE", "message": "Busy."}}\r\n\r\n'))
    assert failed.value.failure is Failure.OVERLOADED


def test_half_an_event_is_a_stream_cut_off() -> None:
    decoder = stream(TARGET)
    list(decoder.feed(b'data: {"candidates": [{"finishRe'))
    with pytest.raises(UpstreamError) as failed:
        list(decoder.end())
    assert failed.value.failure is Failure.TRUNCATED


@pytest.mark.parametrize(
    "pieces",
    [(b"data: {}\r\r\n", b""), (b"data: {}\r", b"\r\n"), (b"", b"data: {}\r\r\n"), (b"data: {}\r\n", b"\r\n")],
)
def test_two_line_ends_of_any_kind_part_two_events(pieces: tuple[bytes, bytes]) -> None:
    first, second = pieces
    said = orjson.dumps({**NAMED, "candidates": [candidate({"text": "Ebb"}, finishReason="STOP")]})
    decoder = stream(TARGET)
    events = [*decoder.feed(first), *decoder.feed(second + b"data: " + said + b"\r\n\r\n"), *decoder.end()]
    assert events == [STARTED, Text("Ebb"), Finished("stop")]
