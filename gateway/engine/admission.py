"""
The gates before the targets: at each no more calls at once than it may have, the others in a short queue.

A queue smooths what comes in bursts. It cannot help against too much: so it is short, nobody stands in it for long, and
who finds no room hears so while there is time to go elsewhere.

Places are counted in one number, `Health.in_flight`, whoever raises it. When a call leaves, its place goes to the next
in the queue within the same turn of the loop, by raising that number again: so nobody who comes in between sees it
free. The one that was woken gives this reservation back in the moment it goes on, and its attempt begins at once.
Hence the rule on which all else stands: *while somebody waits, there is no room*.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.core.call import Target
from gateway.core.errors import Overloaded
from gateway.policy.fair import FairQueue
from gateway.ports import Clock
from gateway.routing.board import MOST, Board
from gateway.routing.health import Health

LONGEST_WAIT = 5.0
"""Seconds in a queue. Who is refused after that still has time to be served elsewhere, or by a second try."""

SHORTEST_QUEUE, LONGEST_QUEUE = 4, 1000
"""Within these bounds, as many may wait as may be served, so that each waits about as long as one call takes. With less
than four, a target that takes one call at a time could not take a burst; a thousand hold enough bodies in memory."""

UNKNOWN_STAY = 1.0
"""Seconds that a call is taken to last where none has ended yet."""

SMOOTHING = 0.2
"""How much of the newest call is in the average of how long they last."""

SOONEST, LATEST = 0.1, 60.0
"""Seconds after which another try may be proposed. Less is a busy loop, more is not for SDKs to wait."""

FULL = "its queue is full"
LATE = "none became free in time"

Place = asyncio.Future[str | None]
"""What a call in the queue waits for: None, and a place is reserved for it; a reason, and it is refused."""


class Gates:
    """The way in to all targets, for as long as the gateway runs.

    For each attempt, in this order, with no `await` but those that stand here:

        await gates.enter(target, key, deadline)
        probe = board.begin(target, again=...)
        await ...  # the attempt
        board.end(target, probe=probe)
        gates.left(target)
    """

    def __init__(self, board: Board, clock: Clock, longest_wait: float = LONGEST_WAIT) -> None:
        self._board = board
        self._clock = clock
        self._longest_wait = longest_wait
        self._gates: dict[tuple[str, str], _Gate] = {}

    @property
    def waiting(self) -> int:
        """Calls that stand in a queue."""
        return sum(len(queue) for gate in self._gates.values() for queue in gate.queues.values())

    async def enter(self, target: Target, key: str, deadline: float) -> None:
        """Returns when there is room at the target: at once where there is any. The attempt must begin right then.

        Raises Overloaded when the queue is full, or when the turn of this call has not come after `longest_wait`
        seconds, or at its deadline; then it has not entered, and must not leave.
        """
        if target.concurrent is None:
            return
        gate, health = self._gate(target), self._board.of(target)
        if health.in_flight >= target.concurrent:
            await gate.turn(target.concurrent, key, health, min(self._longest_wait, deadline - self._clock()))
        gate.entered(self._clock())

    def left(self, target: Target) -> None:
        """An attempt at the target has ended, and is no longer counted there: whoever has room now is woken."""
        gate = self._gates.get((target.provider, target.model))
        if gate is None:
            return
        if target.concurrent is not None:
            gate.left(self._clock())
        if gate.queues:
            gate.wake(self._board.of(target))

    def _gate(self, target: Target) -> _Gate:
        gate = self._gates.get((target.provider, target.model))
        if gate is None:
            if len(self._gates) >= MOST:  # a pattern of public names has as many targets as clients have ideas
                self._gates = {place: gate for place, gate in self._gates.items() if gate.in_use}
            gate = self._gates[target.provider, target.model] = _Gate()
        return gate


class _Gate:
    """One target's. Models may give it different limits: each has a queue of its own."""

    __slots__ = ("_arrivals", "_stay", "queues")

    def __init__(self) -> None:
        self.queues: dict[int, FairQueue[Place]] = {}
        """By limit. None is empty."""
        self._arrivals: deque[float] = deque()
        """When those came that are here."""
        self._stay = 0.0
        """Seconds for which calls were here on average; zero: none has left yet."""

    @property
    def in_use(self) -> bool:
        return bool(self._arrivals or self.queues)

    def entered(self, now: float) -> None:
        self._arrivals.append(now)

    def left(self, now: float) -> None:
        # It may have been another that came first, but on average that is all the same.
        stay = now - self._arrivals.popleft()
        self._stay += SMOOTHING * (stay - self._stay) if self._stay else stay

    async def turn(self, limit: int, key: str, health: Health, patience: float) -> None:
        """Waits for a place in the queue of those with this limit. Raises Overloaded."""
        place = self._queue_up(limit, key)
        timer = place.get_loop().call_later(max(0.0, patience), _refuse, place, LATE)
        try:
            refused = await place
        except BaseException:
            if _is_reserved(place):  # it was cancelled after it had been woken
                health.in_flight -= 1
                self.wake(health)
            raise
        finally:
            timer.cancel()
            self._step_out(limit, key, place)
        if refused is not None:
            raise self._overloaded(limit, refused)
        health.in_flight -= 1

    def wake(self, health: Health) -> None:
        """Gives every place that is free to the next in turn.

        Those with the lowest limit come first: what they leave is open to the others, but not the other way round.
        """
        for limit in sorted(self.queues):
            queue = self.queues[limit]
            while queue and health.in_flight < limit:
                place = queue.pop()
                if not place.done():  # else it was cancelled or refused, and is about to step out
                    health.in_flight += 1
                    place.set_result(None)
            if not queue:
                del self.queues[limit]

    def _queue_up(self, limit: int, key: str) -> Place:
        """A new place, at the end of the key's line."""
        queue = self.queues.get(limit)
        if queue is None:
            queue = self.queues[limit] = FairQueue(max(SHORTEST_QUEUE, min(limit, LONGEST_QUEUE)))
        place = asyncio.get_running_loop().create_future()
        crowded_out = queue.put(key, place)
        if crowded_out is place:
            raise self._overloaded(limit, FULL)
        if crowded_out is not None:
            _refuse(crowded_out, FULL)
        return place

    def _step_out(self, limit: int, key: str, place: Place) -> None:
        queue = self.queues.get(limit)
        if queue is not None:
            queue.discard(key, place)
            if not queue:
                del self.queues[limit]

    def _overloaded(self, limit: int, why: str) -> Overloaded:
        """When those who wait have been served, there is room for one more."""
        error = Overloaded(f"All places for calls to this model are taken ({limit}), and {why}; try again later.")
        ahead = len(self.queues.get(limit, ()))
        seconds = (ahead + 1) * (self._stay or UNKNOWN_STAY) / limit
        error.retry_after = max(SOONEST, min(seconds, LATEST))
        return error


def _refuse(place: Place, why: str) -> None:
    if not place.done():
        place.set_result(why)


def _is_reserved(place: Place) -> bool:
    return place.done() and not place.cancelled() and place.result() is None
