"""Reading OpenAI's chat completions, whole and streamed. Pure.

`Chunks` is the one reader of a stream: it mends each chunk, raises what the server says went wrong, and judges whether
the story came to its end. `Decoder` tells its chunks as events, `openai_relay` hands them on as bytes. A whole answer
is told as the one chunk it would have been. What was refused is read by `openai_errors`.

https://platform.openai.com/docs/api-reference/chat-streaming/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
from msgspec import Struct

from gateway.core.call import Json, Target, UpstreamReply
from gateway.core.errors import Failure, UpstreamError, malformed
from gateway.core.events import (
    Event,
    Finished,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from gateway.dialects.openai_errors import failure_in, refusal
from gateway.dialects.openai_mend import (
    Mender,
    counts_anything,
    mend_body,
    mend_usage,
    read_usage,
    unsaid_finish,
    without_null,
)
from gateway.wire.sse import Frame, Frames

__all__ = ["Chunks", "Decoder", "Heard", "answer", "body_of", "refusal", "stream"]

FULL_STOP = b"[DONE]"


class Heard(Struct, frozen=True):
    """One event of a stream."""

    raw: bytes
    """The bytes that say it, fit to be handed on; nothing where it has to be spelt anew."""
    chunk: Json | None
    """The chunk, mended; None for what is only a comment."""
    text: str = ""
    """All that the chunk says, if it is nothing but more text."""


class Chunks:
    """Reads the chunks of one stream, in pieces of any size."""

    def __init__(self, done_marker: bool) -> None:
        self._frames = Frames()
        self._mender = Mender()
        self._done_marker = done_marker
        self.done = False
        """Whether the story is complete. Whatever comes after that is not looked at."""
        self.usage: Usage | None = None
        """The last token counts that were told, wherever it was."""
        self.counted: Json | None = None
        """The same in the server's words, mended."""

    def feed(self, data: bytes) -> Iterator[Heard]:
        """What these bytes complete. Raises UpstreamError when the server says it failed, or makes no sense."""
        return self._hear(self._frames.feed(data) if not self.done else [])

    def end(self) -> Iterator[Heard]:
        """The connection has ended. Raises UpstreamError unless the story is complete.

        The full stop is `[DONE]`. Servers known to send none (a target's `done_marker`) have to have told every finish
        reason and the usage, which is the last thing they say.
        """
        try:
            yield from self._hear(self._frames.end() if not self.done else [])
        except UpstreamError as error:
            if error.failure is Failure.MALFORMED:  # half an event
                raise UpstreamError(Failure.TRUNCATED, f"the stream ended within an event: {error.said}") from error
            raise
        finished = self._mender.finished
        if not self.done and not self._done_marker and self.usage and finished and all(finished.values()):
            self.done = True
        if not self.done:
            raise UpstreamError(Failure.TRUNCATED, "the stream ended without its full stop")

    @property
    def at_rest(self) -> bool:
        """Whether the next bytes begin an event, of a story that is not complete."""
        return not self.done and self._frames.at_rest

    def envelope(self) -> Json:
        """The opening fields of a chunk of our own making."""
        return self._mender.envelope()

    def _hear(self, frames: list[Frame]) -> Iterator[Heard]:
        for frame in frames:
            if frame.data is None:
                if frame.plain:
                    yield Heard(frame.raw, None)
            elif frame.data.startswith(FULL_STOP):
                yield from self._unsaid()
                self.done = True
                return
            elif frame.data and (heard := self._read(frame, frame.data)):
                yield heard

    def _read(self, frame: Frame, data: bytes) -> Heard | None:
        try:
            chunk = _chunk_of(frame, data)
            return self._mended(frame, chunk) if chunk is not None else None
        except Exception:  # entering `malformed` only now saves a microsecond for every chunk that is well
            with malformed("an event that is no chunk"):
                raise

    def _mended(self, frame: Frame, chunk: Json) -> Heard:
        raw = frame.raw
        if chunk.get("system_fingerprint", "") is None:  # every other chunk of OpenAI's, so the text is cut instead
            del chunk["system_fingerprint"]
            raw = without_null(raw, "system_fingerprint")
        if not frame.plain:
            raw = b""
        if self._mender.is_more_text(chunk):
            (text,) = chunk["choices"][0]["delta"].values()
            return Heard(raw, chunk, text)
        if self._mender.mend(chunk):
            raw = b""
        usage = chunk.get("usage") or _usage_elsewhere(chunk)
        if usage and counts_anything(usage):
            mend_usage(usage)
            self.usage, self.counted = read_usage(usage), usage
        return Heard(raw, chunk)

    def _unsaid(self) -> Iterator[Heard]:
        """The finish reasons that the server owes. Raises UpstreamError when there was no answer at all."""
        if not self._mender.finished:
            raise UpstreamError(Failure.MALFORMED, "a stream without a single choice")
        for index, told in list(self._mender.finished.items()):
            if not told:
                finish = unsaid_finish(self._mender.called(index))
                choice = {"index": index, "delta": {}, "finish_reason": finish}
                self._mender.finished[index] = True
                yield Heard(b"", {**self.envelope(), "choices": [choice]})


def _chunk_of(frame: Frame, data: bytes) -> Json | None:
    """The chunk of an event; None for what is none (`event: ping`), though SDKs would take it for one."""
    chunk: Json = orjson.loads(data)
    if "choices" in chunk and "error" not in chunk and frame.event != b"error":
        return chunk
    if (failure := failure_in(chunk, frame.event)) is not None:
        raise failure
    return chunk if "choices" in chunk or chunk.get("usage") else None


def _usage_elsewhere(chunk: Json) -> Json | None:
    """Token counts where Groq (`x_groq`) and Moonshot (in a choice) put them."""
    places = [chunk["x_groq"]] if chunk.get("x_groq") else chunk["choices"]
    usage = next((place["usage"] for place in places if "usage" in place), None)
    return usage if isinstance(usage, dict) else None


class Decoder:
    """Tells one stream as events."""

    def __init__(self, done_marker: bool = True) -> None:
        self._chunks = Chunks(done_marker)
        self._story = _Story()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises UpstreamError when the upstream says it failed, or makes no sense."""
        was_done = self._chunks.done
        yield from self._told(self._chunks.feed(data))
        if self._chunks.done and not was_done:
            yield from _reported(self._chunks.usage)

    def end(self) -> Iterator[Event]:
        """The connection has ended. Raises UpstreamError unless the answer is complete."""
        was_done = self._chunks.done
        yield from self._told(self._chunks.end())
        if not was_done:
            yield from _reported(self._chunks.usage)

    @property
    def told(self) -> Usage:
        """Some servers tell with each chunk what has been counted so far."""
        return self._chunks.usage or Usage()

    def _told(self, heard: Iterator[Heard]) -> Iterator[Event]:
        for each in heard:
            if each.chunk is not None:
                yield from self._story.tell(each.chunk)


def stream(target: Target) -> Decoder:
    """A fresh reader for one streamed answer."""
    return Decoder(target.done_marker)


def answer(reply: UpstreamReply) -> Iterator[Event]:
    """A whole answer, told as the same story that a stream would tell."""
    body, _ = body_of(reply)
    with malformed("an answer"):
        choices = [{**choice, "delta": _numbered(choice["message"])} for choice in body["choices"]]
        yield from _Story().tell({**body, "choices": choices})
        yield from _reported(usage_of(body))


def body_of(reply: UpstreamReply) -> tuple[Json, bool]:
    """A whole answer's body, mended, and whether it had to be. Raises UpstreamError for anything but an answer."""
    with malformed("an answer that is no JSON, or of another grammar"):
        body = orjson.loads(reply.body)
        if (error := failure_in(body)) is not None:
            raise error
        changed = mend_body(body)
        if not body["choices"]:
            raise UpstreamError(Failure.MALFORMED, "an answer without a single choice")
        return body, changed


def _numbered(message: Json) -> Json:
    calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls", ()))]
    return {**message, "tool_calls": calls}


def usage_of(body: Json) -> Usage | None:
    """The token counts of a whole answer, mended, where it has any."""
    return read_usage(body["usage"]) if "usage" in body else None


def _reported(usage: Usage | None) -> Iterator[Event]:
    if usage is not None:
        yield UsageReported(usage)


class _Story:
    """Tells mended chunks as events."""

    def __init__(self) -> None:
        self._started = False
        self._called: set[tuple[int, int]] = set()
        self._finished: set[int] = set()

    def tell(self, chunk: Json) -> Iterator[Event]:
        if not self._started and chunk["choices"]:  # Azure's first chunk has neither choices nor names
            self._started = True
            yield Started(chunk["id"], chunk["model"], chunk["created"])
        for choice in chunk["choices"]:
            index, finish = choice["index"], choice["finish_reason"]
            yield from self._delta(choice["delta"], index)
            if finish is not None and index not in self._finished:
                self._finished.add(index)
                # A function call of the older grammar is told as a tool call, and so is its end.
                yield Finished("tool_calls" if finish == "function_call" else finish, index)

    def _delta(self, delta: Json, choice: int) -> Iterator[Event]:
        for name, tell in SPOKEN:
            if said := delta.get(name):
                yield tell(said, choice)
        for call in delta.get("tool_calls", ()):
            yield from self._call(call, choice)
        if function := delta.get("function_call"):
            yield from self._call({"index": 0, "id": "call_0", "function": function}, choice)

    def _call(self, call: Json, choice: int) -> Iterator[Event]:
        index = call["index"]
        function = call.get("function") or _function_of(call.get("custom"))
        if (choice, index) not in self._called:
            self._called.add((choice, index))
            yield ToolCallStarted(index, call["id"], function.get("name", ""), choice)
        if arguments := function.get("arguments"):
            yield ToolCallArguments(index, arguments, choice)


def _function_of(custom: Any) -> Json:
    """A custom tool is called with plain text; as an event that text is one JSON string."""
    if not isinstance(custom, dict):
        return {}
    return {"name": custom.get("name", ""), "arguments": orjson.dumps(custom.get("input", "")).decode()}


def _transcript(audio: Json, choice: int) -> Event:
    """What spoken output said. Events carry no sound."""
    return Text(audio.get("transcript") or "", choice)


SPOKEN: tuple[tuple[str, Callable[[Any, int], Event]], ...] = (
    ("reasoning_content", lambda said, choice: Reasoning(said, choice=choice)),
    ("content", Text),
    ("refusal", Refusal),
    ("audio", _transcript),
)
"""What a delta may say, in the order in which it is told."""
