"""Reading the Messages API's answers, whole and streamed. Pure.

A message is a list of blocks of several kinds: a stream opens, fills and closes one after the other, and a whole answer
is told as the stream of filled blocks it would have been. Blocks of kinds that no client of OpenAI's API knows (what
tools on the provider's side did) are passed over.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson
from msgspec import Struct, field

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError, malformed
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
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
from gateway.dialects.anthropic_errors import failure_in, refusal
from gateway.wire.sse import Frame, Frames

__all__ = ["ANSWER_TOOL", "Decoder", "answer", "refusal", "stream"]

ANSWER_TOOL = "gateway_answer"
"""A tool that was only offered to give an answer its form: its arguments are the answer. No tool of a client's own may
be called so, because who reads an answer does not know what was asked."""

FINISH: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # a turn of the provider's own tools that is not at its end
    "refusal": "content_filter",
}
"""All other reasons (`end_turn`, `stop_sequence`, `tool_use`) say that the answer is complete."""

COUNT_LIMIT = 2**53
"""No real count comes near it, and JSON readers do not agree on larger numbers (RFC 8259, section 6)."""


class Decoder:
    """Tells one stream as events."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._story = _Story()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises UpstreamError when the upstream says it failed, or makes no sense."""
        return self._tell(self._frames.feed(data) if not self._story.done else [])

    def end(self) -> Iterator[Event]:
        """The connection has ended. Raises UpstreamError unless `message_stop` was seen."""
        try:
            yield from self._tell(self._frames.end() if not self._story.done else [])
        except UpstreamError as error:
            if error.failure is Failure.MALFORMED:  # half an event
                raise UpstreamError(Failure.TRUNCATED, f"the stream ended within an event: {error.said}") from error
            raise
        if not self._story.done:
            raise UpstreamError(Failure.TRUNCATED, "the stream ended without its full stop")

    @property
    def told(self) -> Usage:
        """`message_start` tells what the prompt counts, and sums are told on the way."""
        return self._story.usage

    def _tell(self, frames: Iterable[Frame]) -> Iterator[Event]:
        with malformed("an event that makes no sense"):
            for frame in frames:
                if frame.data and not self._story.done:  # OpenRouter says `[DONE]` after the end
                    yield from self._story.hear(orjson.loads(frame.data))


def stream(target: Target) -> Decoder:
    """A fresh reader for one streamed answer."""
    return Decoder()


def answer(reply: UpstreamReply) -> Iterator[Event]:
    """A whole answer, told as the same story that a stream would tell."""
    with malformed("an answer that is no JSON, or of another grammar"):
        message = orjson.loads(reply.body)
        if (error := failure_in(message)) is not None:
            raise error
        story = _Story()
        yield from story.message_start({"message": message})
        stopped = {"stop_reason": message["stop_reason"], "stop_details": message.get("stop_details")}
        story.message_delta({"delta": stopped})
        yield from story.message_stop({})


class _Block(Struct):
    """A block that is open."""

    kind: str
    begins: int
    """How many characters of text had been told before it."""
    call: int = 0
    input: Any = None
    """What it is called with, until the arguments come in pieces, which say it instead."""
    thought: list[str] = field(default_factory=list)
    signature: str = ""
    cited: list[Json] = field(default_factory=list)


class _Story:
    """Tells one message's events as the house's."""

    def __init__(self) -> None:
        self.done = False
        """Whether the message is complete. Whatever comes after that is not looked at."""
        self._started = False
        self._blocks: dict[int, _Block] = {}
        self._begun = 0
        self._calls = 0
        self._length = 0
        self._stopped = ""
        self._explained = ""
        self._usage: Json = {}

    def hear(self, event: Json) -> Iterable[Event]:
        """What one event says. Raises UpstreamError where it tells of a failure."""
        hear = _EVENTS.get(event["type"])
        return hear(self, event) if hear else ()

    def message_start(self, event: Json) -> Iterator[Event]:
        """The beginning; some servers say it twice. A whole answer, and one that goes on with a program of the
        provider's, has blocks in it already."""
        if self._begun:
            raise UpstreamError(Failure.MALFORMED, "a second answer within the first")
        message = event["message"]
        if not self._started:
            self._started = True
            yield Started(_text(message.get("id") or ""), _text(message.get("model") or ""))
        self._count(message.get("usage"))
        for index, block in enumerate(message["content"]):
            yield from self.block_start({"index": index, "content_block": block})
            yield from self.block_stop({"index": index})

    def block_start(self, event: Json) -> Iterable[Event]:
        told = event["content_block"]
        block = _Block(_text(told["type"]), self._length)
        self._blocks[event["index"]] = block
        self._begun += 1
        opening = _OPENINGS.get(block.kind)
        return opening(self, block, told) if opening else ()

    def block_delta(self, event: Json) -> Iterable[Event]:
        delta = event["delta"]
        block = self._blocks[event["index"]]
        if delta["type"] == "text_delta":  # nearly every event
            return self._text(block, delta)
        add = _DELTAS.get(delta["type"])
        return add(self, block, delta) if add else ()

    def block_stop(self, event: Json) -> Iterable[Event]:
        block = self._blocks.pop(event["index"], None)
        closing = _CLOSINGS.get(block.kind) if block else None
        return closing(self, block) if block and closing else ()

    def message_delta(self, event: Json) -> Iterable[Event]:
        delta = event["delta"]
        self._stopped = _text(delta.get("stop_reason") or self._stopped)
        match delta.get("stop_details"):
            case {"explanation": str(explanation)}:
                self._explained = explanation
        self._count(event.get("usage"))
        return ()

    def message_stop(self, event: Json) -> Iterator[Event]:
        if not self._started:
            raise UpstreamError(Failure.MALFORMED, "the end of an answer that had no beginning")
        self.done = True
        for index in list(self._blocks):
            yield from self.block_stop({"index": index})
        if self._explained:
            yield Refusal(self._explained)
        yield Finished(FINISH.get(self._stopped) or ("tool_calls" if self._calls else "stop"))
        if self._usage:
            yield UsageReported(self.usage)

    @property
    def usage(self) -> Usage:
        """What has been counted so far."""
        return _usage(self._usage)

    def error(self, event: Json) -> Iterable[Event]:
        raise failure_in(event) or UpstreamError(Failure.MALFORMED, "an error that says nothing")

    def _count(self, usage: Any) -> None:
        """Counts are running totals. The last one told is right, also where the first was only a guess."""
        if usage is not None:
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    # Blocks, as they open.

    def _text_opens(self, block: _Block, told: Json) -> Iterable[Event]:
        block.cited = list(told.get("citations") or ())
        return self._text(block, told)

    def _thinking_opens(self, block: _Block, told: Json) -> Iterable[Event]:
        block.signature = _text(told.get("signature") or "")
        return self._thinking(block, told)

    def _redacted_opens(self, block: _Block, told: Json) -> Iterable[Event]:
        return (ReasoningSealed(data=_text(told["data"])),)

    def _tool_opens(self, block: _Block, told: Json) -> Iterable[Event]:
        block.input = told.get("input")
        name = _text(told["name"])
        if name == ANSWER_TOOL:
            block.kind = "answer"
            return ()
        block.call, self._calls = self._calls, self._calls + 1
        return (ToolCallStarted(block.call, _text(told["id"]), name),)

    # What they are filled with.

    def _text(self, block: _Block, delta: Json) -> Iterable[Event]:
        text = _text(delta["text"])
        self._length += len(text)
        return (Text(text),) if text and block.kind == "text" else ()

    def _thinking(self, block: _Block, delta: Json) -> Iterable[Event]:
        text = _text(delta["thinking"])
        block.thought.append(text)
        return (Reasoning(text),) if text and block.kind == "thinking" else ()

    def _signature(self, block: _Block, delta: Json) -> Iterable[Event]:
        block.signature = _text(delta["signature"])
        return ()

    def _arguments(self, block: _Block, delta: Json) -> Iterable[Event]:
        piece = _text(delta["partial_json"])
        return self._argued(block, piece) if piece else ()

    def _argued(self, block: _Block, piece: str) -> Iterable[Event]:
        block.input = None
        if block.kind == "answer":
            self._length += len(piece)
            return (Text(piece),)
        return (ToolCallArguments(block.call, piece),) if block.kind == "tool_use" else ()

    def _citation(self, block: _Block, delta: Json) -> Iterable[Event]:
        block.cited.append(delta["citation"])
        return ()

    # As they close.

    def _text_closes(self, block: _Block) -> Iterable[Event]:
        """A text with sources is a block of its own, so they stand for all of it."""
        return [_cited(citation, block.begins, self._length) for citation in block.cited]

    def _thinking_closes(self, block: _Block) -> Iterable[Event]:
        """Servers that only follow the grammar sign nothing, and want nothing back."""
        sealed = ReasoningSealed("".join(block.thought), block.signature)
        return (sealed,) if block.signature else ()

    def _tool_closes(self, block: _Block) -> Iterable[Event]:
        """Arguments that did not come in pieces. None at all are `{}`, which the surface fills in."""
        return self._argued(block, orjson.dumps(block.input).decode()) if block.input else ()

    def _answer_closes(self, block: _Block) -> Iterable[Event]:
        return self._argued(block, orjson.dumps(block.input).decode()) if block.input is not None else ()


_EVENTS: dict[str, Callable[[_Story, Json], Iterable[Event]]] = {
    "content_block_delta": _Story.block_delta,
    "content_block_start": _Story.block_start,
    "content_block_stop": _Story.block_stop,
    "message_start": _Story.message_start,
    "message_delta": _Story.message_delta,
    "message_stop": _Story.message_stop,
    "error": _Story.error,
}
"""All others (`ping`, and what may yet be added) are passed over, as the API's versioning asks."""

_OPENINGS: dict[str, Callable[[_Story, _Block, Json], Iterable[Event]]] = {
    "text": _Story._text_opens,
    "thinking": _Story._thinking_opens,
    "redacted_thinking": _Story._redacted_opens,
    "tool_use": _Story._tool_opens,
}

_DELTAS: dict[str, Callable[[_Story, _Block, Json], Iterable[Event]]] = {
    "thinking_delta": _Story._thinking,
    "signature_delta": _Story._signature,
    "input_json_delta": _Story._arguments,
    "citations_delta": _Story._citation,
}

_CLOSINGS: dict[str, Callable[[_Story, _Block], Iterable[Event]]] = {
    "text": _Story._text_closes,
    "thinking": _Story._thinking_closes,
    "tool_use": _Story._tool_closes,
    "answer": _Story._answer_closes,
}


def _text(value: Any) -> str:
    """A value that must be text."""
    if type(value) is not str:
        raise TypeError("text was promised")
    return value


def _cited(citation: Json, start: int, end: int) -> Cited:
    """A source: a page of the web, a search result of the client's, or a document of the request, by its number."""
    url = citation.get("url") or citation.get("source")
    if url is None:
        url = f"document:{_number(citation.get('document_index'))}"
    title = citation.get("title") or citation.get("document_title") or ""
    return Cited(_text(url), _text(title), start, end)


def _usage(told: Json) -> Usage:
    """In the house's convention: Anthropic's `input_tokens` leaves out what the cache had or took."""
    read, written = (_number(told.get(f"cache_{kind}_input_tokens")) for kind in ("read", "creation"))
    details = told.get("output_tokens_details")
    reasoning = details.get("thinking_tokens") if isinstance(details, dict) else 0
    given, output = (_number(told.get(f"{kind}_tokens")) for kind in ("input", "output"))
    return Usage(given + read + written, output, read, written, _number(reasoning))


def _number(value: Any) -> int:
    """A count; 0 for what can have been none."""
    return value if type(value) is int and 0 <= value < COUNT_LIMIT else 0
