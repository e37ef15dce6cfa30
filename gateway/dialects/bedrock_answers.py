"""Reading Amazon Bedrock's Converse, whole and streamed. Pure.

A stream is binary (`wire.eventstream`) and has two parts to its full stop: `messageStop` says why it ends, `metadata`
what it cost. Whichever comes last ends the story. A whole answer is told as the events it would have been.

Only blocks of tool use, of images and of tools that ran at AWS open with an event; text and reasoning begin with their
first delta.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html#API_runtime_ConverseStream_ResponseSyntax
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError, malformed
from gateway.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
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
from gateway.dialects.bedrock_errors import failure_in, in_stream, refusal
from gateway.dialects.openai_shapes import count
from gateway.wire.eventstream import Message, Messages

__all__ = ["ANSWER_TOOL", "Decoder", "answer", "refusal", "stream"]

ANSWER_TOOL = "give_the_answer_as_json"
"""The tool that models without structured answers are made to call: its arguments are the answer's text."""

FINISHES: dict[str, FinishReason] = {
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}
"""Any other reason is a plain stop, or the end of a turn that called tools."""

MALFORMED_REASONS = frozenset({"malformed_model_output", "malformed_tool_use"})
"""The model said something that even Bedrock could not read: there is no answer."""


class Decoder:
    """Tells one stream as events."""

    told = Usage()
    """Nothing is told before the end."""

    def __init__(self) -> None:
        self._messages = Messages()
        self._story = _Story()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises UpstreamError when Bedrock says it failed, or makes no sense."""
        if self._story.complete:
            return
        for message in self._messages.feed(data):
            with malformed("an event of a stream"):
                yield from self._story.tell(_kind(message), orjson.loads(message.payload))
            if self._story.complete:
                return

    def end(self) -> Iterable[Event]:
        """The connection has ended. Raises UpstreamError unless the answer is complete."""
        if not self._story.complete:
            raise UpstreamError(Failure.TRUNCATED, "the stream ended without its full stop")
        return ()


def stream(target: Target) -> Decoder:
    """A fresh reader for one streamed answer."""
    return Decoder()


def answer(reply: UpstreamReply) -> Iterator[Event]:
    """A whole answer, told as the same story that a stream would tell."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        if "output" not in body and (failure := failure_in(body)) is not None:
            raise failure
        story = _Story()
        for kind, event in _as_stream(body):
            yield from story.tell(kind, event)


def _kind(message: Message) -> str:
    """The kind of an event. Raises UpstreamError for one that tells of a failure."""
    headers = message.headers
    kind = headers.get(":message-type", "event")
    if kind == "event":
        return str(headers[":event-type"])
    if kind == "exception":
        words = orjson.loads(message.payload).get("message")
        raise in_stream(str(headers[":exception-type"]), words if isinstance(words, str) else "")
    raise in_stream(str(headers.get(":error-code", "")), str(headers.get(":error-message", "")))


@dataclass(slots=True)
class _Block:
    """What is known of the block that is being told, and can only be said at its end."""

    index: int
    begins: int
    """How many characters of text came before it."""
    call: int | None = None
    """The index of the tool call that it is; None for any other block."""
    answers: bool = False
    """Whether it calls the tool for answers."""
    elsewhere: bool = False
    """Whether it tells of a tool that ran at AWS, which is no business of the client's."""
    thoughts: list[str] = field(default_factory=list)
    signature: str = ""
    sealed: list[str] = field(default_factory=list)
    """Pieces of reasoning that only the provider can read, each in base64."""
    citations: list[Json] = field(default_factory=list)
    image_format: str = ""
    image: list[str] = field(default_factory=list)
    """Pieces of an image, each in base64."""


class _Story:
    """Tells the events of one answer."""

    def __init__(self) -> None:
        self._started = self._stopped = self._counted = False
        self._block: _Block | None = None
        self._calls = 0
        self._said = 0
        """Characters of text so far."""

    @property
    def complete(self) -> bool:
        return self._stopped and self._counted

    def tell(self, kind: str, event: Json) -> Iterator[Event]:
        """One event. Kinds that nobody knows are passed over: AWS adds to them."""
        if not self._started:
            self._started = True
            yield Started("", "")
        if (tell := _EVENTS.get(kind)) is not None:
            yield from tell(self, event)

    # Events.

    def delta(self, event: Json) -> Iterator[Event]:
        index, delta = event["contentBlockIndex"], event["delta"]
        block = self._block
        if block is None or block.index != index:
            yield from self._close()
            block = self._block = _Block(index, self._said)
        if block.elsewhere:
            return
        for name, said in delta.items():
            if (tell := _DELTAS.get(name)) is not None:
                yield from tell(self, block, said)

    def start(self, event: Json) -> Iterator[Event]:
        yield from self._close()
        block = self._block = _Block(event["contentBlockIndex"], self._said)
        match event["start"]:
            case {"toolUse": {"type": "server_tool_use"}} | {"toolResult": _}:
                block.elsewhere = True
            case {"toolUse": {"name": name}} if name == ANSWER_TOOL:
                block.answers = True
            case {"toolUse": {"name": str(name), "toolUseId": str(id)}}:
                block.call, self._calls = self._calls, self._calls + 1
                yield ToolCallStarted(block.call, id, name)
            case {"toolUse": _}:
                raise ValueError("a tool call without a name or an id")
            case {"image": {"format": str(format)}}:
                block.image_format = format

    def stop(self, event: Json) -> Iterator[Event]:
        return self._close()

    def message_stop(self, event: Json) -> Iterator[Event]:
        reason = _string(event["stopReason"])
        if reason in MALFORMED_REASONS:
            raise UpstreamError(Failure.MALFORMED, f"the model's answer could not be read: {reason}")
        yield from self._close()
        if not self._stopped:
            self._stopped = True
            yield Finished(FINISHES.get(reason) or ("tool_calls" if self._calls else "stop"))

    def metadata(self, event: Json) -> Iterator[Event]:
        if not self._counted:
            self._counted = True
            yield from _reported(event.get("usage") or {})

    # Deltas.

    def text(self, block: _Block, text: str) -> Iterator[Event]:
        if _string(text):
            self._said += len(text)
            yield Text(text)

    def arguments(self, block: _Block, piece: Json) -> Iterator[Event]:
        json = _string(piece["input"])
        if block.answers:
            yield from self.text(block, json)
        elif block.call is None:
            raise ValueError("arguments of a call that has not begun")
        elif json:
            yield ToolCallArguments(block.call, json)

    def reasoning(self, block: _Block, piece: Json) -> Iterator[Event]:
        match piece:
            case {"text": str(text)}:
                block.thoughts.append(text)
                if text:
                    yield Reasoning(text)
            case {"signature": str(signature)}:
                block.signature += signature
            case {"redactedContent": str(data)}:
                block.sealed.append(data)

    def citation(self, block: _Block, citation: Json) -> Iterator[Event]:
        """Kept for the end of the block: it comes before the words that it stands for."""
        block.citations.append(citation)
        return iter(())

    def image(self, block: _Block, piece: Json) -> Iterator[Event]:
        match piece:
            case {"source": {"bytes": str(data)}}:
                block.image.append(data)
        return iter(())

    def _close(self) -> Iterator[Event]:
        """What is said of a block at its end, which some streams leave untold."""
        block, self._block = self._block, None
        if block is None:
            return
        if block.sealed:
            yield ReasoningSealed(data=_joined(block.sealed))
        elif block.signature:
            yield ReasoningSealed("".join(block.thoughts), block.signature)
        if block.image:
            yield Pictured(f"data:image/{block.image_format};base64,{_joined(block.image)}")
        for citation in block.citations:
            yield _cited(citation, block.begins, self._said)


_EVENTS: dict[str, Callable[[_Story, Json], Iterator[Event]]] = {
    "contentBlockDelta": _Story.delta,
    "contentBlockStart": _Story.start,
    "contentBlockStop": _Story.stop,
    "messageStop": _Story.message_stop,
    "metadata": _Story.metadata,
}

_DELTAS: dict[str, Callable[[_Story, _Block, Any], Iterator[Event]]] = {
    "citation": _Story.citation,
    "image": _Story.image,
    "reasoningContent": _Story.reasoning,
    "text": _Story.text,
    "toolUse": _Story.arguments,
}


def _reported(usage: Json) -> Iterator[Event]:
    """Bedrock counts what it read from a cache, or wrote to one, apart from the input."""
    read, written = _count(usage, "cacheReadInputTokens"), _count(usage, "cacheWriteInputTokens")
    if "inputTokens" in usage or "outputTokens" in usage:
        input = _count(usage, "inputTokens") + read + written
        yield UsageReported(Usage(input, _count(usage, "outputTokens"), read, written))


def _count(usage: Json, name: str) -> int:
    """What no one can have counted is 0: no answer is lost for it."""
    return max(0, count(usage.get(name)))


def _cited(citation: Json, start: int, end: int) -> Cited:
    title = _string(citation.get("title") or "")
    match citation.get("location"):
        case {"web": {"url": str(url)}}:
            return Cited(url, title, start, end)
        case {"searchResultLocation": _}:
            return Cited(_string(citation.get("source") or "") or "document:", title, start, end)
        case dict(location):
            numbers = (place.get("documentIndex") for place in location.values() if isinstance(place, dict))
            number = next((number for number in numbers if isinstance(number, int)), "")
            return Cited(f"document:{number}", title, start, end)
    return Cited("document:", title, start, end)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text that is none")
    return value


def _joined(pieces: list[str]) -> str:
    """Pieces of base64 as one. Each was encoded by itself, so they cannot simply be put together."""
    if len(pieces) == 1:
        return pieces[0]
    return b64encode(b"".join(b64decode(piece) for piece in pieces)).decode()


# Whole answers.


def _as_stream(body: Json) -> Iterator[tuple[str, Json]]:
    """A whole answer as the events of a stream, by kind."""
    for index, block in enumerate(body["output"]["message"]["content"]):
        for name, said in block.items():
            start, deltas = _BLOCKS[name](said) if name in _BLOCKS else (None, ())
            if start is not None:
                yield "contentBlockStart", {"contentBlockIndex": index, "start": start}
            for delta in deltas:
                yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", body
    yield "metadata", body


Opened = tuple[Json | None, Iterable[Json]]
"""How a block opens, if it does, and the deltas that tell it."""


def _tool_use(call: Json) -> Opened:
    return {"toolUse": call}, [{"toolUse": {"input": orjson.dumps(call["input"]).decode()}}]


def _thought(block: Json) -> Opened:
    if "redactedContent" in block:
        return None, [{"reasoningContent": block}]
    told = block["reasoningText"]
    return None, [{"reasoningContent": {name: said}} for name in ("text", "signature") if (said := told.get(name))]


def _with_citations(block: Json) -> Opened:
    citations = [{"citation": citation} for citation in block.get("citations") or ()]
    return None, [*citations, *({"text": part["text"]} for part in block.get("content") or ())]


_BLOCKS: dict[str, Callable[[Any], Opened]] = {
    "citationsContent": _with_citations,
    "image": lambda image: ({"image": image}, [{"image": image}]),
    "reasoningContent": _thought,
    "text": lambda text: (None, [{"text": text}]),
    "toolUse": _tool_use,
}
