"""
Asking twice: when a stream is slower to begin than nearly all before it, another target is asked as well.

Whoever says something first is heard, the other is cancelled (Dean and Barroso, "The Tail at Scale", 2013: hedged
requests). It costs input tokens at two providers, so it is off unless the configuration allows a share of the streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from gateway.core.errors import Failure, GatewayError, UpstreamError
from gateway.engine.entry import Entry, Tried
from gateway.engine.visit import Client, Visit
from gateway.routing.candidates import is_busy
from gateway.routing.plan import Attempt, Plan

Try = Callable[[Visit, Attempt], Coroutine[Any, Any, None]]

OUTPACED = "outpaced"
"""The outcome of an attempt that another one was quicker than."""


async def race(visit: Visit, attempt: Attempt, plan: Plan, try_once: Try) -> None:
    """One attempt, and a second one beside it if the first is slow. Raises the last UpstreamError if none succeeds."""
    board = visit.house.board
    health = board.of(attempt.target)
    slow = health.slow()
    board.streamed(attempt.model, twice=False)
    if slow is None or health.ejected_until:  # a probe must begin before anyone else looks at the target
        return await try_once(visit, attempt)
    heat = _Heat(visit, try_once)
    heat.start(attempt)
    try:
        if not await heat.has_news(slow) and (second := _second(visit, attempt, plan)) is not None:
            board.streamed(attempt.model, twice=True)
            heat.start(second)
        return await heat.finish()
    finally:
        await heat.cancel()


def _second(visit: Visit, attempt: Attempt, plan: Plan) -> Attempt | None:
    """Where the call would go if the first target had failed by being too slow; None where it would have to wait."""
    board = visit.house.board
    if visit.client.gone or not attempt.others or not board.may_hedge(attempt.model):
        return None
    with suppress(StopIteration):
        second = plan.send(UpstreamError(Failure.FIRST_TOKEN_TIMEOUT, "slow to begin"))
        if not second.delay and not second.again and not is_busy(second.target, board.of(second.target)):
            return second
    return None


class _Heat:
    """Attempts that run side by side. The first one that has something to say to the client wins."""

    def __init__(self, visit: Visit, try_once: Try) -> None:
        self._visit = visit
        self._try_once = try_once
        self._since = visit.clock()
        self._attempts: set[asyncio.Task[None]] = set()
        self._winner: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def start(self, attempt: Attempt) -> None:
        sheet = self._visit.entry.sheet()
        sheet.waited += self._visit.clock() - self._since
        own = replace(self._visit, client=_Runner(self, sheet, self._visit.client), entry=sheet)
        task = asyncio.get_running_loop().create_task(self._run(own, attempt))
        self._attempts.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._news.set()
        if not task.cancelled():
            task.exception()  # asyncio complains of those that nobody asks for, and `finish` goes with the winner

    async def has_news(self, within: float) -> bool:
        """Whether anything has been said, or has failed, after so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._news.wait()
        return self._news.is_set()

    async def claim(self, sheet: Entry) -> None:
        """The attempt that calls this wins, and returns when the others have ended. Cancels any that comes after it."""
        if self._winner is not None:
            raise asyncio.CancelledError
        self._winner = asyncio.current_task()
        await _end(task for task in self._attempts if task is not self._winner)
        self._visit.house.toll.adopt(self._visit.entry, sheet)
        self._news.set()

    def report(self, sheet: Entry) -> None:
        """The winner's answer is complete."""
        entry = self._visit.entry
        sheet.note("ok", self._visit.clock())
        self._visit.house.toll.adopt(entry, sheet)
        entry.tried += sheet.tried
        sheet.tried = []

    async def finish(self) -> None:
        """Waits for the winner's end, or for the last failure, and raises that."""
        failures: list[GatewayError] = []
        running = self._attempts
        while running:
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                if task is self._winner:
                    return task.result()
                failures += _failure(task)
        # One that the plan knows what to do after, if there is any.
        failures.sort(key=lambda failure: isinstance(failure, UpstreamError))
        raise failures[-1] if failures else asyncio.CancelledError

    async def cancel(self) -> None:
        """Ends whatever still runs."""
        await _end(self._attempts)

    async def _run(self, visit: Visit, attempt: Attempt) -> None:
        """One attempt. What it has to report goes into the call's entry as soon as it has ended."""
        try:
            await self._try_once(visit, attempt)
        finally:
            sheet, entry = visit.entry, self._visit.entry
            if entry.ended:
                pass  # it has been reported
            elif self._winner in (None, asyncio.current_task()):
                if self._winner is None:
                    entry.lose()
                self._visit.house.toll.adopt(entry, sheet)
                entry.tried += sheet.tried
                entry.lost += sheet.lost
            else:
                self._visit.house.toll.give_back(sheet)
                sheet.lose()
                entry.lost += sheet.lost
                entry.tried += [self._outpaced(tried, attempt) for tried in sheet.tried]

    def _outpaced(self, tried: Tried, attempt: Attempt) -> Tried:
        """An attempt that was cancelled as another was quicker. It took so long at least: the target is that slow."""
        if tried.outcome != "cancelled":
            return tried
        self._visit.house.board.of(attempt.target).spoke(self._visit.clock(), tried.ms / 1000)
        return replace(tried, outcome=OUTPACED)


def _failure(task: asyncio.Task[None]) -> list[GatewayError]:
    """How an attempt that has not won has failed. Raises what is no failure, but a defect."""
    error = None if task.cancelled() else task.exception()
    if error is None or isinstance(error, GatewayError):
        return [error] if error else []
    raise error


async def _end(attempts: Iterable[asyncio.Task[None]]) -> None:
    running = [task for task in attempts if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


class _Runner:
    """The client, as one of several attempts sees it: the first word claims it."""

    def __init__(self, heat: _Heat, sheet: Entry, client: Client) -> None:
        self._heat = heat
        self._sheet = sheet
        self._client = client
        self._heard = False

    @property
    def gone(self) -> bool:
        return self._client.gone

    async def write(self, data: bytes) -> None:
        await self._be_heard()
        await self._client.write(data)

    async def conclude(self) -> None:
        await self._be_heard()  # of an answer that came whole nothing was written yet
        self._heat.report(self._sheet)
        await self._client.conclude()

    async def finish(self) -> None:
        await self._client.finish()

    async def whole(self, body: bytes) -> None:
        await self._be_heard()
        await self._client.whole(body)

    async def _be_heard(self) -> None:
        if not self._heard:
            await self._heat.claim(self._sheet)
            self._heard = True
