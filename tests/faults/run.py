"""Plays many cells at once, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import uvloop

from tests.faults.cell import Pulse, Stage, play
from tests.faults.faults import Cell
from tests.faults.judge import differences

AT_ONCE = 16
"""Cells under way: most of their time is spent waiting."""

LONGEST = 60.0
"""Seconds after which a cell is given up. None has more than a few to wait, for its own sake."""

FAIR = 0.1
"""Seconds for which the event loop may stand still in a cell: some have limits of a few tenths. A cell that was not as
promised is played again where it stood still for longer."""

TRIALS = 3
"""How often one is played at most."""

Told = Callable[[Cell, list[str]], None]


def judged(cells: Iterable[Cell], told: Told = lambda cell, found: None) -> Mapping[Cell, list[str]]:
    """Plays these cells, and returns the differences in each. `told` hears of each cell when it is done.

    Raises AssertionError where tasks are left when all is closed.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_all(cells, told))


async def _all(cells: Iterable[Cell], told: Told) -> Mapping[Cell, list[str]]:
    stage, room, found = Stage(Pulse(), asyncio.Lock()), asyncio.Semaphore(AT_ONCE), dict[Cell, list[str]]()

    async def one(cell: Cell) -> None:
        async with room:
            found[cell] = await _judged(cell, stage)
        told(cell, found[cell])

    beating = asyncio.get_running_loop().create_task(stage.pulse.run())
    async with asyncio.TaskGroup() as group:
        for cell in cells:
            group.create_task(one(cell))
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks were left behind: {left}"
    return found


async def _judged(cell: Cell, stage: Stage) -> list[str]:
    try:
        async with asyncio.timeout(LONGEST):
            for _ in range(TRIALS):
                sight = await play(cell, stage)
                found = differences(cell, sight)
                if not found or sight.stood_still < FAIR:
                    break
            return found
    except Exception as error:
        return [f"it could not be played: {error!r}"]
