"""What the Messages API answers, told as events. Its refusals are in `test_anthropic_errors`."""

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
    Reasoning,
    ReasoningSealed,
    Refusal,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.anthropic import answer, stream

STARTED = Started("msg_1", "claude")
TEXT: Json = {"type": "text", "text": "ebb"}
END: Json = {"type": "message_stop"}


def told(*blocks: Json, stop: str | None = "end_turn", usage: Json | None = None, **more: Any) -> list[Event]:
    """The events of a whole answer."""
    body = {"id": "msg_1", "model": "claude", "content": blocks, "stop_reason": stop, "usage": usage, **more}
    return list(answer(UpstreamReply(200, (), orjson.dumps(body))))


def start(usage: Json | None = None, content: list[Json] | None = None) -> Json:
    message = {"id": "msg_1", "model": "claude", "content": content or [], "usage": usage}
    return {"type": "message_start", "message": message}


def block(index: int, opening: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": opening},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def stopped(reason: str = "end_turn", usage: Json | None = None) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def streamed(*events: Json, tail: bytes = b"") -> list[Event]:
    decoder = stream(Target("p", "claude", {}))
    sent = b"".join(b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)
    return [*decoder.feed(sent + tail), *decoder.end()]


def test_an_answer_is_told_in_order() -> None:
    thinking = {"type": "thinking", "thinking": "Look.", "signature": "c2VhbA=="}
    call = {"type": "tool_use", "id": "toolu_1", "name": "tide_table", "input": {"days": 2}}
    assert told(thinking, TEXT, call, stop="tool_use", usage={"input_tokens": 21, "output_tokens": 9}) == [
        STARTED,
        Reasoning("Look."),
        ReasoningSealed("Look.", "c2VhbA=="),
        Text("ebb"),
        ToolCallStarted(0, "toolu_1", "tide_table"),
        ToolCallArguments(0, '{"days":2}'),
        Finished("tool_calls"),
        UsageReported(Usage(21, 9)),
    ]


def test_text_is_told_as_it_comes() -> None:
    pieces = [{"type": "text_delta", "text": text} for text in ("High", "", " water")]
    assert streamed(start(), *block(0, {"type": "text", "text": ""}, *pieces), stopped(), END) == [
        STARTED,
        Text("High"),
        Text(" water"),
        Finished("stop"),
    ]


def test_only_the_provider_reads_some_thoughts() -> None:
    assert ReasoningSealed(data="Ymxpbmq=") in told({"type": "redacted_thinking", "data": "Ymxpbmq="})


def test_thoughts_without_a_word_are_sealed_all_the_same() -> None:
    """The newest models show none of them, and want them back."""
    opening = {"type": "thinking", "thinking": "", "signature": ""}
    events = streamed(start(), *block(0, opening, {"type": "signature_delta", "signature": "c2VhbA=="}), stopped(), END)
    assert events == [STARTED, ReasoningSealed("", "c2VhbA=="), Finished("stop")]


def test_unsigned_thoughts_are_not_wanted_back() -> None:
    assert told({"type": "thinking", "thinking": "Look."}) == [STARTED, Reasoning("Look."), Finished("stop")]


def test_a_call_without_arguments_has_none() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    events = streamed(start(), *block(0, call, {"type": "input_json_delta", "partial_json": ""}), stopped(), END)
    assert events == [STARTED, ToolCallStarted(0, "t", "f"), Finished("tool_calls")]


def test_arguments_may_stand_where_the_call_begins() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    assert ToolCallArguments(0, '{"a":1}') in streamed(start(), *block(0, call), stopped("tool_use"), END)


def test_arguments_in_pieces_replace_those() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    events = streamed(start(), *block(0, call, {"type": "input_json_delta", "partial_json": '{"a":2}'}), stopped(), END)
    assert [event for event in events if isinstance(event, ToolCallArguments)] == [ToolCallArguments(0, '{"a":2}')]


def test_a_message_may_begin_with_blocks_in_it() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    assert streamed(start(content=[call]), stopped("tool_use"), END) == [
        STARTED,
        ToolCallStarted(0, "t", "f"),
        ToolCallArguments(0, '{"a":1}'),
        Finished("tool_calls"),
    ]


def test_tools_of_the_providers_own_are_passed_over_and_count_nothing() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    events = streamed(
        start(),
        *block(0, search, {"type": "input_json_delta", "partial_json": '{"query":"tides"}'}),
        *block(1, found),
        *block(2, call, {"type": "input_json_delta", "partial_json": '{"a":1}'}),
        stopped("tool_use"),
        END,
    )
    assert events == [STARTED, ToolCallStarted(0, "t", "f"), ToolCallArguments(0, '{"a":1}'), Finished("tool_calls")]


def test_an_answer_given_by_the_reserved_tool_is_text() -> None:
    call = {"type": "tool_use", "id": "t", "name": "gateway_answer", "input": {"port": "North"}}
    assert told(call, stop="tool_use") == [STARTED, Text('{"port":"North"}'), Finished("stop")]
    assert told({**call, "input": {}}, stop="tool_use")[1] == Text("{}")


def test_sources_stand_for_the_text_of_their_block() -> None:
    web = {"type": "web_search_result_location", "url": "https://tides.example", "title": "Tides"}
    document = {"type": "page_location", "document_index": 2, "document_title": None}
    blocks = [TEXT, {"type": "text", "text": " at 04:12", "citations": [web, document]}]
    assert [event for event in told(*blocks) if isinstance(event, Cited)] == [
        Cited("https://tides.example", "Tides", 3, 12),
        Cited("document:2", "", 3, 12),
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("yet_unknown", "stop"),
        (None, "stop"),
    ],
)
def test_why_an_answer_ended(reason: str | None, finish: str) -> None:
    assert told(TEXT, stop=reason)[-1] == Finished(finish)  # type: ignore[arg-type]


def test_a_call_that_is_cut_off_is_not_for_making() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    assert told(call, stop="max_tokens")[-1] == Finished("length")


def test_why_the_provider_refused_is_told() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "This was blocked."}
    assert told(stop="refusal", stop_details=details)[1:] == [Refusal("This was blocked."), Finished("content_filter")]


def test_cached_tokens_are_counted_in() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    assert told(TEXT, usage=usage)[-1] == UsageReported(Usage(1210, 50, cache_read=1000, cache_write=200, reasoning=30))


def test_the_last_counts_are_right() -> None:
    events = streamed(
        start({"input_tokens": 0, "output_tokens": 1, "cache_read_input_tokens": 7}),
        stopped(usage={"input_tokens": 12, "output_tokens": 4, "cache_read_input_tokens": None}),
        stopped(usage={"output_tokens": 5}),
        END,
    )
    assert events[-1] == UsageReported(Usage(19, 5, cache_read=7))


@pytest.mark.parametrize("count", [-5, "12", 1.5, 2**60, True])
def test_a_count_that_is_none_counts_nothing(count: Any) -> None:
    assert told(TEXT, usage={"input_tokens": count, "output_tokens": 4})[-1] == UsageReported(Usage(0, 4))


def test_a_beginning_told_twice_is_one_beginning() -> None:
    assert streamed(start(), start(), *block(0, TEXT), stopped(), END) == [STARTED, Text("ebb"), Finished("stop")]


def test_a_second_answer_within_the_first_is_a_failure() -> None:
    with pytest.raises(UpstreamError) as failed:
        streamed(start(), *block(0, TEXT), start(), *block(0, TEXT), stopped(), END)
    assert failed.value.failure is Failure.MALFORMED


def test_what_comes_after_the_end_is_not_looked_at() -> None:
    events = streamed(start(), stopped(), END, tail=b"event: data\ndata: [DONE]\n\ndata: {broken\n\n")
    assert events == [STARTED, Finished("stop")]


def test_events_of_other_kinds_are_passed_over() -> None:
    assert streamed(start(), {"type": "ping"}, {"type": "tide_event"}, stopped(), END) == [STARTED, Finished("stop")]


def test_a_block_that_nobody_closed_ends_with_the_answer() -> None:
    opened = block(0, {"type": "thinking", "thinking": "Look.", "signature": "c2VhbA=="})[:1]
    assert ReasoningSealed("Look.", "c2VhbA==") in streamed(start(), *opened, stopped(), END)


@pytest.mark.parametrize("events", [[], [start()], [start(), *block(0, TEXT)], [start(), stopped()]])
def test_a_stream_without_its_full_stop_is_cut_off(events: list[Json]) -> None:
    with pytest.raises(UpstreamError) as failed:
        streamed(*events)
    assert failed.value.failure is Failure.TRUNCATED


@pytest.mark.parametrize("tail", [b"event: content_block_del", b'data: {"type":"mess'])
def test_a_stream_that_ends_within_an_event_is_cut_off(tail: bytes) -> None:
    with pytest.raises(UpstreamError) as failed:
        streamed(start(), tail=tail)
    assert failed.value.failure is Failure.TRUNCATED


@pytest.mark.parametrize(
    "event",
    [
        END,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ebb"}},
        {"type": "message_start", "message": {"id": 1, "model": "claude", "content": []}},
        {"type": "message_start"},
        {"type": []},
        {},
    ],
)
def test_a_stream_that_makes_no_sense_is_a_failure(event: Json) -> None:
    decoder = stream(Target("p", "claude", {}))
    with pytest.raises(UpstreamError) as failed:
        list(decoder.feed(b"data: " + orjson.dumps(event) + b"\n\n"))
    assert failed.value.failure is Failure.MALFORMED
