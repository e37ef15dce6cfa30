"""The gates before the targets, in a real event loop: never too many at once, nobody kept waiting without need."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.call import Target
from gateway.core.errors import Overloaded
from gateway.engine.admission import LATEST, LONGEST_WAIT, SOONEST, Gates, _Gate
from gateway.routing.board import MOST, Board

LATER = 1e9
"""A deadline that nothing comes near to."""


def target(limit: int | None = 2) -> Target:
    return Target("p", "m", {}, concurrent=limit)


async def turns(count: int = 10) -> None:
    """Lets everything happen that can."""
    for _ in range(count):
        await asyncio.sleep(0)


@dataclass
class Call:
    """A call on its way: it waits at the gate, stays for as long as it is told to, and leaves."""

    target: Target
    key: str
    task: asyncio.Task[None] = field(init=False)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    inside: bool = False

    @property
    def waits(self) -> bool:
        return not self.inside and not self.task.done()


class Place:
    """A target, with the calls at its gate and behind it, on a clock that stands still unless it is set."""

    def __init__(self, longest_wait: float) -> None:
        self.now = 0.0
        self.calls: list[Call] = []
        self.order: list[str] = []
        """The keys of those who went in."""
        self.board = Board(lambda: self.now, lambda: 0.5)
        self.gates = Gates(self.board, lambda: self.now, longest_wait)

    @property
    def inside(self) -> int:
        return sum(call.inside for call in self.calls)

    @property
    def in_flight(self) -> int:
        return self.board.of(target()).in_flight

    def comes(self, key: str = "k", limit: int | None = 2, deadline: float = LATER) -> Call:
        call = Call(target(limit), key)
        call.task = asyncio.get_running_loop().create_task(self._visit(call, deadline))
        self.calls.append(call)
        return call

    async def _visit(self, call: Call, deadline: float) -> None:
        """As the engine does it."""
        await self.gates.enter(call.target, call.key, deadline)
        self._has_room(call.target.concurrent)
        probe = self.board.begin(call.target, again=False)
        call.inside = True
        self.order.append(call.key)
        try:
            await call.done.wait()
        finally:
            call.inside = False
            self.board.end(call.target, probe=probe)
            self.gates.left(call.target)

    def _has_room(self, limit: int | None) -> None:
        """Those with a higher limit do not count: they may have come since a place was reserved for this call."""
        if limit is not None:
            limits = [call.target.concurrent for call in self.calls if call.inside]
            assert sum(other is not None and other <= limit for other in limits) < limit

    async def is_full(self, limit: int = 2, waiting: int = 0, key: str = "k") -> None:
        """From now on so many are inside, and so many wait."""
        for _ in range(limit + waiting):
            self.comes(key, limit)
        await turns()
        assert (self.inside, sum(call.waits for call in self.calls)) == (limit, waiting)

    async def lasts(self, seconds: float, limit: int = 2) -> None:
        """So many calls that take so long."""
        calls = [self.comes(limit=limit) for _ in range(limit)]
        await turns()
        self.now += seconds
        for call in calls:
            call.done.set()
        await turns()

    async def empties(self) -> None:
        while going := [call for call in self.calls if not call.task.done()]:
            for call in going:
                call.done.set()
            await turns(2)
        ends = await asyncio.gather(*(call.task for call in self.calls), return_exceptions=True)
        assert [end for end in ends if not isinstance(end, Overloaded | asyncio.CancelledError | None)] == []


@asynccontextmanager
async def place(longest_wait: float = LONGEST_WAIT) -> AsyncIterator[Place]:
    """At the end everyone leaves, and nothing is left behind."""
    under_test = Place(longest_wait)
    yield under_test
    async with asyncio.timeout(10):
        await under_test.empties()
    assert under_test.in_flight == 0
    await under_test.gates.enter(target(1), "k", LATER)  # there is room


async def refusal(call: Call) -> Overloaded:
    async with asyncio.timeout(1):
        with pytest.raises(Overloaded) as refused:
            await call.task
    return refused.value


async def test_a_target_with_room_is_entered_without_giving_up_the_turn() -> None:
    async with place() as gate:
        for limit in (None, 1):
            with pytest.raises(StopIteration):
                gate.gates.enter(target(limit), "k", LATER).send(None)
        gate.gates.left(target(1))


async def test_a_call_waits_while_the_target_has_as_many_as_it_may_have() -> None:
    async with place() as gate:
        await gate.is_full(limit=2, waiting=3)
        gate.calls[0].done.set()
        await turns()
        assert [call.waits for call in gate.calls] == [False, False, False, True, True]


async def test_fifty_waiters_are_served_two_at_a_time_and_none_is_forgotten() -> None:
    async with place() as gate:
        for number in range(50):
            gate.comes(f"k{number % 7}", limit=50)
        await turns()
        assert gate.inside == 50
        waiters = [gate.comes(f"k{number % 7}", limit=50) for number in range(50)]
        await gate.empties()
        assert [call.task.exception() for call in waiters] == [None] * 50


async def test_keys_take_turns_at_a_gate() -> None:
    async with place() as gate:
        await gate.is_full(limit=1)
        for key in "aabb":
            gate.comes(key, limit=1)
        await turns()
        await gate.empties()
        assert "".join(gate.order) == "kabab"


async def test_nobody_overtakes_one_that_has_been_woken() -> None:
    async with place() as gate:
        await gate.is_full(limit=1)
        gate.comes("early", limit=1)
        await turns()
        gate.calls[0].done.set()
        await asyncio.sleep(0)  # it leaves, and wakes the next, who has not gone on yet
        late = gate.comes("late", limit=1)
        await turns()
        assert gate.order[-1] == "early"
        assert late.waits


async def test_the_place_of_one_that_is_cancelled_after_it_was_woken_goes_to_the_next() -> None:
    async with place() as gate:
        await gate.is_full(limit=1, waiting=2)
        first, woken, last = gate.calls
        first.done.set()
        await asyncio.sleep(0)
        assert gate.in_flight == 1
        woken.task.cancel()
        await turns()
        assert woken.task.cancelled()
        assert last.inside


async def test_a_place_is_not_given_to_one_that_has_just_been_cancelled() -> None:
    async with place() as gate:
        await gate.is_full(limit=1, waiting=2)
        first, gone, last = gate.calls
        first.done.set()
        gone.task.cancel()
        await turns()
        assert last.inside


async def test_a_call_that_waits_is_refused_at_its_deadline() -> None:
    async with place() as gate:
        await gate.is_full(limit=1)
        gate.now = 100.0
        hurried, patient = gate.comes(limit=1, deadline=100.02), gate.comes(limit=1)
        assert "none became free in time" in (await refusal(hurried)).message
        assert patient.waits


async def test_no_call_waits_for_longer_than_is_good() -> None:
    async with place(longest_wait=0.02) as gate:
        await gate.is_full(limit=1)
        assert "none became free in time" in (await refusal(gate.comes(limit=1))).message


async def test_a_queue_takes_as_many_as_the_target_and_at_least_four() -> None:
    async with place() as gate:
        await gate.is_full(limit=2, waiting=4)
        await refusal(gate.comes())
    async with place() as gate:
        await gate.is_full(limit=6, waiting=6)
        await refusal(gate.comes(limit=6))


async def test_a_key_that_fills_the_queue_makes_room_for_another() -> None:
    async with place() as gate:
        await gate.is_full(limit=2, waiting=4, key="greedy")
        modest = gate.comes("modest")
        await refusal(gate.calls[5])
        assert modest.waits


@pytest.mark.parametrize(("lasted", "told"), [(2.0, 5.0), (0.001, SOONEST), (500.0, LATEST)])
async def test_a_refusal_says_when_those_who_wait_will_have_been_served(lasted: float, told: float) -> None:
    async with place() as gate:
        await gate.lasts(lasted)
        await gate.is_full(limit=2, waiting=4)
        assert (await refusal(gate.comes())).retry_after == told


async def test_calls_are_taken_to_last_a_second_until_one_has_ended() -> None:
    async with place() as gate:
        await gate.is_full(limit=2, waiting=4)
        assert (await refusal(gate.comes())).retry_after == 2.5


async def test_a_refusal_says_what_is_full() -> None:
    async with place() as gate:
        await gate.is_full(limit=2, waiting=4)
        refused = await refusal(gate.comes())
        assert (refused.status, refused.code) == (503, "overloaded")
        assert (
            refused.message
            == "All places for calls to this model are taken (2), and its queue is full; try again later."
        )


async def test_each_call_keeps_to_the_limit_of_its_own_model() -> None:
    async with place() as gate:
        await gate.is_full(limit=3)
        narrow, wide = gate.comes(limit=1), gate.comes(limit=3)
        await turns()
        gate.calls[0].done.set()
        await turns()
        assert (narrow.waits, wide.inside) == (True, True)


async def test_a_call_without_a_limit_makes_room_when_it_ends() -> None:
    async with place() as gate:
        free = gate.comes(limit=None)
        await turns()
        bound = gate.comes(limit=1)
        await turns()
        assert bound.waits
        free.done.set()
        await turns()
        assert bound.inside


async def test_names_that_clients_make_up_do_not_fill_the_memory() -> None:
    async with place() as gate:
        await gate.is_full(limit=1, waiting=1)
        for number in range(MOST + 10):
            other = replace(target(1), model=f"m{number}")
            await gate.gates.enter(other, "k", LATER)
            gate.gates.left(other)
        assert sum(type(each) is _Gate for each in gc.get_objects()) <= MOST
        gate.calls[0].done.set()
        await turns()
        assert gate.calls[1].inside  # it was not forgotten


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["comes", "comes", "comes late", "ends", "is cancelled", "turn"]),
        st.integers(0, 60),
        st.integers(0, 2),
    ),
    min_size=20,
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, limits=st.sampled_from([(2, 2, 2), (1, 1, 1), (2, 4, 4), (1, 3, None)]))
async def test_whatever_ends_or_is_cancelled_when_nobody_waits_while_there_is_room(
    steps: list[Step], limits: tuple[int | None, ...]
) -> None:
    async with place() as gate:
        for what, which, kind in steps:
            going = [call for call in gate.calls if not call.task.done()]
            if what.startswith("comes"):
                gate.comes("abc"[which % 3], limits[kind], deadline=0.0 if what == "comes late" else LATER)
            elif what == "turn":
                await turns(1)
            elif going:
                call = going[which % len(going)]
                call.done.set() if what == "ends" else call.task.cancel()
        await turns()
        assert gate.in_flight == gate.inside
        assert gate.gates.waiting == sum(call.waits for call in gate.calls)
        for call in gate.calls:
            limit = call.target.concurrent
            assert not call.waits or (limit is not None and gate.inside >= limit)
