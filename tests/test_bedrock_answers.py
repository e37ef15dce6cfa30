"""What Converse answers is told as events, and a stream that fails or ends too soon is never taken for an answer."""

from __future__ import annotations

import copy
from base64 import b64encode
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import (
    Cited,
    Event,
    Finished,
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
from gateway.dialects import bedrock
from gateway.dialects.bedrock import answer, stream
from gateway.dialects.bedrock_answers import ANSWER_TOOL
from gateway.engine import lanes
from gateway.surfaces.openai_encoder import whole
from tests.eventstream_frames import event, exception, frame

TARGET = Target("aws", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/abc", {})
COUNTED = ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}})
START, COUNT = Started("", ""), UsageReported(Usage(3, 2))

Told = tuple[str, Any]


def delta(index: int, **told: Any) -> Told:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": told}


def start(index: int, **told: Any) -> Told:
    return "contentBlockStart", {"contentBlockIndex": index, "start": told}


def stop(reason: str) -> Told:
    return "messageStop", {"stopReason": reason}


def heard(*told: Told) -> list[Event]:
    decoder = stream(TARGET)
    return [*decoder.feed(b"".join(event(*one) for one in told)), *decoder.end()]


def whole_reply(*content: Json, stop: str = "end_turn", **more: Any) -> UpstreamReply:
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, **COUNTED[1], **more}
    return UpstreamReply(200, (), orjson.dumps(body))


def test_text_is_told_as_it_comes() -> None:
    told = heard(
        ("messageStart", {"role": "assistant"}), delta(0, text="ebb"), delta(0, text=""), stop("end_turn"), COUNTED
    )
    assert told == [START, Text("ebb"), Finished("stop"), COUNT]


def test_calls_are_numbered_in_the_order_in_which_they_begin() -> None:
    told = heard(
        start(0, toolUse={"toolUseId": "a", "name": "tide"}),
        delta(0, toolUse={"input": '{"day":'}),
        delta(0, toolUse={"input": ""}),
        delta(0, toolUse={"input": "2}"}),
        delta(1, text="and"),
        start(2, toolUse={"toolUseId": "b", "name": "sea"}),
        stop("tool_use"),
        COUNTED,
    )
    first = [ToolCallStarted(0, "a", "tide"), ToolCallArguments(0, '{"day":'), ToolCallArguments(0, "2}")]
    assert told[1:-2] == [*first, Text("and"), ToolCallStarted(1, "b", "sea")]
    assert told[-2] == Finished("tool_calls")


def test_a_signature_seals_the_reasoning_before_it() -> None:
    told = heard(
        delta(0, reasoningContent={"text": "add "}),
        delta(0, reasoningContent={"text": "an hour"}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        delta(1, text="15:10"),  # without a word that the block before has ended
        stop("end_turn"),
        COUNTED,
    )
    sealed = ReasoningSealed("add an hour", "c2ln")
    assert told[1:5] == [Reasoning("add "), Reasoning("an hour"), sealed, Text("15:10")]


def test_reasoning_that_nobody_signed_is_not_for_sending_back() -> None:
    told = answer(whole_reply({"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "15:10"}))
    assert list(told)[1:3] == [Reasoning("hm"), Text("15:10")]


def test_what_only_the_provider_can_read_is_kept_as_it_is() -> None:
    pieces = [b64encode(piece).decode() for piece in (b"for no", b" eyes")]
    together = b64encode(b"for no eyes").decode()
    told = heard(*(delta(0, reasoningContent={"redactedContent": one}) for one in pieces), stop("end_turn"), COUNTED)
    assert told[1] == ReasoningSealed(data=together)
    told = list(answer(whole_reply({"reasoningContent": {"redactedContent": together}})))
    assert told[1] == ReasoningSealed(data=together)


def test_a_picture_is_told_when_it_is_complete() -> None:
    pieces = [b64encode(piece).decode() for piece in (b"half a", b" chart")]
    told = heard(
        start(0, image={"format": "png"}),
        *(delta(0, image={"source": {"bytes": piece}}) for piece in pieces),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        stop("end_turn"),
        COUNTED,
    )
    picture = b64encode(b"half a chart").decode()
    assert told[1] == Pictured(f"data:image/png;base64,{picture}")
    block = {"image": {"format": "png", "source": {"bytes": picture}}}
    assert list(answer(whole_reply(block)))[1] == told[1]


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ({"documentChar": {"documentIndex": 1, "start": 0, "end": 9}}, "document:1"),
        ({"web": {"url": "https://tides.example"}}, "https://tides.example"),
        ({"searchResultLocation": {"searchResultIndex": 0, "start": 0, "end": 1}}, "s3://logs/1"),
        (None, "document:"),
    ],
)
def test_a_citation_stands_for_the_words_of_its_block(location: Json | None, url: str) -> None:
    cited = {"title": "log", "source": "s3://logs/1", "location": location}
    told = heard(delta(0, text="It says "), delta(1, citation=cited), delta(1, text="ebb"), stop("end_turn"), COUNTED)
    assert told[3] == Cited(url, "log", 8, 11)


def test_the_tool_for_answers_is_text_and_no_call() -> None:
    told = answer(
        whole_reply({"toolUse": {"toolUseId": "a", "name": ANSWER_TOOL, "input": {"hour": 14}}}, stop="tool_use")
    )
    assert list(told) == [START, Text('{"hour":14}'), Finished("stop"), COUNT]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("a_reason_of_tomorrow", "stop"),
    ],
)
def test_why_an_answer_ended_is_told(reason: str, told: str) -> None:
    assert Finished(told) in list(answer(whole_reply({"text": "ebb"}, stop=reason)))  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_an_answer_that_bedrock_could_not_read_is_none(reason: str) -> None:
    with pytest.raises(UpstreamError) as failed:
        heard(delta(0, text="ebb"), stop(reason), COUNTED)
    assert failed.value.failure is Failure.MALFORMED


def test_cached_tokens_are_part_of_the_input() -> None:
    usage = {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20}
    assert list(answer(whole_reply({"text": "ebb"}, usage=usage)))[-1] == UsageReported(Usage(123, 2, 100, 20))


@pytest.mark.parametrize("count", [-5, "many", [7], {}, 2**60, None])
def test_a_count_that_is_none_counts_nothing_and_costs_no_answer(count: object) -> None:
    usage = {"inputTokens": count, "outputTokens": 4}
    assert list(answer(whole_reply({"text": "ebb"}, usage=usage)))[-1] == UsageReported(Usage(0, 4))


def test_an_answer_that_does_not_say_what_it_cost_is_still_one() -> None:
    assert list(answer(whole_reply({"text": "ebb"}, usage=None))) == [START, Text("ebb"), Finished("stop")]


def test_the_cost_may_be_told_before_the_end() -> None:
    assert heard(delta(0, text="ebb"), COUNTED, stop("end_turn")) == [START, Text("ebb"), COUNT, Finished("stop")]


def test_events_that_nobody_knows_are_passed_over_and_so_is_all_after_the_end() -> None:
    told = heard(
        ("newsFlash", {"storm": True}), delta(0, text="ebb", p="abc"), stop("end_turn"), COUNTED, delta(1, text="?")
    )
    assert told == [START, Text("ebb"), Finished("stop"), COUNT]


def test_an_event_without_its_usual_headers_is_still_one() -> None:
    stream_bytes = b"".join(
        frame({":event-type": kind}, orjson.dumps(told)) for kind, told in (stop("end_turn"), COUNTED)
    )
    assert list(stream(TARGET).feed(stream_bytes)) == [START, Finished("stop"), COUNT]


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("throttlingException", Failure.OVERLOADED),
        ("serviceUnavailableException", Failure.OVERLOADED),
        ("internalServerException", Failure.SERVER_ERROR),
        ("modelStreamErrorException", Failure.SERVER_ERROR),
        ("modelTimeoutException", Failure.SERVER_ERROR),
        ("validationException", Failure.REJECTED),
        ("exceptionOfTomorrow", Failure.SERVER_ERROR),
    ],
)
def test_an_exception_ends_the_stream_after_what_came_before_it(kind: str, failure: Failure) -> None:
    events = stream(TARGET).feed(event(*delta(0, text="ebb")) + exception(kind, "No more."))
    assert [next(events), next(events)] == [START, Text("ebb")]
    with pytest.raises(UpstreamError) as failed:
        next(events)
    assert failed.value.failure is failure
    assert failed.value.said.startswith("No more")


def test_an_error_of_the_stream_itself_is_a_failure() -> None:
    error = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "Lost at sea."}
    with pytest.raises(UpstreamError) as failed:
        list(stream(TARGET).feed(frame(error, b"")))
    assert (failed.value.failure, failed.value.said) == (Failure.SERVER_ERROR, "Lost at sea.")


@pytest.mark.parametrize("told", [[], [delta(0, text="ebb")], [stop("end_turn")], [delta(0, text="ebb"), COUNTED]])
def test_a_stream_without_both_parts_of_its_full_stop_is_cut_short(told: list[Told]) -> None:
    with pytest.raises(UpstreamError) as failed:
        heard(*told)
    assert failed.value.failure is Failure.TRUNCATED


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b"", Failure.MALFORMED),
        (b"null", Failure.MALFORMED),
        (b"{}", Failure.MALFORMED),
        (b"<html>gone</html>", Failure.MALFORMED),
        (b'{"output":{}}', Failure.MALFORMED),
        (b'{"message":"Too many requests","__type":"ThrottlingException"}', Failure.OVERLOADED),
        (b'{"Output":{"__type":"com.amazon.coral.service#InternalFailure"},"Version":"1.0"}', Failure.SERVER_ERROR),
    ],
)
def test_a_200_that_is_no_answer_is_a_failure(body: bytes, failure: Failure) -> None:
    with pytest.raises(UpstreamError) as failed:
        list(answer(UpstreamReply(200, (), body)))
    assert failed.value.failure is failure


def test_the_client_hears_the_calls_id_and_the_models_public_name() -> None:
    call = Call("chatcmpl-7", "chat", "tide", False, True, {})
    body = orjson.loads(lanes.answer(call, "bedrock", bedrock, whole_reply({"text": "ebb"}), created=1).body)
    assert (body["id"], body["model"]) == ("chatcmpl-7", "tide")
    way = lanes.lane(call, TARGET, "bedrock", bedrock, created=1)
    first = orjson.loads(way.feed(event(*delta(0, text="ebb"))).split(b"\n")[0][6:])
    assert (first["id"], first["model"]) == ("chatcmpl-7", "tide")


STORY = [
    start(0, toolUse={"toolUseId": "a", "name": "tide"}),
    delta(0, toolUse={"input": "{}"}),
    delta(1, reasoningContent={"text": "hm"}),
    delta(1, reasoningContent={"signature": "c2ln"}),
    delta(2, reasoningContent={"redactedContent": "bm8="}),
    delta(3, text="ebb"),
    delta(3, citation={"title": "log", "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}),
    start(4, image={"format": "png"}),
    delta(4, image={"source": {"bytes": "QQ=="}}),
    stop("tool_use"),
    COUNTED,
]
odd: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just([]) | st.just({}) | st.just([{}])
)


@given(st.data())
def test_a_wrong_value_anywhere_in_a_stream_is_the_upstreams_failure_or_none(chance: st.DataObject) -> None:
    told = copy.deepcopy(STORY)
    holder: Any = told[chance.draw(st.integers(0, len(told) - 1))][1]
    while True:
        place = chance.draw(st.sampled_from(sorted(holder)))
        if not (isinstance(holder[place], dict) and holder[place] and chance.draw(st.booleans())):
            break
        holder = holder[place]
    holder[place] = chance.draw(odd)
    with suppress(UpstreamError):
        orjson.dumps(whole(heard(*told), created=0))
