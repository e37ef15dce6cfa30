"""
Counters that all replicas share, in Redis or Valkey: exact, by one script on the server's clock.

While the server is away, or takes too long, each replica counts for itself (`Apart`): its share of every limit, or
nothing at all, as the configuration wants it. When it is back, it is told what has happened meanwhile as far as that
still matters: what was spent of budgets, what was used of rates just now, and which calls are under way.

What is told more than once does no harm but for rates, which are therefore told at most once: if nobody knows whether
the server has heard it, it is lost, and time makes up for that within a minute. See `counters.lua`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from importlib.resources import files
from itertools import chain, count, islice
from math import ceil, inf
from random import uniform
from secrets import token_hex
from time import monotonic
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from gateway.core.errors import Overloaded
from gateway.core.secret import Secret
from gateway.policy.limits import DEEPEST, NOTHING, bounded, standing
from gateway.ports import Limit, Refused, Reservation, Use
from gateway.store.apart import Apart
from gateway.store.redis_link import CLOSING, FIRST_PAUSE, Failed, Link
from gateway.store.redis_pipe import Answered, Pipe
from gateway.store.tallies import Tallies, Tally

SCRIPT = files("gateway.store").joinpath("counters.lua").read_text()

PREFIX = "gateway:{limits}:1:"
"""Of every key. The number is that of their layout: replicas of another share the server and nothing else. The braces
keep all keys in one slot, where a server wants that of the keys of one script."""

ALIVE = f"{PREFIX}alive"

ANSWER_WITHIN = 0.05
"""Seconds. A server that takes longer is taken to be away: no call waits longer for it."""

LEASE = 30.0
"""Seconds for which a call holds what it has reserved, if its replica dies. Those that go on are renewed in a third of
that, so that two renewals may be lost."""

PULSE = 1.0
"""Seconds between two signs of life, at most."""

LONGEST_PAUSE = 2.0
"""Seconds between two tries to reach the server at most."""

UNTOLD = 10_000
"""Reservations that may wait to be told that they are over. Others end with their lease."""


BATCH = 100
"""Calls that are told of at once: some milliseconds of the server's time."""

Away = Literal["share", "closed"]
"""What holds while the server is away: each replica's share of every limit, or that no call is let in."""

Row = tuple[str | int, ...]


class RedisCounters:
    """Counters that replicas share. Implements `gateway.ports.Counters`.

    `now` is the time in milliseconds since 1970, for as long as the server's is not to be had. `failed` counts what
    went wrong with the server by kind, `shared` is told when counting becomes shared and when it is no more, `event` is
    the log. `patience` with an answer, and the `lease` of what a call holds, are in seconds. `script` may be another
    edition of the same, whose clock is not the server's.

    Raises ValueError if the URL is none.
    """

    def __init__(
        self,
        url: Secret,
        *,
        now: Callable[[], int],
        away: Away,
        failed: Failed,
        shared: Callable[[bool], None],
        event: Callable[..., None],
        patience: float = ANSWER_WITHIN,
        lease: float = LEASE,
        script: str = SCRIPT,
    ) -> None:
        self._link = Link(url, failed, event, "limits_not_shared", "limits_shared")
        self._now = now
        self._closed = away == "closed"
        self._shared = shared
        self._patience = patience
        self._lease = lease
        self._script = script
        self._name = token_hex(8)
        self._ids = count(1)
        self._open: dict[int, _Open] = {}
        self._untold: deque[Reservation] = deque(maxlen=UNTOLD)
        self._tallies = Tallies()
        self._replicas = 1
        self._pipe: Pipe | None = None
        """None: everyone counts alone."""
        self._apart = Apart(now)
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # What calls need

    async def reserve(self, limits: tuple[Limit, ...], use: Use) -> Reservation | Refused:
        """Takes what a call is expected to use from all of its limits, or nothing from any.

        Waits for the server's answer, and so for `patience` at most. Raises Overloaded while the server is away, where
        calls are refused then.
        """
        asked = Reservation(next(self._ids), limits, bounded(use), self._now())
        if not limits:
            return asked
        if self._pipe is None:
            return self._reserve_apart(asked)
        answer = asyncio.get_running_loop().create_future()
        self._call(self._pipe, "reserve", asked, limits, _reserved(asked), partial(self._answered, asked, answer))
        try:
            granted: Reservation | Refused | None = await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and isinstance(answer.result(), Reservation):
                self.settle(answer.result(), NOTHING)
            raise
        return granted or self._reserve_apart(asked)

    def settle(self, reservation: Reservation, used: Use) -> None:
        """Tells what was really used, soon. What is no number leaves what was reserved."""
        held = self._open.pop(reservation.id, None)
        if held is None:
            return
        used = bounded(used, reservation.use)
        for limit in reservation.limits:
            if limit.kind == "budget":
                self._tallies.spend(limit, used[limit.unit], reservation.at)
        self._apart.settle(reservation, used)
        if self._pipe is not None:
            self._settle(self._pipe, reservation, reservation.limits, used)
        elif held.leased is not None:
            self._untold.append(reservation)

    def preload(self, limit: Limit, spent: int) -> None:
        """A budget's current window has seen at least so much."""
        now, spent = self._now(), max(0, min(spent, DEEPEST))
        self._tallies.heard(limit, spent, now)
        self._apart.preload(limit, spent)
        if self._pipe is not None:
            self._preload(self._pipe, limit, spent, now)

    def _reserve_apart(self, asked: Reservation) -> Reservation | Refused:
        if self._closed:
            refusal = Overloaded("The gateway cannot check its limits just now; try again soon.")
            refusal.retry_after = LONGEST_PAUSE
            raise refusal
        asked = replace(asked, id=next(self._ids))  # its lease may yet be told to be over
        stands = self._apart.reserve(asked)
        if isinstance(stands, Refused):
            return stands
        granted = replace(asked, standings=stands)
        self._open[asked.id] = _Open(granted, None)
        return granted

    def _answered(self, asked: Reservation, waiting: asyncio.Future[Any], answer: Any) -> None:
        if answer is None:  # the server may yet have granted it
            self._untold.append(replace(asked, limits=_held(asked.limits)))
            verdict = None
        else:
            verdict = self._read(asked, answer)
        if not waiting.done():
            waiting.set_result(verdict)
        elif isinstance(verdict, Reservation):
            self.settle(verdict, NOTHING)

    def _read(self, asked: Reservation, answer: Any) -> Reservation | Refused:
        """What the script says of a reservation. Raises ValueError or AttributeError for what it does not say."""
        refusing, wait, at, *numbers = map(int, answer.split())
        stands = []
        for limit, used, reset, spent in zip(asked.limits, numbers[::3], numbers[1::3], numbers[2::3], strict=True):
            stands.append(standing(limit, used, reset))
            if limit.kind == "budget":
                self._tallies.heard(limit, spent, at)
        if refusing:
            return Refused(stands[refusing - 1], inf if wait < 0 else wait / 1000)
        reservation = replace(asked, at=at, standings=tuple(stands))
        self._open[asked.id] = _Open(reservation, asyncio.get_running_loop().time())
        return reservation

    # What the server is told

    def _call(
        self,
        pipe: Pipe,
        action: str,
        reservation: Reservation,
        limits: tuple[Limit, ...],
        rows: Iterable[Row],
        answered: Answered = lambda answer: None,
    ) -> None:
        keys = [f"{PREFIX}{limit.name}{end}" for limit in limits for end in ("", ":held")]
        lease = f"{self._name}:{reservation.id}"
        head = (action, self._name, lease, reservation.at, ceil(self._lease * 1000))
        pipe.call(keys, (*head, *chain.from_iterable(rows)), answered)

    def _settle(self, pipe: Pipe, reservation: Reservation, limits: tuple[Limit, ...], used: Use) -> None:
        owns = []
        rows = []
        for limit in limits:
            row = (limit.kind, limit.most, limit.every, reservation.use[limit.unit])
            tally = self._tallies.at(limit, reservation.at) if limit.kind == "budget" else None
            if tally is None:
                rows.append((*row, used[limit.unit], 0))
            else:
                rows.append((*row, tally.own, tally.confirmed))
                owns.append((limit, tally.own))
        self._call(pipe, "settle", reservation, limits, rows, partial(self._settled, reservation, owns))

    def _settled(self, reservation: Reservation, owns: list[tuple[Limit, int]], answer: Any) -> None:
        if answer is None:
            self._untold.append(reservation)
            return
        for limit, own in owns:
            self._tallies.confirm(limit, own, reservation.at)

    def _remember(self, pipe: Pipe, tally: Tally) -> None:
        """What we have spent of a budget, and what all have as far as we know, which the server may have forgotten."""
        limit = tally.limit
        nothing = Reservation(0, (limit,), NOTHING, tally.start)
        row = (limit.kind, limit.most, limit.every, 0, tally.own, tally.confirmed, tally.known)
        self._call(pipe, "remember", nothing, (limit,), (row,), partial(self._settled, nothing, [(limit, tally.own)]))

    def _preload(self, pipe: Pipe, limit: Limit, spent: int, at: int) -> None:
        row = (limit.kind, limit.most, limit.every, spent)
        self._call(pipe, "preload", Reservation(0, (limit,), NOTHING, at), (limit,), (row,))

    def _renew(self, pipe: Pipe, held: _Open) -> None:
        reservation = held.reservation
        self._open[reservation.id] = held._replace(leased=asyncio.get_running_loop().time())
        if limits := _held(reservation.limits):
            rows = _reserved(replace(reservation, limits=limits))
            self._call(pipe, "renew", reservation, limits, rows)

    async def _pulse(self, pipe: Pipe) -> None:
        """Gives a sign of life, and waits until everything before it has been answered."""
        answer = asyncio.get_running_loop().create_future()
        pipe.call((ALIVE,), ("pulse", self._name, "", 0, 0), partial(_tell, answer))
        self._replicas = max(1, int(await answer))

    # One connection after the other

    def start(self) -> None:
        """Begins to look for the server, in the running loop; to be called once."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    async def ready(self, within: float) -> None:
        """Waits until counting is shared; `within` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ready.wait()

    async def aclose(self) -> None:
        """Tells what there still is to tell, and then nothing more."""
        if self._pipe is not None:
            answer = asyncio.get_running_loop().create_future()
            self._pipe.call((ALIVE,), ("leave", self._name, "", 0, 0), partial(_tell, answer))
            await asyncio.wait((answer,), timeout=CLOSING)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=2 * CLOSING)

    async def _keep_connected(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = monotonic()
            try:
                await self._visit()
            except* Exception as several:  # whatever answers there may answer anything
                self._link.missed(_first(several))
            pause = FIRST_PAUSE if monotonic() - began > 5 * LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(uniform(pause / 2, pause))  # noqa: S311

    async def _visit(self) -> None:
        """From connecting to losing the connection. Raises whatever ended it."""
        async with self._link.connection() as connection:
            pipe = Pipe(connection, self._script, self._patience)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(pipe.run())
                    both.create_task(self._keep_sharing(pipe))
            finally:
                self._part(pipe)

    async def _keep_sharing(self, pipe: Pipe) -> None:
        rates: Iterator[tuple[Limit, int]] = iter(())
        while True:
            await self._pulse(pipe)
            while self._tell_some(pipe):
                await self._pulse(pipe)
            if self._pipe is None:
                rates = self._join(pipe)
            for limit, used in islice(rates, BATCH):
                row = (limit.kind, limit.most, limit.every, 0, used, 0)
                self._call(pipe, "settle", Reservation(0, (limit,), NOTHING, self._now()), (limit,), (row,))
            await asyncio.sleep(min(PULSE, self._lease / 10))

    def _tell_some(self, pipe: Pipe) -> bool:
        """Tells of calls that are over or go on, and of what was spent. Whether there may be more to tell."""
        overdue = asyncio.get_running_loop().time() - self._lease / 3
        going_on = [held for held in self._open.values() if held.leased is None or held.leased < overdue][:BATCH]
        spent = [tally for tally in self._tallies.current(self._now()) if tally.told is None][:BATCH]
        over = [self._untold.popleft() for _ in range(min(BATCH, len(self._untold)))]
        for reservation in over:
            self._settle(pipe, reservation, _held(reservation.limits), NOTHING)
        for tally in spent:
            self._remember(pipe, tally)
        for held in going_on:
            self._renew(pipe, held)
        return max(len(going_on), len(spent), len(over)) == BATCH

    def _join(self, pipe: Pipe) -> Iterator[tuple[Limit, int]]:
        """From now on counting is shared. What has been used of rates just now is still to be told, once."""
        self._pipe = pipe
        self._ready.set()
        self._link.found()
        self._shared(True)
        return self._apart.rates()

    def _part(self, pipe: Pipe) -> None:
        """From now on everyone counts alone."""
        self._tallies.doubt()
        for id, held in self._open.items():
            if held.leased is not None:
                self._open[id] = held._replace(leased=-inf)
        if self._pipe is pipe:
            self._pipe = None
            self._shared(False)
            open_ = (held.reservation for held in self._open.values())
            self._apart.begin(self._replicas, open_, self._tallies.current(self._now()))
        pipe.abandon()


class _Open(NamedTuple):
    """A call under way."""

    reservation: Reservation
    leased: float | None
    """When the server was told of it last; None: it knows nothing of it."""


def _first(several: ExceptionGroup[Exception]) -> Exception:
    """What was wrong first. Groups of tasks stand within each other."""
    error: Exception = several
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _held(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Those of which a call holds something until it is over."""
    return tuple(limit for limit in limits if limit.kind != "rate")


def _reserved(reservation: Reservation) -> list[Row]:
    return [(limit.kind, limit.most, limit.every, reservation.use[limit.unit]) for limit in reservation.limits]


def _tell(waiting: asyncio.Future[Any], answer: Any) -> None:
    if not waiting.done():
        waiting.set_result(answer)
