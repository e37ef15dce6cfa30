"""What every kind of call needs on its way through the house: its company, and the steps that all kinds take alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from gateway.config.snapshot import Model
from gateway.core.call import Call, Target, UpstreamReply, UpstreamRequest
from gateway.core.errors import Failure, Unsupported, UpstreamError
from gateway.engine.entry import Entry
from gateway.engine.house import House, Upstream
from gateway.ports import Clock, Exchange, Patience
from gateway.routing.plan import Attempt
from gateway.upstream.transport import read_all

T = TypeVar("T")

REFUSAL_LIMIT = 256 * 1024
"""Bytes of an error's body: more than that explains nothing."""


class Client(Protocol):
    """The caller, as the engine sees it. The status goes out with the first byte: until then a call may still fail."""

    @property
    def gone(self) -> bool:
        """Whether it has hung up. What is written then is lost, and nothing fails by that."""

    async def write(self, data: bytes) -> None:
        """The next piece of a streamed answer."""

    async def conclude(self) -> None:
        """All that is known of the call is in its entry: to be called before the client can tell that it has ended."""

    async def finish(self) -> None:
        """The streamed answer is complete."""

    async def whole(self, body: bytes) -> None:
        """The answer, all at once."""


class Visit(Struct, frozen=True):
    """What every step of one call needs."""

    call: Call
    house: House
    client: Client
    entry: Entry
    deadline: float
    """The point in time by which, over all attempts, a stream must have begun and a whole answer have come."""
    end: float
    """The point in time at which a stream must have ended. For a whole answer it is the deadline."""
    clock: Clock


def expressed(ask: Callable[[Call, Target], T], call: Call, target: Target) -> T:
    """The call as a dialect writes it. Raises UpstreamError for what it cannot express and must not lose."""
    try:
        return ask(call, target)
    except Unsupported as error:
        raise UpstreamError(Failure.UNSUPPORTED, error.message, param=error.param) from error


def allow_dropped(dropped: tuple[str, ...], model: Model) -> None:
    """Raises UpstreamError where fields would be lost and the configuration does not want that."""
    if dropped and model.unsupported == "error":
        names = ", ".join(f"`{name}`" for name in dropped)
        problem = f"{names} cannot be expressed for this model's provider, and leaving out is not allowed here."
        raise UpstreamError(Failure.UNSUPPORTED, problem, param=dropped[0])


def first_patience(visit: Visit, attempt: Attempt) -> Patience:
    """How long a target may take for the first output of a stream, or for a whole answer.

    Where another target could still be asked, a silent one gets half of the time that is left: nothing else tells of a
    whole answer whether it is still being written.
    """
    now = visit.clock()
    left = visit.deadline - now
    within = min(attempt.model.timeouts.first_token, left) if visit.call.stream else left
    if attempt.others:
        within = min(within, left / 2)
    if within < left:
        return Patience(now + within, Failure.FIRST_TOKEN_TIMEOUT)
    return Patience(visit.deadline, Failure.DEADLINE)


def authorized(request: UpstreamRequest, upstream: Upstream, entry: Entry) -> UpstreamRequest:
    """The request with the provider's credentials, and with the attempt's place in the call's trace."""
    headers = request.headers + upstream.authorize(request)
    if entry.trace is not None and entry.under_way is not None:
        headers += ((b"traceparent", entry.trace.parent(entry.under_way.span_id)),)
    return UpstreamRequest(request.method, request.url, headers, request.body, request.dropped)


async def reply_of(exchange: Exchange, limit: int) -> UpstreamReply:
    """The whole answer. Raises UpstreamError when it is longer than the limit."""
    return UpstreamReply(exchange.status, exchange.headers, await read_all(exchange, limit))


async def waiting(awaited: Awaitable[T], visit: Visit) -> T:
    """Waits for the upstream, and keeps count of it: what is not waiting is our own overhead."""
    since = visit.clock()
    try:
        return await awaited
    finally:
        visit.entry.waited += visit.clock() - since
