"""Where client and upstream both speak OpenAI's grammar: an answer's own bytes, wherever they are right. Pure.

What is changed in a stream: an event that had to be mended is spelt anew; `id:`, `retry:` and `event:` lines are taken
out, because openai-python takes each for an event of its own and fails on it; usage is told once, at the end, to those
who asked.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from gateway.core.call import Json, UpstreamReply
from gateway.core.errors import malformed
from gateway.core.events import Usage
from gateway.dialects.openai_answers import Chunks, Heard, body_of, usage_of
from gateway.dialects.openai_mend import without_null

DONE = b"data: [DONE]\n\n"

HELD_EVENTS = 64
HELD_BYTES = 256 * 1024
"""How much of an opening is held back while waiting for the first output."""

WORTH_TELLING = frozenset({"moderation", "prompt_filter_results", "citations", "search_results"})
"""What makes an event without choices worth handing on, other than its usage."""


PLAIN = re.compile(rb"[ !#-\[\]-~]+")
"""Text that JSON writes as it is: ASCII without quotation marks, backslashes and control characters."""

PADDING = b',"obfuscation":"'
NULL_USAGE = b',"usage":null'


class Mould(NamedTuple):
    """The bytes around the text of a chunk that was looked at and found right.

    Nearly every chunk of a stream has the same around its own text, and then need not be looked at again: to compare
    bytes takes a tenth of the time that it takes to parse them and to look at each field.
    """

    before: bytes
    after: bytes
    end: bytes
    """What follows the random letters by which OpenAI hides how long a text is; nothing where there are none."""

    def holds(self, data: bytes) -> int:
        """How long the text is, if these bytes are one such event and nothing else; else 0."""
        if not data.startswith(self.before):
            return 0
        start = len(self.before)
        stop = data.find(b'"', start)
        rest = stop + len(self.after)
        if not data.startswith(self.after, stop) or not PLAIN.fullmatch(data, start, stop):
            return 0
        if self.end:
            if not data.endswith(self.end) or not data[rest : -len(self.end)].isalnum():
                return 0
        elif rest != len(data):
            return 0
        return stop - start


def mould(raw: bytes, text: str) -> Mould | None:
    """What is around a text, if it is written there plainly."""
    before, found, after = raw.partition(b'"' + text.encode() + b'"')
    if not found or not before.endswith((b'content":', b'content": ')) or b"\n" in after[:-2]:
        return None
    head, padding, letters = after.partition(PADDING)
    end = letters[letters.find(b'"') :] if padding else b""
    return Mould(before + b'"', b'"' + head + padding, end)


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
        self._mould: Mould | None = None
        self._cuts_usage = False

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
        if heard.chunk is None:
            self._hold(heard.raw)
            return
        if heard.text:
            self.carried += len(heard.text)
            self.spoke = True
            self._remember(heard)
        else:
            self.usage = self._chunks.usage
            self.carried += characters(heard.chunk["choices"], "delta")
            self.spoke = self.spoke or _speaks(heard.chunk)
            self._held_events += 1
        self._hold(self._spelt(heard.raw, heard.chunk))

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
        return self.release() + DONE

    def _spelt(self, raw: bytes, chunk: Json) -> bytes:
        """The event as the client gets it; nothing for one that told nothing but usage."""
        if "usage" in chunk:
            if chunk["usage"] is not None:
                return self._without_usage(raw, chunk)
            if not self._include_usage:
                del chunk["usage"]
                raw = raw and without_null(raw, "usage")
        return raw or _event(chunk)

    def _without_usage(self, raw: bytes, chunk: Json) -> bytes:
        self._usage_event = b""
        if not chunk["choices"] and not any(chunk.get(name) for name in WORTH_TELLING):
            self._usage_event = raw
            return b""
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


class Whole(NamedTuple):
    """One unstreamed answer, as the client gets it."""

    body: bytes
    usage: Usage | None
    carried: int
    """Characters of output."""


def whole(reply: UpstreamReply) -> Whole:
    """One unstreamed answer: its own bytes where they are right. Raises UpstreamError for anything but an answer."""
    body, changed = body_of(reply)
    return Whole(_spelt(body) if changed else reply.body, usage_of(body), characters(body["choices"], "message"))


def _spelt(body: Json) -> bytes:
    with malformed("an answer that cannot be spelt"):  # orjson reads deeper nesting than it writes
        return orjson.dumps(body)
