"""What every kind of call needs on its way through the house: its company, and the steps that all kinds take alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from gateway.config.snapshot import Model
from gateway.core.call import Call, Target, UpstreamReply, UpstreamRequest
from gateway.core.errors import Failure, Unsupported, UpstreamError
from gateway.engine.entry import Entry
from gateway.engine.house import House, Upstream
from gateway.ports import Clock, Exchange
from gateway.upstream.transport import read_all

T = TypeVar("T")

REFUSAL_LIMIT = 256 * 1024
"""Bytes of an error's body: more than that explains nothing."""


class Client(Protocol):
    """The caller, as the engine sees it. The status goes out with the first byte: until then a call may still fail."""

    async def write(self, data: bytes) -> None:
        """The next piece of a streamed answer."""

    async def finish(self) -> None:
        """The streamed answer is complete."""

    async def whole(self, body: bytes) -> None:
        """The answer, all at once."""


class Visit(NamedTuple):
    """What every step of one call needs."""

    call: Call
    house: House
    client: Client
    entry: Entry
    deadline: float
    """The point in time at which the whole call must have ended, over all attempts."""
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


def authorized(request: UpstreamRequest, upstream: Upstream) -> UpstreamRequest:
    """The request with the provider's credentials."""
    headers = request.headers + upstream.authorize(request)
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
