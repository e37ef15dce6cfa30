"""Work that is done again and again while the gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def again(
    every: float, work: Callable[[], Awaitable[None]], crashed: Callable[[str, BaseException], None]
) -> None:
    """Does it every so many seconds, until cancelled. A defect in one round is told of, and does not end the others:
    without them a revoked key would hold on, and nobody would know."""
    while True:
        await asyncio.sleep(every)
        try:
            await work()
        except Exception as error:
            crashed("", error)
