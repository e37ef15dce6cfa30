"""Where client and upstream both speak OpenAI's grammar: an answer's own bytes, wherever they are right. Pure.

What is changed in a stream: an event that had to be mended is spelt anew; `id:`, `retry:` and `event:` lines are taken
out, because openai-python takes each for an event of its own and fails on it; usage is told once, at the end, to those
who asked.
"""

from __future__ import annotations

import orjson
from msgspec.structs import replace

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import malformed
from gateway.core.events import Usage
from gateway.dialects.openai_answers import Chunks, Heard, body_of, usage_of
from gateway.dialects.openai_mend import without_null
from gateway.dialects.openai_mould import NULL_USAGE, Mould, Whole, mould, recognised, remember

DONE = b"data: [DONE]\n\n"

HELD_EVENTS = 64
HELD_BYTES = 256 * 1024
"""How much of an opening is held back while waiting for the first output."""

WORTH_TELLING = frozenset({"moderation", "prompt_filter_results", "citations", "search_results"})
"""What an event without choices may tell beside its usage. It goes into the next event that has a choice: Azure begins
its streams with such an event, and an application that was written for OpenAI looks into the first choice of each."""


class Relay:
    """Hands on one streamed answer: bytes in, bytes out."""

    def __init__(self, *, include_usage: bool, done_marker: bool) -> None:
        self.spoke = False
        """Whether output has been handed on. Until then everything is held back, so that another may be asked."""
        self.usage: Usage | None = None
        self.carried = 0
        """Characters of output handed on."""
        self._include_usage = include_usage
        self._chunks = Chunks(done_marker)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._held_events = 0
        self._usage_event = b""
        self._closed = False
        self._aside: Json = {}
        """What is still to be told of events without choices."""
        self._mould: Mould | None = None
        self._cuts_usage = False

    told = Usage()
    """Whatever is told of usage is `usage` at once: nothing but the final counts, or sums of all that was counted."""

    def feed(self, data: bytes) -> bytes:
        """What to send to the client now. Raises UpstreamError when the upstream says it failed, or makes no sense."""
        if self._mould is not None and self._chunks.at_rest and (length := self._mould.holds(data)):
            self.carried += length
            return data.replace(NULL_USAGE, b"", 1) if self._cuts_usage else data
        for heard in self._chunks.feed(data):
            self._take(heard)
        if self._chunks.done:
            return self._close()
        self.spoke = self.spoke or self._held_events > HELD_EVENTS or self._held_bytes > HELD_BYTES
        return self.release() if self.spoke else b""

    def release(self) -> bytes:
        """What is held back: when `feed` raised after the commit point, what came before the fault."""
        released = b"".join(self._held)
        self._held.clear()
        return released

    def end(self) -> bytes:
        """The upstream has ended. Raises UpstreamError unless the answer is complete."""
        for heard in self._chunks.end():
            self._take(heard)
        return self._close()

    def _take(self, heard: Heard) -> None:
        raw, chunk = heard.raw, heard.chunk
        if chunk is None:
            self._hold(raw)
            return
        if not chunk["choices"]:
            self._put_aside(raw, chunk)
            return
        if self._aside:
            raw, chunk, self._aside = b"", {**chunk, **self._aside}, {}
        if heard.text:
            self.carried += len(heard.text)
            self.spoke = True
            self._remember(heard)
        else:
            self.usage = self._chunks.usage
            self.carried += characters(chunk["choices"], "delta")
            self.spoke = self.spoke or _speaks(chunk)
            self._held_events += 1
        self._hold(self._spelt(raw, chunk))

    def _put_aside(self, raw: bytes, chunk: Json) -> None:
        """Keeps what an event without choices tells: its usage for the end, all else for the next event."""
        self.usage = self._chunks.usage
        self._held_events += 1
        told = {name: chunk.pop(name) for name in WORTH_TELLING & chunk.keys()}
        self._aside |= {name: value for name, value in told.items() if value}
        if chunk.get("usage") is not None:
            self._usage_event = _event(chunk) if told else raw

    def _remember(self, heard: Heard) -> None:
        """Chunks that go out as they come are known again by their bytes."""
        if self._mould is None and heard.raw and heard.chunk is not None:
            self._cuts_usage = "usage" in heard.chunk and not self._include_usage
            if not self._cuts_usage or without_null(heard.raw, "usage"):
                self._mould = mould(heard.raw, heard.text)

    def _hold(self, event: bytes) -> None:
        self._held.append(event)
        self._held_bytes += len(event)

    def _close(self) -> bytes:
        """The rest of the answer, its usage and the full stop; nothing when that has been said."""
        if self._closed:
            return b""
        self._closed = self.spoke = True
        if self._include_usage:
            self._hold(self._usage_event or self._made_usage_event())
        if self._aside:
            self._hold(_event({**self._chunks.envelope(), "choices": [], **self._aside}))
        return self.release() + DONE

    def _spelt(self, raw: bytes, chunk: Json) -> bytes:
        """The event as the client gets it."""
        if "usage" in chunk:
            if chunk["usage"] is not None:
                return self._without_usage(chunk)
            if not self._include_usage:
                del chunk["usage"]
                raw = raw and without_null(raw, "usage")
        return raw or _event(chunk)

    def _without_usage(self, chunk: Json) -> bytes:
        """An event that says something and counts too: the counts have one of their own, at the end."""
        self._usage_event = b""
        del chunk["usage"]
        return _event(chunk | {"usage": None} if self._include_usage else chunk)

    def _made_usage_event(self) -> bytes:
        """For servers that tell usage in another place than an event of its own."""
        usage = self._chunks.counted
        return _event({**self._chunks.envelope(), "choices": [], "usage": usage}) if usage else b""


def _event(chunk: Json) -> bytes:
    return b"data: " + _spelt(chunk) + b"\n\n"


def _speaks(chunk: Json) -> bool:
    return any(
        not OUTPUT.isdisjoint(name for name, said in choice["delta"].items() if said) for choice in chunk["choices"]
    )


OUTPUT = frozenset({"content", "reasoning_content", "refusal", "tool_calls", "function_call", "audio"})
TEXTS = ("content", "reasoning_content", "refusal")


def characters(choices: list[Json], part: str) -> int:
    """How much a model said in the `delta` or `message` of each choice: text, reasoning, refusals, arguments."""
    count = 0
    for choice in choices:
        told = choice[part]
        for name in TEXTS:
            if said := told.get(name):
                count += len(said)
        if "tool_calls" in told or "function_call" in told:
            count += _arguments(told)
    return count


def _arguments(told: Json) -> int:
    functions = [call.get("function") or {} for call in told.get("tool_calls", ())] + [told.get("function_call") or {}]
    return sum(len(function.get("arguments", "")) for function in functions)


def whole(reply: UpstreamReply) -> Whole:
    """One unstreamed answer: its own bytes where they are right. Raises UpstreamError for anything but an answer."""
    if (known := recognised(reply.body)) is not None:
        return known
    body, changed = body_of(reply)
    told = Whole(reply.body, usage_of(body), characters(body["choices"], "message"))
    if changed:
        return replace(told, body=_spelt(body))
    remember(told)
    return told


def _spelt(body: Json) -> bytes:
    with malformed("an answer that cannot be spelt"):  # orjson reads deeper nesting than it writes
        return orjson.dumps(body)
