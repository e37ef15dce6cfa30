"""Every door between the pure rooms and the world, named by need and not by product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from gateway.core.call import Headers, Json, UpstreamRequest
from gateway.core.errors import Failure

Clock = Callable[[], float]
"""Seconds, monotonic, from an arbitrary start: the event loop's `time`."""

Random = Callable[[], float]
"""A number in [0, 1)."""


class Patience(Struct, frozen=True):
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


What = Literal["requests_per_minute", "tokens_per_minute", "concurrent_requests", "usd_budget", "token_budget"]
"""What a limit bounds: a word of messages, and a label of the metrics."""

Every = Literal["minute", "hour", "day", "week", "month"]


class Use(NamedTuple):
    """What a call uses, as far as limits count it: expected before it, real after it.

    Each limit counts one of these, and knows it by its place.
    """

    requests: int = 1
    tokens: int = 0
    micros: int = 0
    """Millionths of a US dollar."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So much, and no more. Made by `gateway.policy.limits.limit`, once for a configuration and not for each call."""

    owner: tuple[str, ...]
    """Whose it is: `("key", "web-app")`, `("target", "openai", "gpt-4o")`."""
    what: What
    most: int
    every: Every
    kind: Literal["rate", "slots", "budget"]
    unit: int
    """Which field of `Use` it counts."""
    name: str
    """Of its counter, which no other limit shares. It does not depend on `most`, so that what was counted stays counted
    when a limit is changed."""


class Standing(Struct, frozen=True):
    """How a limit stands."""

    limit: Limit
    used: int
    """More than `limit.most` where calls have used more than was expected of them."""
    remaining: int
    """Never below zero."""
    reset: float
    """Seconds until nothing counts as used any more, if nobody else comes. Zero for places: nobody knows."""


class Refused(Struct, frozen=True):
    """There was no room. Nothing has been consumed."""

    standing: Standing
    """Of the limit that refuses: the one with the longest wait, if there are several."""
    wait: float
    """Seconds after which the same would be granted, if nobody else came. Infinite: it never will.

    When a call under way ends, nobody knows: where that is what has to be waited for, it is `limits.SOON`.
    """


class Reservation(Struct, frozen=True):
    """What was granted to one call, until it is settled."""

    id: int
    limits: tuple[Limit, ...]
    use: Use
    at: int
    """Milliseconds since 1970, by the clock of the counters."""
    standings: tuple[Standing, ...] = ()
    """How its limits stood when it was granted, in their order, this call included."""


class Counters(Protocol):
    """Where limits are counted."""

    def start(self) -> None:
        """Begins its background work, in the running loop."""

    async def ready(self, within: float) -> None:
        """Waits until the counters are shared with other replicas, which mostly is so; `within` seconds at most."""

    async def reserve(self, limits: tuple[Limit, ...], use: Use) -> Reservation | Refused:
        """Takes what a call is expected to use from all of its limits, or nothing from any.

        Raises Overloaded where limits cannot be checked, and the configuration wants calls to be refused then. When it
        is cancelled, nothing stays reserved.
        """

    def settle(self, reservation: Reservation, used: Use) -> None:
        """Tells what was really used: the rest goes back, what was used beyond it is debited.

        Never waits, never raises. Once: what comes later for the same reservation changes nothing.
        """

    def preload(self, limit: Limit, spent: int) -> None:
        """A budget's current window has seen at least so much: known from the ledger, before calls are let in."""

    async def aclose(self) -> None:
        """Ends the background work. What is settled later is lost."""
