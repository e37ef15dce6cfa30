"""Where a call stands in a distributed trace, and the headers that say so: W3C Trace Context. No IO.

Whoever sends what is malformed is taken for somebody who sent nothing. https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

SAMPLED = 1
"""The one flag of version 00."""

MOST_STATE = 32
"""Members of a `tracestate`; section 3.3.1.1."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_MEMBER = re.compile(r"([a-z0-9][a-z0-9_*/@-]{0,255})=([ -+\--<>-~]{0,255}[!-+\--<>-~])")


class Caller(NamedTuple):
    """The span that a call was made in, as the client tells it."""

    trace_id: int
    span_id: int
    sampled: bool
    state: tuple[tuple[str, str], ...] = ()
    """What the tracing systems before us have noted, the last of them first."""


class Trace(NamedTuple):
    """The trace of one call."""

    id: int
    span_id: int
    """Of the call itself."""
    sampled: bool
    """Whether anybody is told of it."""
    new_span_id: Callable[[], int]
    """Makes one for each attempt."""
    caller: Caller | None = None
    """Who began the trace; None: we have."""

    @property
    def hex_id(self) -> str:
        """As people and other systems spell it."""
        return f"{self.id:032x}"

    def parent(self, span_id: int) -> bytes:
        """The `traceparent` that makes whoever reads it a part of that span."""
        return b"00-%032x-%016x-%02x" % (self.id, span_id, SAMPLED if self.sampled else 0)


def caller(parent: bytes, state: bytes = b"") -> Caller | None:
    """What a request's `traceparent` and `tracestate` say. None for a malformed parent; a malformed state is empty."""
    if not (found := _PARENT.fullmatch(parent.strip(b" \t"))):
        return None
    version, trace, span, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest is not None):  # later versions may have more to say
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return Caller(trace_id, span_id, bool(int(flags, 16) & SAMPLED), _members(state))


def _members(state: bytes) -> tuple[tuple[str, str], ...]:
    members = [member for each in state.decode("latin-1").split(",") if (member := each.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    pairs = {match[1]: match[2] for match in found if match}
    return tuple(pairs.items()) if len(pairs) == len(members) <= MOST_STATE else ()
