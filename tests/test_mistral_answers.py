"""What Mistral's deviations from OpenAI's grammar become: for events, for clients, for the bill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import Finished, Reasoning, Text, Usage
from gateway.dialects.mistral import answer, refusal, stream
from gateway.dialects.openai_mend import Mender, read_usage
from gateway.dialects.openai_mould import mould
from gateway.dialects.openai_relay import Relay
from tests.conformance.openai_reference import events_of, heard_by_client

SAMPLES = Path(__file__).parent / "recordings" / "mistral"


def chunk(content: Any, padding: str = "", finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    named = {"id": "4f1c", "object": "chat.completion.chunk", "created": 1790000000, "model": "tide-1"}
    return b"data: " + orjson.dumps({**named, "choices": choices, **more, "p": padding}) + b"\n\n"


def relay() -> Relay:
    return Relay(include_usage=True, done_marker=True)


def test_plain_text_reaches_the_client_as_the_bytes_that_came() -> None:
    opened = relay()
    for text, padding in [("High", "abc"), (" water", "abcdefghij"), (" at 14:05 — ebb", "a")]:
        assert opened.feed(chunk(text, padding)) == chunk(text, padding)


def test_padding_does_not_keep_a_chunk_from_being_known_again() -> None:
    mender = Mender()
    mender.mend(orjson.loads(chunk("High", "abc")[6:]))
    assert mender.is_more_text(orjson.loads(chunk(" water", "abcdef")[6:]))
    made = mould(chunk("High", "abc"), "High")
    assert made is not None
    assert made.holds(chunk(" water", "abcdefghij0123")) == len(" water")
    assert made.holds(chunk(" water", 'ab"c')) == 0
    assert made.holds(chunk(" water", "abc", finish="stop")) == 0
    assert made.holds(chunk(" water", "abc", usage={"prompt_tokens": 1})) == 0


def test_thoughts_come_where_clients_look_for_them() -> None:
    opened, streamed = relay(), (SAMPLES / "thinking.sse").read_bytes()
    said = heard_by_client(events_of(opened.feed(streamed) + opened.end())).choices[0]
    assert (said.reasoning, said.text) == ("Springs come after new moon.", "On the 12th.")
    decoder = stream(Target("harbour", "tide-1", {}))
    told = [*decoder.feed(streamed), *decoder.end()]
    assert [event.text for event in told if isinstance(event, Reasoning)] == ["Springs come", " after new moon."]
    assert [event.text for event in told if isinstance(event, Text)] == ["On", " the 12th."]


def test_calls_that_come_whole_have_all_that_clients_need() -> None:
    opened = relay()
    chunks = events_of(opened.feed((SAMPLES / "tools.sse").read_bytes()) + opened.end())
    said = heard_by_client(chunks).choices[0]
    assert said.calls == {
        0: ["D681PevKs", "tide_table", '{"port": "Brest"}', "function"],
        1: ["aB3xY9z0Q", "wind_now", "{}", "function"],
    }
    assert said.finish == "tool_calls"


def test_usage_beside_the_last_words_is_told_after_them() -> None:
    opened = relay()
    *_, last, usage = events_of(opened.feed((SAMPLES / "text.sse").read_bytes()) + opened.end())
    assert last["choices"][0]["delta"] == {"content": " is at 14:05."}
    assert last["usage"] is None
    assert usage["choices"] == []
    assert opened.usage == Usage(12, 9, cache_read=8)


def finished(reason: str) -> list[Any]:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Ebb."}, "finish_reason": reason}]
    return list(answer(UpstreamReply(200, (), orjson.dumps({"id": "1", "choices": choices}))))


def test_a_model_at_the_end_of_its_context_was_stopped_by_length() -> None:
    assert Finished("length") in finished("model_length")


def test_an_answer_that_broke_off_is_a_failure() -> None:
    with pytest.raises(UpstreamError) as raised:
        finished("error")
    assert raised.value.failure is Failure.SERVER_ERROR


def test_sound_that_only_the_total_counts_is_input() -> None:
    counted: Json = {"prompt_tokens": 9, "completion_tokens": 248, "total_tokens": 632}
    assert read_usage({**counted, "prompt_tokens_details": {"audio_tokens": 375}}) == Usage(384, 248)
    assert read_usage({**counted, "prompt_tokens_details": {"audio_tokens": 5}}) == Usage(9, 623)
    assert read_usage({**counted, "total_tokens": 257, "prompt_tokens_details": {"audio_tokens": 5}}) == Usage(9, 248)


@pytest.mark.parametrize(
    ("status", "body", "meant", "said"),
    [
        (400, {"message": "Invalid model: x", "type": "invalid_model"}, Failure.MODEL_MISSING, "Invalid model: x"),
        (400, {"message": "No.", "type": "invalid_request_invalid_args"}, Failure.REJECTED, "No."),
        (401, {"detail": "Invalid API Key"}, Failure.CREDENTIALS, "Invalid API Key"),
        (429, {"message": "Requests rate limit exceeded", "code": "1300"}, Failure.RATE_LIMITED, None),
        (
            400,
            {"message": "Prompt contains 40961 tokens, too large for model with 32768 maximum context length"},
            Failure.CONTEXT_TOO_LONG,
            None,
        ),
    ],
)
def test_a_refusal_is_told_for_what_it_is(status: int, body: Json, meant: Failure, said: str | None) -> None:
    failed = refusal(UpstreamReply(status, (), orjson.dumps({"object": "error", **body})))
    assert failed.failure is meant
    assert said is None or failed.said == said


def test_a_field_that_mistral_refuses_is_named() -> None:
    detail = [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "user", "mood"], "msg": "Extra inputs"}]
    for body in ({"object": "error", "message": {"detail": detail}}, {"detail": detail}):
        failed = refusal(UpstreamReply(422, (), orjson.dumps(body)))
        assert (failed.failure, failed.message, failed.param) == (
            Failure.REJECTED,
            "Extra inputs",
            "messages.0.user.mood",
        )
