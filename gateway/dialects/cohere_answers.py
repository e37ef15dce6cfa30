"""Reading Cohere's answers, whole and streamed, and its refusals. Pure.

A stream is a series of events that name themselves in `type`; its full stop is `message-end`, which holds the finish
reason and the token counts (a `[DONE]` follows, but not from every host). A whole answer is told as the events it would
have been. Cohere does not say which model answers, nor when.

The plan that precedes tool calls is told as text: it is said to the user, and comes back as such in the next turn.

https://docs.cohere.com/v2/docs/streaming
https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError, malformed
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    LogProbs,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.openai_shapes import count
from gateway.dialects.refusals import SAID_LIMIT, by_status, by_words, error_in, message_of, read, retry_after
from gateway.wire.sse import Frame, Frames

FINISHES: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
"""The last word is one of the first version's API. What is not here, and is no failure, means `stop`."""

FAILED = ("ERROR", "TIMEOUT")
"""How the finish reasons of an answer that broke off begin."""


def stream(target: Target) -> Decoder:
    """A fresh reader for one streamed answer."""
    return Decoder()


def answer(reply: UpstreamReply) -> Iterator[Event]:
    """A whole answer, told as the same story that a stream would tell."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        if isinstance(body.get("message"), str):
            raise _told(body, 500, None)
        story = _Story()
        for event in _as_streamed(body):
            yield from story.tell(event)


class Decoder:
    """Tells one stream as events."""

    told = Usage()
    """Nothing is told before the end."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._story = _Story()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises UpstreamError when Cohere says it failed, or makes no sense."""
        return self._hear(self._frames.feed(data))

    def end(self) -> Iterator[Event]:
        """The connection has ended. Raises UpstreamError unless the answer is complete."""
        try:
            yield from self._hear(self._frames.end())
        except UpstreamError as error:
            if error.failure is Failure.MALFORMED:  # half an event
                raise UpstreamError(Failure.TRUNCATED, f"the stream ended within an event: {error.said}") from error
            raise
        if not self._story.done:
            raise UpstreamError(Failure.TRUNCATED, "the stream ended without its full stop")

    def _hear(self, frames: list[Frame]) -> Iterator[Event]:
        for frame in frames:
            if frame.data and not self._story.done:
                try:
                    yield from self._story.tell(orjson.loads(frame.data))
                except Exception:  # entering `malformed` only now saves a microsecond for every event that is well
                    with malformed("an event of another grammar"):
                        raise


class _Story:
    """Tells the events of Cohere's stream as ours."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._seats: dict[int, int] = {}
        """From Cohere's index of a tool call to ours."""
        self._length = 0
        """Characters of text so far."""
        self._begins: dict[int, int] = {}
        """Where in the text each content block begins."""

    def tell(self, event: Json) -> Iterable[Event]:
        kind = event.get("type", "")
        if not kind and isinstance(event.get("message"), str):
            raise _told(event, 500, None)
        if not self._started and kind != "message-start":
            raise UpstreamError(Failure.MALFORMED, "a stream that begins in its middle")
        reader = READERS.get(kind)
        return reader(self, event) if reader else ()

    def start(self, event: Json) -> Iterable[Event]:
        self._started = True
        return (Started(_string(event.get("id") or ""), ""),)

    def plan(self, event: Json) -> Iterable[Event]:
        return self._text(event["delta"]["message"]["tool_plan"])

    def open(self, event: Json) -> Iterable[Event]:
        self._begins[event.get("index", 0)] = self._length
        return self.say(event)

    def say(self, event: Json) -> Iterable[Event]:
        content = event["delta"]["message"]["content"]
        told: tuple[Event, ...] = ()
        if thought := content.get("thinking"):
            told = (Reasoning(_string(thought)),)
        elif text := content.get("text"):
            told = self._text(text)
        return told + _likelihood(event["logprobs"]) if event.get("logprobs") else told

    def _text(self, text: Any) -> tuple[Event, ...]:
        if not text:
            return ()
        self._length += len(_string(text))
        return (Text(text),)

    def call(self, event: Json) -> Iterable[Event]:
        call = event["delta"]["message"]["tool_calls"]
        seat = self._seats[event["index"]] = len(self._seats)
        yield ToolCallStarted(seat, _string(call["id"]), _string(call["function"]["name"]))
        yield from self._argue(seat, call["function"].get("arguments"))

    def argue(self, event: Json) -> Iterable[Event]:
        arguments = event["delta"]["message"]["tool_calls"]["function"]["arguments"]
        return self._argue(self._seats[event["index"]], arguments)

    def _argue(self, seat: int, arguments: Any) -> Iterable[Event]:
        """A call without arguments has none, or `null` (recorded): whoever spells it out writes `{}`."""
        return (ToolCallArguments(seat, _string(arguments)),) if arguments and arguments != "null" else ()

    def cite(self, event: Json) -> Iterable[Event]:
        """Where a text block has its sources. Those of thoughts count in the thoughts, where no client looks."""
        citation = event["delta"]["message"]["citations"]
        if citation.get("type") == "THINKING_CONTENT":
            return
        block = citation.get("content_index", max(self._begins, default=0))
        begin = self._begins.get(block, 0) if citation.get("type") != "PLAN" else 0
        start, end = begin + count(citation.get("start")), begin + count(citation.get("end"))
        for source in citation.get("sources") or ():
            yield _cited(source, start, end)

    def finish(self, event: Json) -> Iterable[Event]:
        delta = event["delta"]
        reason = _string(delta["finish_reason"])
        if reason not in FINISHES and reason.startswith(FAILED):
            said = delta.get("error") or f"finish_reason: {reason}"
            raise _told({"message": said, "error_type": delta.get("error_type")}, 500, None)
        finish = FINISHES.get(reason, "stop")
        self.done = True
        yield Finished("tool_calls" if finish == "stop" and self._seats else finish)
        yield from _reported(delta.get("usage") or {})


READERS: dict[str, Callable[[_Story, Json], Iterable[Event]]] = {
    "message-start": _Story.start,
    "tool-plan-delta": _Story.plan,
    "content-start": _Story.open,
    "content-delta": _Story.say,
    "tool-call-start": _Story.call,
    "tool-call-delta": _Story.argue,
    "citation-start": _Story.cite,
    "message-end": _Story.finish,
}
"""By the `type` of an event. The others (`content-end`, `tool-call-end`, `citation-end`, `debug`) tell nothing new."""


def _as_streamed(body: Json) -> Iterator[Json]:
    """The events that a stream would have had."""
    message = body["message"]
    yield {"type": "message-start", "id": body.get("id")}
    if message.get("tool_plan"):
        yield {"type": "tool-plan-delta", "delta": {"message": message}}
    for index, content in enumerate(message.get("content") or ()):
        yield {"type": "content-start", "index": index, "delta": {"message": {"content": content}}}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}}
    for citation in message.get("citations") or ():
        yield {"type": "citation-start", "delta": {"message": {"citations": citation}}}
    for likely in body.get("logprobs") or ():
        yield {"type": "content-delta", "delta": {"message": {"content": {}}}, "logprobs": likely}
    yield {"type": "message-end", "delta": body}


def _string(value: Any) -> str:
    """The value, if it is what it has to be."""
    if type(value) is not str:
        raise TypeError(f"a {type(value).__name__} in place of a text")
    return value


def _cited(source: Json, start: int, end: int) -> Cited:
    """A source is a document that the client sent, or what one of its tools returned."""
    held = source.get("document") or source.get("tool_output") or {}
    url, title = held.get("url"), held.get("title")
    named = f"document:{_string(source.get('id') or '')}"
    return Cited(url if isinstance(url, str) and url else named, title if isinstance(title, str) else "", start, end)


def _likelihood(told: Json) -> tuple[Event, ...]:
    """Cohere names a text and the logarithms for its tokens, not the tokens: together they are those of the text."""
    text = _string(told["text"])
    entry = {"token": text, "logprob": float(sum(told["logprobs"])), "bytes": list(text.encode()), "top_logprobs": []}
    return (LogProbs((entry,)),)


def _reported(usage: Json) -> Iterator[Event]:
    """`tokens` is what the model read and wrote. `billed_units` is less: it leaves out what Cohere itself had added."""
    tokens = usage.get("tokens") or usage.get("billed_units")
    if tokens:
        read, written = (max(0, count(tokens.get(name))) for name in ("input_tokens", "output_tokens"))
        cached, thought = max(0, count(usage.get("cached_tokens"))), max(0, count(tokens.get("reasoning_tokens")))
        yield UsageReported(Usage(read, written, cache_read=min(cached, read), reasoning=min(thought, written)))


# Refusals: `{"id", "message"}`, some with an `error_type`.

MONTHLY = re.compile(r"\bmonth", re.IGNORECASE)
"""A trial key's "1000 API calls / month" is used up for long; its calls per minute come back."""

OUTPUT_BOUND = re.compile(r"max[ _]tokens must be", re.IGNORECASE)
"""Cohere begins this with "too many tokens" too, but the prompt is not what is too long."""

STATUSES = {
    498: Failure.CONTENT_FILTERED,  # "Unsafe Request"
    499: Failure.SERVER_ERROR,  # "request cancelled", and not by us, who would not be listening
}
"""What Cohere means by statuses of its own: https://docs.cohere.com/reference/errors."""


def refusal(reply: UpstreamReply) -> UpstreamError:
    """What went wrong, for every status but 200. Never raises, whatever the body."""
    body = read(reply.body)
    error = error_in(body)
    return _told(error, reply.status, retry_after(reply, body, _failure(reply.status, message_of(error))))


def _told(error: Json, status: int, retry_after: float | None) -> UpstreamError:
    said = (message_of(error) or f"HTTP {status} without an explanation")[:SAID_LIMIT]
    kind = error.get("error_type")
    code = kind if isinstance(kind, str) else None
    return UpstreamError(_failure(status, said), said, status=status, code=code, retry_after=retry_after)


def _failure(status: int, said: str) -> Failure:
    """Which failure a status with these words is: most of Cohere's reasons are in its words alone."""
    if status == 429 and MONTHLY.search(said):
        return Failure.BILLING
    worded = by_words(status, said)
    if worded is Failure.CONTEXT_TOO_LONG and OUTPUT_BOUND.search(said):
        return Failure.REJECTED
    return worded or STATUSES.get(status) or by_status(status)
