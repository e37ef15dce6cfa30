"""The two ways an answer crosses the house: as its own bytes, or decoded to events and spelt again. Neither does IO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import orjson

from gateway.core.call import Call, Target, UpstreamReply
from gateway.core.events import Event, Reasoning, Refusal, Started, Text, ToolCallArguments, Usage, UsageReported
from gateway.dialects import openai_relay
from gateway.dialects.base import Dialect, StreamDecoder
from gateway.dialects.openai_mould import Whole
from gateway.dialects.openai_relay import HELD_BYTES, HELD_EVENTS, Relay
from gateway.surfaces.openai_encoder import Encoder, whole

NOTHING = Usage()

SAME_GRAMMAR = frozenset({("chat", "openai_chat"), ("chat", "mistral")})
"""(endpoint, dialect) pairs in which answers come in the client's own grammar."""


class Lane(Protocol):
    """Carries one streamed answer: bytes in, bytes out."""

    spoke: bool
    """Whether output has been handed on: from here on nothing can be tried elsewhere."""
    usage: Usage | None
    carried: int
    """Characters of output handed on."""

    @property
    def told(self) -> Usage:
        """What the upstream has said of its usage on the way, for as long as it has not said all of it."""

    def feed(self, data: bytes) -> bytes:
        """What to send to the client now; nothing while the opening is held. Raises UpstreamError."""

    def release(self) -> bytes:
        """What is held back: when `feed` raised after the commit point, what came before the fault."""

    def end(self) -> bytes:
        """The upstream has ended. Raises UpstreamError unless the answer is complete."""


class Translated:
    """Upstream and client speak differently."""

    def __init__(self, decoder: StreamDecoder, encoder: Encoder) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.spoke = False
        self.usage: Usage | None = None
        self.carried = 0

    @property
    def told(self) -> Usage:
        return self._decoder.told if self.usage is None else NOTHING

    def feed(self, data: bytes) -> bytes:
        return self._spell(self._decoder.feed(data))

    def end(self) -> bytes:
        spelt = self._spell(self._decoder.end())
        self.spoke = True  # an answer may be complete without a word of output
        return self.release() + spelt + self._encoder.end()

    def _spell(self, events: Iterable[Event]) -> bytes:
        for event in events:
            self._look(event)
            self._held.append(self._encoder.encode(event))
            self._held_bytes += len(self._held[-1])
        self.spoke = self.spoke or len(self._held) > HELD_EVENTS or self._held_bytes > HELD_BYTES
        return self.release() if self.spoke else b""

    def release(self) -> bytes:
        released = b"".join(self._held)
        self._held.clear()
        return released

    def _look(self, event: Event) -> None:
        match event:
            case UsageReported(usage=usage):
                self.usage = usage
            case Started():
                pass
            case Text(text=said) | Reasoning(text=said) | Refusal(text=said) | ToolCallArguments(json=said):
                self.carried += len(said)
                self.spoke = self.spoke or bool(said)
            case _:
                self.spoke = True


def lane(call: Call, target: Target, grammar: str, dialect: Dialect, created: int) -> Lane:
    """The way for one attempt's streamed answer."""
    if (call.endpoint, grammar) in SAME_GRAMMAR:
        return Relay(include_usage=call.include_usage, done_marker=target.done_marker)
    return Translated(dialect.stream(target), _encoder(call, created))


def answer(call: Call, grammar: str, dialect: Dialect, reply: UpstreamReply, created: int) -> Whole:
    """One unstreamed answer, as the client gets it."""
    if (call.endpoint, grammar) in SAME_GRAMMAR:
        return openai_relay.whole(reply)
    events = list(dialect.answer(reply))
    body = orjson.dumps(whole(events, created, call.id, call.model))
    return Whole(body, _usage(events), sum(map(_length, events)))


def _length(event: Event) -> int:
    """Characters of output in an event."""
    match event:
        case Text(text=said) | Reasoning(text=said) | Refusal(text=said) | ToolCallArguments(json=said):
            return len(said)
    return 0


def _usage(events: list[Event]) -> Usage | None:
    for event in reversed(events):  # it is among the last
        if isinstance(event, UsageReported):
            return event.usage
    return None


def retold(call: Call, dialect: Dialect, reply: UpstreamReply, created: int) -> Lane:
    """A whole answer told as a stream, for servers that answer a streamed request at once. Nothing is left to feed."""
    return Translated(_Told(list(dialect.answer(reply))), _encoder(call, created))


def _encoder(call: Call, created: int) -> Encoder:
    """Where the upstream has no name for the answer or the model, the client gets its own."""
    return Encoder(created=created, include_usage=call.include_usage, id=call.id, model=call.model)


class _Told:
    """A stream decoder that has heard everything already."""

    told = NOTHING

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def feed(self, data: bytes) -> Iterable[Event]:
        return ()

    def end(self) -> Iterable[Event]:
        return self._events
