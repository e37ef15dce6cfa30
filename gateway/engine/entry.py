"""What one call came to: the only mutable value of a call, settled exactly once however the call ends."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from gateway.core.call import Call, Target
from gateway.core.errors import Failure, GatewayError, LimitExceeded, Overloaded, UpstreamError
from gateway.core.events import Usage
from gateway.core.record import Outcome, Record, UsageSource
from gateway.policy.cost import credible
from gateway.policy.estimate import Estimates
from gateway.ports import Reservation, Standing
from gateway.wire.trace_context import Trace

CLIENT_CLOSED = 499
"""The status of a call whose client hung up: nginx's, and what every dashboard knows."""

NOTHING = Usage()

PASSED_ON = frozenset({Failure.REJECTED, Failure.UNSUPPORTED, Failure.CONTEXT_TOO_LONG, Failure.CONTENT_FILTERED})
"""Failures that are the request's own fault, whoever noticed it."""


class Tried(Struct, frozen=True):
    """One attempt, as the record tells it."""

    provider: str
    model: str
    outcome: str
    """`ok`, `cancelled` or a `Failure`."""
    ms: float
    said: str = ""
    """What the log may hold of a failure."""
    since: float = 0.0
    """When it began, by the clock of the entry."""
    span_id: int = 0
    """In the call's trace, if it has one."""


class UnderWay(Struct, frozen=True):
    """An attempt that is being made."""

    target: Target
    since: float
    span_id: int


class Entry(Struct):
    """One call, from the first byte asked to the last one answered. Times are the event loop's, in seconds."""

    id: str
    endpoint: str
    started: float
    time: float
    """When it began, in seconds since 1970."""
    record_id: str = ""
    """Unlike that of any other call; `id` is, unless the client chose it."""
    key: str = ""
    model: str = ""
    """The public name as configured, once it was found: never what a client made up."""
    call: Call | None = None
    target: Target | None = None
    """The last one that was tried: the one that served, if the outcome is `ok`."""
    tried: list[Tried] = field(default_factory=list)
    under_way: UnderWay | None = None
    trace: Trace | None = None
    """Where it stands in a distributed trace, if anybody wants to know."""
    dropped: tuple[str, ...] = ()
    status: int = 0
    outcome: Outcome = "ok"
    error: GatewayError | None = None
    usage: Usage | None = None
    usage_source: UsageSource = "none"
    told: Usage = NOTHING
    """What the provider has said of its usage on the way, where it has not said all of it."""
    carried: int = 0
    """Characters of output that went to the client."""
    cost: int | None = None
    """Micro-dollars; None where nothing was used, or no price is known."""
    lost: list[tuple[Target, Usage]] = field(default_factory=list)
    """What attempts have used that failed after all."""
    reservation: Reservation | None = None
    """What was reserved for it, until it is settled."""
    standings: tuple[Standing, ...] = ()
    """How the limits of its key stood when it was let in, itself included; or the one that did not let it in."""
    first_token: float | None = None
    waited: float = 0.0
    """Seconds spent waiting for upstreams."""
    ended: float = 0.0
    """When its books were closed."""
    record: Record | None = None
    """What is kept of it, once somebody has asked for that."""

    def begin(self, target: Target, now: float) -> None:
        """An attempt begins."""
        self.target = target
        self.under_way = UnderWay(target, now, self.trace.new_span_id() if self.trace is not None else 0)

    def note(self, outcome: str, now: float, said: str = "") -> None:
        """It has ended. Noted once: when the books are closed before the answer is finished, it has gone well."""
        ended, self.under_way = self.under_way, None
        if ended is not None:
            target, since = ended.target, ended.since
            ms = (now - since) * 1000
            self.tried.append(Tried(target.provider, target.model, outcome, ms, said, since, ended.span_id))

    def heard(self, usage: Usage | None, carried: int, told: Usage = NOTHING) -> None:
        """What the attempt has come to so far. Once the books are closed they stay as they are.

        A usage of nothing is none: whoever has answered has read something.
        """
        if not self.ended:
            self.usage = usage if usage is not None and credible(usage).total else None
            self.carried, self.told = carried, told

    def lose(self) -> None:
        """The attempt has come to nothing. What it is known to have used is on the provider's bill all the same."""
        used = self.told if self.usage is None else self.usage
        if self.target is not None and used.total:
            self.lost.append((self.target, used))
        self.usage, self.told, self.carried = None, NOTHING, 0

    def sheet(self) -> Entry:
        """A blank entry of the same call, for an attempt that runs beside others."""
        sheet = Entry(self.id, self.endpoint, self.started, self.time, key=self.key, model=self.model, call=self.call)
        sheet.waited, sheet.trace = self.waited, self.trace
        return sheet

    def adopt(self, sheet: Entry) -> None:
        """What an attempt that ran beside others came to."""
        self.target, self.dropped, self.first_token = sheet.target, sheet.dropped, sheet.first_token
        self.usage, self.usage_source, self.carried = sheet.usage, sheet.usage_source, sheet.carried
        self.told = sheet.told
        self.reservation, self.standings = sheet.reservation, sheet.standings
        self.under_way = sheet.under_way
        self.waited = sheet.waited

    def failed(self, error: GatewayError) -> None:
        """The client has been told of an error, as a status or, once output had gone out, inside the stream."""
        self.error = error
        self.status = self.status or error.status
        if self.committed:
            self.outcome = "truncated"
        elif isinstance(error, Overloaded | LimitExceeded) or _is_spent(error):
            self.outcome = "limited"
        elif isinstance(error, UpstreamError) and error.failure not in PASSED_ON:
            self.outcome = "upstream_error"
        else:
            self.outcome = "client_error" if error.status < 500 else "upstream_error"

    def hung_up(self) -> None:
        """The client is gone."""
        self.status, self.outcome = CLIENT_CLOSED, "cancelled"

    def settle(self, now: float, estimates: Estimates) -> None:
        """Closes the books: no upstream that stayed silent costs anything, and what came unreported is estimated."""
        self.ended = now
        self.note("ok", now)
        if self.usage is not None or self.lost:
            self.usage_source = "reported" if self.usage_source == "none" else self.usage_source
        if self.usage is None and self.call is not None and self.target is not None and self._answered:
            self.usage, self.usage_source = estimates.cut(self.call, self.target, self.carried, self.told), "estimated"

    @property
    def _answered(self) -> bool:
        """Whether the last target has said anything, be it only what the prompt counts."""
        return self.committed or self.carried > 0 or self.told.total > 0 or self.outcome == "ok"

    @property
    def committed(self) -> bool:
        """Whether output has gone out to the client."""
        return self.first_token is not None

    @property
    def provider(self) -> str:
        return self.target.provider if self.target else ""

    @property
    def latency(self) -> float:
        """Seconds from the request to the end of its answer."""
        return self.ended - self.started

    def overhead(self, now: float) -> float:
        """Seconds so far that were not spent waiting for an upstream."""
        passed = now - self.started
        return passed - self.waited if passed > self.waited else 0.0


def _is_spent(error: GatewayError) -> bool:
    return isinstance(error, UpstreamError) and error.failure is Failure.SPENT


Sink = Callable[[Entry], None]
"""Takes each settled entry, once. Must not block and must not raise."""
