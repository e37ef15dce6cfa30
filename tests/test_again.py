"""Work that is done again and again."""

from __future__ import annotations

import asyncio

from gateway.app.again import again


async def test_a_defect_in_one_round_is_told_of_and_does_not_end_the_others() -> None:
    rounds, told, enough = 0, list[BaseException](), asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("of this round")
        enough.set()

    running = asyncio.get_running_loop().create_task(again(0, work, lambda id, error: told.append(error)))
    async with asyncio.timeout(5):
        await enough.wait()
    running.cancel()
    await asyncio.wait([running])
    assert [str(error) for error in told] == ["of this round"]
    assert running.cancelled()
