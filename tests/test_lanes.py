"""The lane for upstreams of another grammar, with a decoder that says what the test tells it to."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
import pytest

from gateway.core.call import Call, Json, UpstreamReply
from gateway.core.errors import Failure, UpstreamError
from gateway.core.events import (
    Event,
    Finished,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects import openai_chat
from gateway.dialects.openai_relay import HELD_EVENTS
from gateway.engine.lanes import Translated, answer, retold
from gateway.surfaces.openai_encoder import Encoder

CALL = Call("req_1", "chat", "m", True, True, {})
WHOLE: Json = {
    "id": "x",
    "object": "chat.completion",
    "created": 5,
    "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Script:
    """Each piece of bytes that is fed stands for the next events."""

    def __init__(self, *steps: Iterable[Event], whole: bool = True) -> None:
        self._steps = list(steps)
        self._whole = whole

    @property
    def told(self) -> Usage:
        return Usage()

    def feed(self, data: bytes) -> Iterable[Event]:
        return self._steps.pop(0)

    def end(self) -> Iterable[Event]:
        if not self._whole:
            raise UpstreamError(Failure.TRUNCATED, "cut")
        return ()


def lane(*steps: Iterable[Event], whole: bool = True, include_usage: bool = True) -> Translated:
    return Translated(Script(*steps, whole=whole), Encoder(created=5, include_usage=include_usage, id="chatcmpl-1"))


def chunks(told: bytes) -> list[Json]:
    return [orjson.loads(frame[6:]) for frame in told.split(b"\n\n") if frame.startswith(b"data: {")]


def test_the_opening_waits_for_the_first_output() -> None:
    way = lane([Started("x", "up")], [Text("hello")])
    assert way.feed(b".") == b""
    assert not way.spoke
    assert len(chunks(way.feed(b"."))) == 2
    assert way.spoke


@pytest.mark.parametrize(
    "output",
    [Text("a"), Reasoning("a"), ToolCallStarted(0, "id", "f"), ToolCallArguments(0, "{}"), Finished("stop")],
    ids=lambda event: type(event).__name__,
)
def test_any_output_is_the_commit_point(output: Event) -> None:
    opening: list[Event] = [Started("x", "up")]
    if isinstance(output, ToolCallArguments):
        opening.append(ToolCallStarted(0, "id", "f"))
    way = lane([*opening, output])
    assert way.feed(b".")
    assert way.spoke


def test_an_opening_that_does_not_end_is_let_go() -> None:
    steps: list[list[Event]] = [[UsageReported(Usage(1, 1))] for _ in range(HELD_EVENTS + 1)]
    way = lane(*steps, include_usage=False)
    for _ in range(HELD_EVENTS):
        assert way.feed(b".") == b""
    assert not way.spoke
    way.feed(b".")
    assert way.spoke


def test_usage_and_what_was_carried_are_kept() -> None:
    way = lane([Started("x", "up"), Text("four"), Reasoning("six666")], [UsageReported(Usage(3, 2))])
    way.feed(b".")
    way.feed(b".")
    assert (way.usage, way.carried) == (Usage(3, 2), 10)


def test_a_complete_answer_ends_with_the_full_stop() -> None:
    way = lane([Started("x", "up"), Text("a"), Finished("stop")])
    told = way.feed(b".") + way.end()
    assert told.endswith(b"data: [DONE]\n\n")


def test_a_cut_answer_ends_without_it() -> None:
    way = lane([Started("x", "up"), Text("a")], whole=False)
    way.feed(b".")
    with pytest.raises(UpstreamError):
        way.end()


def test_what_came_before_a_failure_in_the_same_piece_is_not_lost() -> None:
    def failing() -> Iterable[Event]:
        yield Text("last words")
        raise UpstreamError(Failure.SERVER_ERROR, "no")

    way = lane([Started("x", "up"), Text("a")], failing())
    way.feed(b".")
    with pytest.raises(UpstreamError):
        way.feed(b".")
    (chunk,) = chunks(way.release())
    assert chunk["choices"][0]["delta"]["content"] == "last words"


def test_a_whole_answer_can_be_told_as_a_stream() -> None:
    way = retold(CALL, openai_chat, UpstreamReply(200, (), orjson.dumps(WHOLE)), created=5)
    told = way.end()
    assert (
        "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks(told) if chunk["choices"])
        == "hello"
    )
    assert told.endswith(b"data: [DONE]\n\n")
    assert way.usage == Usage(3, 2)


def test_a_whole_answer_of_another_grammar_is_spelt_in_the_clients() -> None:
    told = answer(CALL, "another", openai_chat, UpstreamReply(200, (), orjson.dumps(WHOLE)), created=5)
    body = orjson.loads(told.body)
    assert body["choices"][0]["message"]["content"] == "hello"
    assert (told.usage, told.carried) == (Usage(3, 2), len("hello"))
