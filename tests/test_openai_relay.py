"""An answer between two sides that both speak OpenAI's grammar: its own bytes, mended where it must be, never short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from openai._streaming import SSEDecoder

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Usage
from gateway.dialects.openai_relay import DONE, HELD_BYTES, HELD_EVENTS, Relay, whole

SAMPLES = Path(__file__).parent / "recordings" / "openai_chat"
ENVELOPE: Json = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "tide-1"}
COUNTED: Json = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}


def event(*choices: Json, **more: Any) -> bytes:
    return b"data: " + orjson.dumps({**ENVELOPE, "choices": choices, **more}) + b"\n\n"


def choice(finish: str | None = None, index: int = 0, **delta: Any) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


ROLE = event(choice(role="assistant", content=""))
WORD = event(choice(content="ebb"))
STOP = event(choice("stop"))
USAGE = event(usage=COUNTED)


def relay(include_usage: bool = False, done_marker: bool = True) -> Relay:
    return Relay(include_usage=include_usage, done_marker=done_marker)


def relayed(*pieces: bytes, include_usage: bool = False, done_marker: bool = True) -> bytes:
    way = relay(include_usage, done_marker)
    return b"".join([way.feed(piece) for piece in pieces] + [way.end()])


def chunks(out: bytes) -> list[Any]:
    """What openai-python reads from it, up to the full stop."""
    *events, last = SSEDecoder().iter_bytes(iter([out]))
    assert last.data == "[DONE]"
    return [orjson.loads(event.data) for event in events]


def failure(*pieces: bytes, done_marker: bool = True) -> Failure:
    with pytest.raises(UpstreamError) as failed:
        relayed(*pieces, done_marker=done_marker)
    return failed.value.failure


# As it came.


def test_a_sound_stream_is_relayed_byte_for_byte() -> None:
    stream = ROLE + b": wait\n\n" + b'data:{"odd" : "spelling" ,' + WORD[7:] + STOP + USAGE + DONE
    assert relayed(stream, include_usage=True) == stream


def test_a_deviant_event_is_spelt_anew_and_its_neighbours_are_not() -> None:
    deviant = b'data: {"id": "gen-1", "choices": [{"delta": {"content": "ebb"}}]}\n\n'
    before, after = event(choice(content="high ")), event(choice(content=" low"))
    out = relayed(before + deviant + after + STOP + DONE)
    assert out.startswith(before)
    assert out.endswith(after + STOP + DONE)
    assert chunks(out)[1]["choices"] == [{"delta": {"content": "ebb"}, "index": 0, "finish_reason": None}]


def test_a_null_fingerprint_is_cut_out_of_the_bytes() -> None:
    spelling = WORD.replace(b'"model"', b'"system_fingerprint":null,"model"')
    assert relayed(spelling + STOP + DONE) == WORD + STOP + DONE


def test_lines_that_crash_openai_python_are_taken_out() -> None:
    out = relayed(
        b"retry: 3000\n\n" + b"id: 7\n" + WORD + b"event: ping\n\n" + b"event: message\n" + STOP + b": x\n\n" + DONE
    )
    assert out == WORD + STOP + b": x\n\n" + DONE


def test_an_event_of_another_kind_is_dropped() -> None:
    assert (
        relayed(WORD + b'event: ping\ndata: {"type":"ping"}\n\n' + b"data: {}\n\ndata:\n\n" + STOP + DONE)
        == WORD + STOP + DONE
    )


# The commit point.


def test_nothing_is_handed_on_before_the_first_output() -> None:
    way = relay()
    assert way.feed(ROLE) == b""
    assert not way.spoke
    assert way.feed(b": wait\n\n") == b""
    assert way.feed(WORD) == ROLE + b": wait\n\n" + WORD
    assert way.spoke


@pytest.mark.parametrize(
    "output",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f", "arguments": ""}},
        {"audio": {"id": "a"}},
    ],
)
def test_every_kind_of_output_is_the_commit_point(output: Json) -> None:
    way = relay()
    way.feed(ROLE + event(choice(**output)))
    assert way.spoke


def test_an_empty_answer_is_handed_on_at_its_end() -> None:
    way = relay()
    assert way.feed(ROLE + event(choice("length"))) == b""
    assert not way.spoke
    assert way.feed(DONE) == ROLE + event(choice("length")) + DONE
    assert way.spoke
    assert way.end() == b""


def test_an_opening_is_not_held_for_ever() -> None:
    way, empty = relay(), event(choice())
    for _ in range(HELD_EVENTS):
        assert way.feed(empty) == b""
    assert way.feed(empty) == empty * (HELD_EVENTS + 1)
    assert way.spoke
    assert relay().feed(event(choice(), padding="x" * HELD_BYTES)) != b""


def test_what_came_before_a_fault_is_not_lost() -> None:
    way = relay()
    way.feed(ROLE + WORD)
    with pytest.raises(UpstreamError):
        way.feed(WORD + b'data: {"error":"out of memory"}\n\n')
    assert way.release() == WORD
    assert way.release() == b""


def test_heartbeats_do_not_commit() -> None:
    way = relay()
    assert way.feed(b": wait\n\n" * 1000) == b""
    assert not way.spoke


def test_what_was_carried_is_counted_in_characters() -> None:
    way = relay()
    call: Json = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    way.feed(
        event(choice(content="häß"), choice(index=1, reasoning="ab")) + event(choice(refusal="n", tool_calls=[call]))
    )
    assert way.carried == 3 + 2 + 1 + 7


# Usage.


def test_usage_is_told_to_those_who_asked_just_before_the_full_stop() -> None:
    assert relayed(WORD, STOP, USAGE, DONE, include_usage=True) == WORD + STOP + USAGE + DONE


def test_usage_is_counted_and_not_told_to_those_who_did_not_ask() -> None:
    way = relay()
    out = way.feed(WORD + STOP + USAGE + DONE) + way.end()
    assert out == WORD + STOP + DONE
    assert way.usage == Usage(21, 9)


def test_a_null_usage_is_cut_out_for_those_who_did_not_ask() -> None:
    stream = event(choice(content=',"usage":null'), usage=None) + event(choice("stop"), usage=None) + USAGE + DONE
    assert relayed(stream) == event(choice(content=',"usage":null')) + STOP + DONE
    assert relayed(stream, include_usage=True) == stream


@pytest.mark.parametrize(
    "last",
    [
        STOP + b'data: {"usage":{"prompt_tokens":21,"completion_tokens":9}}\n\n',
        event(choice("stop"), usage=COUNTED),
        event(choice("stop"), x_groq={"usage": COUNTED}),
        event({**choice("stop"), "usage": COUNTED}),
        event(choice("stop"), usage={"prompt_tokens": 1, "completion_tokens": 1}) + USAGE,
        event(choice("stop"), usage=COUNTED) + event(usage={}),
        USAGE + USAGE + STOP,
        event(usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})
        + event(choice("stop"), usage=COUNTED),
    ],
    ids=[
        "incomplete",
        "with a choice",
        "x_groq",
        "in a choice",
        "cumulative",
        "then an empty one",
        "twice",
        "told too soon",
    ],
)
def test_usage_told_elsewhere_becomes_one_event_of_its_own(last: bytes) -> None:
    way = relay(include_usage=True)
    *others, usage = chunks(way.feed(WORD + last + DONE) + way.end())
    assert way.usage == Usage(21, 9)
    assert usage == {**ENVELOPE, "choices": [], "usage": COUNTED}
    assert all(chunk.get("usage") is None for chunk in others)
    assert all("usage" not in chunk for chunk in chunks(relayed(WORD + last + DONE)))


def test_what_an_event_without_choices_tells_goes_into_the_next_that_has_some() -> None:
    filters = [{"prompt_index": 0}]
    opening, *others = chunks(relayed(event(prompt_filter_results=filters) + WORD + STOP + DONE))
    assert opening == {**ENVELOPE, "choices": [choice(content="ebb")], "prompt_filter_results": filters}
    assert others == chunks(relayed(STOP + DONE))


def test_an_event_that_tells_nothing_is_left_out() -> None:
    assert relayed(event() + WORD + STOP + DONE) == WORD + STOP + DONE


def test_what_is_told_after_the_last_choice_is_told_at_the_end() -> None:
    moderated = event(moderation=None, prompt_filter_results=[1], usage=COUNTED)
    told = chunks(relayed(WORD + STOP + moderated + DONE, include_usage=True))
    assert [one["choices"] for one in told] == [[choice(content="ebb")], [choice("stop")], [], []]
    assert (told[2]["usage"], told[3]["prompt_filter_results"]) == (COUNTED, [1])


# The end.


def test_the_full_stop_is_handed_on_at_once_and_nothing_after_it() -> None:
    way = relay()
    assert way.feed(WORD + STOP + DONE + b"data: garbage\n\n") == WORD + STOP + DONE
    assert way.feed(b'data: {"error":"late"}\n\n') == b""
    assert way.end() == b""


def test_a_full_stop_without_its_blank_line_is_one() -> None:
    assert relayed(WORD + STOP + b"data:[DONE]") == WORD + STOP + DONE
    assert chunks(relayed(WORD + b"data: [DONE]"))[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "cut", [b"", WORD, WORD + STOP, WORD + STOP + USAGE, WORD + STOP + USAGE + b"data: [DON", WORD + STOP[:-9]]
)
def test_a_stream_without_its_full_stop_is_truncated(cut: bytes) -> None:
    assert failure(cut) is Failure.TRUNCATED


def test_a_server_known_to_send_no_full_stop_is_done_when_all_is_said() -> None:
    assert relayed(WORD + STOP + USAGE, done_marker=False) == WORD + STOP + DONE
    assert relayed(WORD + STOP + USAGE + DONE, done_marker=False) == WORD + STOP + DONE


@pytest.mark.parametrize(
    "cut", [b"", WORD, WORD + USAGE, WORD + STOP, event(choice(content="x", index=1)) + STOP + USAGE]
)
def test_and_truncated_when_a_finish_reason_or_the_usage_is_missing(cut: bytes) -> None:
    assert failure(cut, done_marker=False) is Failure.TRUNCATED


def test_a_finish_reason_that_the_server_owes_is_told() -> None:
    call: Json = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = event(choice(content="ebb")) + event(choice(index=1, tool_calls=[call])) + USAGE + DONE
    *_, first, second, usage = chunks(relayed(said, include_usage=True))
    assert (first["choices"][0]["index"], first["choices"][0]["finish_reason"]) == (0, "stop")
    assert (second["choices"][0]["index"], second["choices"][0]["finish_reason"]) == (1, "tool_calls")
    assert usage["usage"] == COUNTED


def test_a_finish_reason_is_told_once_even_if_the_choice_goes_on() -> None:
    assert relayed(WORD + STOP + event(choice()) + DONE) == WORD + STOP + event(choice()) + DONE


def test_a_stream_of_nothing_but_a_full_stop_is_no_answer() -> None:
    assert failure(DONE) is Failure.MALFORMED


# Failures within a 200.


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (b'data: {"error":{"message":"no","code":502}}', Failure.SERVER_ERROR),
        (b'data: {"error":{"message":"no","code":"429"}}', Failure.RATE_LIMITED),
        (b'data: {"error":{"message":"no","type":"overloaded_error"}}', Failure.OVERLOADED),
        (b'data: {"error":{"message":"no","type":"invalid_request_error"}}', Failure.REJECTED),
        (b'data: {"error":{"message":"longer than the model\'s context length","code":400}}', Failure.CONTEXT_TOO_LONG),
        (b'data: {"error":"out of memory"}', Failure.SERVER_ERROR),
        (b'event: error\ndata: {"message":"no"}', Failure.SERVER_ERROR),
        (b'data: {"object":"error","message":"no","code":400}', Failure.REJECTED),
        (WORD.rstrip().replace(b'{"id"', b'{"error":{"message":"no"},"id"'), Failure.SERVER_ERROR),
        (event(choice("error", content="x")).rstrip(), Failure.SERVER_ERROR),
        (b"data: [1]", Failure.MALFORMED),
        (b"data: null", Failure.MALFORMED),
        (b"data: {", Failure.MALFORMED),
        (b'data: {"choices":[7]}', Failure.MALFORMED),
        (b'data: {"choices":[{"index":0,"delta":{"tool_calls":[null]}}]}', Failure.MALFORMED),
        (b"data: \xff", Failure.MALFORMED),
        (b"<html>busy</html>", Failure.TRUNCATED),
    ],
)
def test_what_fails_within_a_stream_is_told_as_a_failure(told: bytes, meant: Failure) -> None:
    assert failure(WORD + told + b"\n\n") is meant


def test_an_error_of_null_is_none() -> None:
    assert relayed(WORD + event(choice("stop"), x_groq=None) + DONE).endswith(DONE)
    assert relayed(WORD.replace(b'{"id"', b'{"error":null,"id"') + STOP + DONE).endswith(STOP + DONE)


def test_what_cannot_be_spelt_again_is_the_server_s_failure() -> None:
    deep = b'data: {"choices":[{"delta":{"content":"x"}}],"x":' + b"[" * 300 + b"]" * 300 + b"}\n\n"
    assert failure(deep) is Failure.MALFORMED


def test_the_deviant_sample_makes_sense_to_a_client() -> None:
    told = chunks(relayed((SAMPLES / "deviant.sse").read_bytes(), include_usage=True))
    calls = [call for one in told for choice in one["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert [(call["index"], call["id"], call["type"]) for call in calls] == [
        (0, "call_a", "function"),
        (1, "call_b", "function"),
    ]
    assert [one["choices"][0]["finish_reason"] for one in told if one["choices"]][-1] == "tool_calls"


# Whole answers.


def reply(body: Any) -> UpstreamReply:
    return UpstreamReply(200, (), body if isinstance(body, bytes) else orjson.dumps(body))


def test_a_sound_answer_is_relayed_byte_for_byte() -> None:
    for name in ("text", "parallel_tool_calls", "two_choices"):
        body = (SAMPLES / f"{name}.json").read_bytes()
        assert whole(reply(body)).body == body


def test_a_deviant_answer_is_mended() -> None:
    told = whole(reply((SAMPLES / "deviant.json").read_bytes()))
    assert orjson.loads(told.body)["choices"][0]["finish_reason"] == "tool_calls"
    assert told.usage == Usage(21, 9, cache_read=16, reasoning=4)
    assert told.carried == len("Look it up.") + len('{"port":"North Pier"}')


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (b"", Failure.MALFORMED),
        (b"null", Failure.MALFORMED),
        (b"[]", Failure.MALFORMED),
        (b"<html><title>502 Bad Gateway</title></html>", Failure.MALFORMED),
        ({}, Failure.MALFORMED),
        ({"choices": []}, Failure.MALFORMED),
        ({"choices": None}, Failure.MALFORMED),
        ({"choices": ["x"]}, Failure.MALFORMED),
        ({"choices": "x"}, Failure.MALFORMED),
        ({"error": {"message": "no", "code": "insufficient_quota"}}, Failure.BILLING),
        ({"error": "no"}, Failure.SERVER_ERROR),
        ({"error": {"code": "content_filter", "message": "filtered", "status": 400}}, Failure.CONTENT_FILTERED),
        ({"detail": "no"}, Failure.SERVER_ERROR),
    ],
)
def test_a_200_without_an_answer_is_a_failure(body: Any, meant: Failure) -> None:
    with pytest.raises(UpstreamError) as failed:
        whole(reply(body))
    assert failed.value.failure is meant


def test_an_error_within_a_stream_is_not_quoted_in_the_log_though_it_names_no_status() -> None:
    with pytest.raises(UpstreamError) as failed:
        relayed(b'data: {"error": {"message": "you said: my secret plans"}}\n\n')
    assert failed.value.noted == "status 500"
