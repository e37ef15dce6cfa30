"""Every door between the pure rooms and the world, named by need and not by product."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.core.call import Headers, Json, UpstreamRequest
from gateway.core.errors import Failure

Clock = Callable[[], float]
"""Seconds, monotonic, from an arbitrary start: the event loop's `time`."""

Random = Callable[[], float]
"""A number in [0, 1)."""


class Patience(NamedTuple):
    """How long an exchange may go on.

    `until` is a point in time of the clock; `idle` is the longest silence in seconds between two reads of the socket.
    Whichever runs out first ends the exchange: with `failure`, or with `Failure.IDLE_TIMEOUT`.
    """

    until: float
    failure: Failure
    idle: float = float("inf")


class Exchange(Protocol):
    """One request under way at an upstream. The head of the answer is here; the body is read as it comes."""

    status: int
    headers: Headers
    patience: Patience
    """May be replaced at any time; the new one holds at once."""

    async def read(self) -> bytes:
        """All bytes of the body that have come since, at least one; empty once the body is complete.

        Raises UpstreamError: the connection broke, the body was cut short, or patience ran out.
        """

    def close(self) -> None:
        """Ends the exchange in any state. The connection is kept if the answer was complete, else closed at once."""


class Transport(Protocol):
    """The way to one provider."""

    async def send(self, request: UpstreamRequest, *, connect: float, patience: Patience) -> Exchange:
        """Sends a request and waits for the head of its answer.

        `connect` is how long opening a connection may take, in seconds. Raises UpstreamError; closes behind itself when
        cancelled.
        """

    async def aclose(self) -> None:
        """Closes every connection."""


class Media(Protocol):
    """The way to files that requests link to, for providers that want the files themselves."""

    async def inline(self, body: Json, left: tuple[str, ...] = ()) -> Json:
        """The request with every linked file in it as a data URL; the same object when there is nothing to fetch.

        Addresses that begin as one of those `left` stay as they are.

        Raises InvalidRequest for what is not to be had, with its place in `param`. Never edits what it is given.
        """


Authorize = Callable[[UpstreamRequest], Headers]
"""The credential headers for a request: constant for a bearer key, computed where requests are signed."""


class Credentials(Protocol):
    """Credentials that are fetched and renewed in the background. Without any, `Authorize` raises UpstreamError."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be quoted to anyone, as it is now."""

    def start(self) -> None:
        """Begins to fetch, in the running loop."""

    async def ready(self, within: float) -> None:
        """Waits until it is known whether there are any, which mostly is so; `within` seconds at most."""

    async def aclose(self) -> None:
        """Renews no more."""


class Notice(NamedTuple):
    """What one replica tells the others of a target: to leave it alone for so long."""

    provider: str
    model: str
    why: str
    """`ejected`, or the `Failure` after which it cools down."""
    seconds: float
    """From now on; zero: it is well again."""
    times: int = 0
    """Of an ejection: which one in a row."""
    asked: bool = False
    """Of a cooldown: whether the provider itself asked for it."""


class Notices(Protocol):
    """The way to the other replicas.

    Telling never waits. What cannot be told is lost: each replica finds out for itself in the end.
    """

    def tell(self, notice: Notice) -> None:
        """Tells every other replica, soon."""

    def start(self, heard: Callable[[Notice], None]) -> None:
        """Begins to listen, in the running loop. `heard` is told what others tell, and what holds already."""

    async def aclose(self) -> None:
        """Listens no more."""
