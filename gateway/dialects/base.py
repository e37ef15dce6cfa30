"""What a dialect must offer. A dialect is a *module*: four pure functions, no IO, no clock, no configuration.

Embeddings are a grammar of their own, which not every upstream has: a module beside it, of two functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gateway.core.call import Call, Target, UpstreamReply, UpstreamRequest
from gateway.core.embedded import Embedded
from gateway.core.errors import UpstreamError
from gateway.core.events import Event, Usage


class StreamDecoder(Protocol):
    """Reads one streamed answer, in pieces of any size."""

    def feed(self, data: bytes) -> Iterable[Event]:
        """What these bytes complete. Raises UpstreamError when the upstream says it failed, or makes no sense."""

    def end(self) -> Iterable[Event]:
        """The connection has ended. Raises UpstreamError unless the grammar's own full stop was seen."""

    @property
    def told(self) -> Usage:
        """As much usage as the upstream has told so far: what is known of an answer that is cut."""


class Dialect(Protocol):
    """The grammar of one kind of upstream."""

    def ask(self, call: Call, target: Target) -> UpstreamRequest:
        """The call as this upstream wants it. Leaves the call as it was; gives the same bytes each time."""

    def answer(self, reply: UpstreamReply) -> Iterable[Event]:
        """A whole answer, told as the same story that a stream would tell."""

    def stream(self, target: Target) -> StreamDecoder:
        """A fresh reader for one streamed answer."""

    def refusal(self, reply: UpstreamReply) -> UpstreamError:
        """What went wrong, for a status of 400 and above. Never raises, whatever the body."""


class EmbeddingsDialect(Protocol):
    """How one kind of upstream is asked for embeddings. What it says when it refuses, its `Dialect` reads."""

    def ask(self, call: Call, target: Target) -> tuple[UpstreamRequest, ...]:
        """The call as this upstream wants it: at least one request, and several where it takes less in each.

        All of them lose the same fields. Leaves the call as it was; gives the same bytes each time.
        """

    def answer(self, reply: UpstreamReply) -> Embedded:
        """The answer to one of the requests. Raises UpstreamError for anything that is none."""
