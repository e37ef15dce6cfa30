"""What one call came to: the only mutable value of a call, settled exactly once however the call ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gateway.core.call import Call, Target
from gateway.core.errors import Failure, GatewayError, Overloaded, UpstreamError
from gateway.core.events import Usage
from gateway.policy import estimate

Outcome = Literal["ok", "client_error", "limited", "upstream_error", "truncated", "cancelled"]
UsageSource = Literal["reported", "estimated", "none"]

CLIENT_CLOSED = 499
"""The status of a call whose client hung up: nginx's, and what every dashboard knows."""

PASSED_ON = frozenset({Failure.REJECTED, Failure.UNSUPPORTED, Failure.CONTEXT_TOO_LONG, Failure.CONTENT_FILTERED})
"""Failures that are the request's own fault, whoever noticed it."""


class Tried(NamedTuple):
    """One attempt, as the record tells it."""

    provider: str
    model: str
    outcome: str
    """`ok`, `cancelled` or a `Failure`."""
    ms: float
    said: str = ""
    """What the log may hold of a failure."""


@dataclass(slots=True)
class Entry:
    """One call, from the first byte asked to the last one answered. Times are the event loop's, in seconds."""

    id: str
    endpoint: str
    started: float
    time: float
    """When it began, in seconds since 1970."""
    key: str = ""
    model: str = ""
    """The public name as configured, once it was found: never what a client made up."""
    call: Call | None = None
    target: Target | None = None
    """The last one that was tried: the one that served, if the outcome is `ok`."""
    tried: list[Tried] = field(default_factory=list)
    dropped: tuple[str, ...] = ()
    status: int = 0
    outcome: Outcome = "ok"
    error: GatewayError | None = None
    usage: Usage | None = None
    usage_source: UsageSource = "none"
    carried: int = 0
    """Characters of output that went to the client."""
    first_token: float | None = None
    waited: float = 0.0
    """Seconds spent waiting for upstreams."""
    ended: float = 0.0

    def note(self, target: Target, outcome: str, since: float, now: float, said: str = "") -> None:
        """One attempt has ended."""
        self.tried.append(Tried(target.provider, target.model, outcome, (now - since) * 1000, said))

    def sheet(self) -> Entry:
        """A blank entry of the same call, for an attempt that runs beside others."""
        sheet = Entry(self.id, self.endpoint, self.started, self.time, self.key, self.model, self.call)
        sheet.waited = self.waited
        return sheet

    def adopt(self, sheet: Entry) -> None:
        """What an attempt that ran beside others came to."""
        self.target, self.dropped, self.first_token = sheet.target, sheet.dropped, sheet.first_token
        self.usage, self.usage_source, self.carried = sheet.usage, sheet.usage_source, sheet.carried
        self.waited = sheet.waited

    def failed(self, error: GatewayError) -> None:
        """The client has been told of an error, as a status or, once output had gone out, inside the stream."""
        self.error = error
        self.status = self.status or error.status
        if self.committed:
            self.outcome = "truncated"
        elif isinstance(error, Overloaded):
            self.outcome = "limited"
        elif isinstance(error, UpstreamError) and error.failure not in PASSED_ON:
            self.outcome = "upstream_error"
        else:
            self.outcome = "client_error" if error.status < 500 else "upstream_error"

    def hung_up(self) -> None:
        """The client is gone."""
        self.status, self.outcome = CLIENT_CLOSED, "cancelled"

    def settle(self, now: float) -> None:
        """Closes the books: no upstream that stayed silent costs anything, and what came unreported is estimated."""
        self.ended = now
        if self.usage is None and self.call is not None and self.carried:
            self.usage, self.usage_source = estimate.usage(self.call.size, self.carried), "estimated"
        elif self.usage is not None and self.usage_source == "none":
            self.usage_source = "reported"

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
        return max(0.0, now - self.started - self.waited)


Sink = Callable[[Entry], None]
"""Takes each settled entry, once. Must not block and must not raise."""
