"""
What has to follow from each failure: design by table, written from what is promised and not from the code.

A `Row` is a kind of failure before the commit point, and what the client hears when nobody is left to ask. `expected`
makes of a fault, and of the company in which it happens, all that can be seen from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

ILL, WELL = "ill", "well"
"""The two providers of each cell. The first one, which is asked first, has the fault."""

GUESSED_WAIT = 5
"""Seconds that a provider which is full is left alone for, where it does not say how long."""


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of failure."""

    outcome: str
    """What the record of an attempt calls it."""
    status: int
    code: str | None
    type: str = "upstream_error"
    again: int = 0
    """How often the same target is asked again."""
    elsewhere: bool = True
    """Whether another target is asked."""
    wait: int | None = None
    """What the client is told to wait, where the provider says nothing."""
    final: bool = False
    """Whether the client is told not to try again, come what may."""
    quoted: bool = False
    """Whether the client hears the provider's own words."""
    alone: Row | None = None
    """What it is where nobody else could be asked; None: the same."""


UNREACHABLE = Row("unreachable", 502, "upstream_unreachable", again=1)
CONNECT_TIMEOUT = Row("connect_timeout", 504, "upstream_timeout")
FIRST_TOKEN_TIMEOUT = Row("first_token_timeout", 504, "upstream_timeout")
IDLE_TIMEOUT = Row("idle_timeout", 504, "upstream_timeout")
DEADLINE = Row("deadline", 504, "upstream_timeout", elsewhere=False)
NO_ANSWER = Row("first_token_timeout", 504, "upstream_timeout", alone=DEADLINE)
LIMITED = Row("rate_limited", 429, "rate_limit_exceeded", "rate_limit_error", wait=GUESSED_WAIT)
BILLING = Row("billing", 503, "upstream_error", final=True)
OVERLOADED = Row("overloaded", 503, "upstream_error", again=1)
SERVER_ERROR = Row("server_error", 502, "upstream_error", again=1)
CREDENTIALS = Row("credentials", 502, "upstream_auth_error")
MODEL_MISSING = Row("model_missing", 404, "model_not_found", "invalid_request_error")
MALFORMED = Row("malformed", 502, "upstream_error", again=1)
TRUNCATED = Row("truncated", 502, "upstream_stream_truncated", again=1)
CONTEXT = Row("context_too_long", 400, "context_length_exceeded", "invalid_request_error", elsewhere=False, quoted=True)
CONTENT = Row("content_filtered", 400, "content_filter", "invalid_request_error", elsewhere=False, quoted=True)
SOUND = Row("ok", 200, None)
"""No failure at all."""


def rejected(status: int) -> Row:
    """The request itself was refused: its status is passed on, and the code is the provider's own."""
    return Row("rejected", status, None, "invalid_request_error", elsewhere=False, quoted=True)


class Phase(Enum):
    """When a fault happens, or whether it is one."""

    BEFORE = "before the first output"
    AFTER = "after output"
    ONCE = "once, and then all is well"
    STALE = "only to the connection that an earlier call has used"
    HARMLESS = "never: all is well"


class Expected(NamedTuple):
    """What can be seen of one call."""

    trail: tuple[tuple[str, str], ...]
    """Provider and outcome of each attempt."""
    outcome: str = "ok"
    """Of the entry."""
    status: int = 200
    served: str = ""
    """Who gave the whole answer; empty: nobody."""
    cut: bool = False
    """Whether the answer of the first provider breaks off, and an error ends it."""
    row: Row | None = None
    """What the client is told of, where it is told of a failure."""
    wait: int | None = None
    """Seconds in `retry-after`."""
    lost: int = 0
    """Requests to the first provider that were no attempt: the transport's own second try."""

    @property
    def final(self) -> bool:
        """Whether the client is told not to try again: what a second try could mend, the gateway has tried."""
        if self.row is None or self.cut:
            return False
        return self.row.final or (len(self.trail) > 1 and self.wait is None)


def expected(row: Row, phase: Phase, wait: int | None, company: bool) -> Expected:
    """What has to be seen of a failure in this phase, when the provider asks to wait so long and has company or not."""
    return _PHASES[phase](row if company else row.alone or row, wait, company)


def _before(row: Row, wait: int | None, company: bool) -> Expected:
    tries = ((ILL, row.outcome),) * (1 + (row.again if wait is None else 0))
    if company and row.elsewhere:
        return Expected((*tries, (WELL, "ok")), served=WELL)
    wait = row.wait if wait is None else wait
    return Expected(tries, _entered(row), row.status, row=row, wait=wait)


def _entered(row: Row) -> str:
    return "client_error" if row.quoted else "upstream_error"


def _after(row: Row, wait: int | None, company: bool) -> Expected:
    return Expected(((ILL, row.outcome),), "truncated", cut=True, row=row)


def _once(row: Row, wait: int | None, company: bool) -> Expected:
    if row.again or not company:
        return Expected(((ILL, row.outcome), (ILL, "ok")), served=ILL)
    return Expected(((ILL, row.outcome), (WELL, "ok")), served=WELL)


def _stale(row: Row, wait: int | None, company: bool) -> Expected:
    return Expected(((ILL, "ok"),), served=ILL, lost=1)


def _harmless(row: Row, wait: int | None, company: bool) -> Expected:
    return Expected(((ILL, row.outcome),), served=ILL)


_PHASES: Mapping[Phase, Callable[[Row, int | None, bool], Expected]] = {
    Phase.BEFORE: _before,
    Phase.AFTER: _after,
    Phase.ONCE: _once,
    Phase.STALE: _stale,
    Phase.HARMLESS: _harmless,
}
