"""Plays one cell of the matrix on real sockets: its own gateway, its own providers, one call. Judges nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.call import Json
from gateway.engine.entry import Entry
from gateway.simulator.faults import Faults, override
from gateway.simulator.server import Simulator
from tests.faults import plays
from tests.faults.expected import ILL, WELL, Phase
from tests.faults.faults import STREAM, Cell
from tests.house.harness import KEY, Running, gateway
from tests.house.scripted import until

WORDS = "one two three four five six seven eight"

SAID: Mapping[str, str] = {ILL: f"You said: {WORDS}", WELL: f"You told: {WORDS}"}
"""The answer of each provider."""

OTHER: Mapping[str, str] = {"openai": "anthropic", "anthropic": "gemini", "bedrock": "anthropic", "gemini": "openai"}
"""The type of the second provider: another one, so that a failover is one between two grammars."""

ADDRESS: Mapping[str, str] = {"bedrock": "region: us-east-1, endpoint_url"}
CREDENTIAL: Mapping[str, str] = {"bedrock": "access_key_id: AKIAX, secret_access_key"}
"""How a provider is configured where it is not as with most: `base_url` and `api_key`."""

TIMES: Mapping[bool, Mapping[str, int]] = {
    False: {"connect": 3000, "first_token": 3000, "idle": 3000, "total": 4500},
    True: {"connect": 350, "first_token": 500, "idle": 600, "total": 1600},
}
"""Limits in milliseconds; the second row is for faults that time decides. `total` is in both below the five seconds for
which a target is left alone that is full and does not say for how long, so that no call waits for it."""

SOON = 2.0
"""Seconds in which what a call leaves behind has to be gone."""


@dataclass(frozen=True, slots=True)
class Sight:
    """All that was seen of one call."""

    status: int
    headers: Mapping[str, str]
    body: str
    asked: Mapping[str, int]
    """Requests that came to each provider, as it counted them itself."""
    entries: tuple[Entry, ...]
    late: float
    """Seconds by which the call outlived its deadline, without those in which the event loop stood still."""
    left: tuple[str, ...]
    """What it left behind."""
    log: str
    stood_still: float = 0.0
    """The longest time in seconds for which the event loop stood still during the call."""


class Pulse:
    """How late the event loop is: with many cells on few cores, that is not the gateway's fault."""

    BEAT = 0.005

    def __init__(self) -> None:
        self._lates: deque[tuple[float, float]] = deque(maxlen=10_000)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            due = time.monotonic() + self.BEAT
            await asyncio.sleep(self.BEAT)
            self._lates.append((due, time.monotonic() - due))

    def late(self, since: float, until: float) -> float:
        """Seconds that were lost between two points in time."""
        return sum(self._between(since, until))

    def stood_still(self, since: float, until: float) -> float:
        """The longest time that was lost at once."""
        return max(self._between(since, until), default=0.0)

    def _between(self, since: float, until: float) -> Iterator[float]:
        return (late for due, late in self._lates if due + late > since and due < until)


class Stage(NamedTuple):
    """What the cells that are played at once share."""

    pulse: Pulse
    opening: asyncio.Lock
    """A gateway and its client read certificates and formats, which holds up the loop: one at a time is enough."""


async def play(cell: Cell, stage: Stage) -> Sight:
    """Makes the call, and returns what was seen of it."""
    async with AsyncExitStack() as stack:
        ill, well = Simulator(type=cell.type), Simulator(type=OTHER[cell.type], play=plays.other_words)
        ill.grammar = plays.quoting(ill.grammar)
        for simulator in (ill, well):
            await stack.enter_async_context(simulator)
        origin = await stack.enter_async_context(PLACES[cell.fault.place](ill))
        urls = {ILL: origin + ill.grammar.base, WELL: well.url}
        async with stage.opening:
            running = await stack.enter_async_context(gateway(config(cell, urls)))
        await _warm_up(running, cell)
        before = ill.received
        _spoil(ill, cell)
        async with _mended(ill, cell):
            answer = await running.client.post("/v1/chat/completions", json=question(cell))
        left = tuple([name async for name in _left(running, ill, well)])
    entries = tuple(running.entries[-1:] if cell.fault.phase is Phase.STALE else running.entries)
    return Sight(
        status=answer.status_code,
        headers=answer.headers,
        body=answer.text,
        asked={ILL: ill.received - before, WELL: well.received},
        entries=entries,
        late=_late(cell, entries, stage.pulse),
        left=left,
        log=running.log.decode(),
        stood_still=max((stage.pulse.stood_still(each.started, each.ended) for each in entries), default=0.0),
    )


def config(cell: Cell, urls: Mapping[str, str]) -> str:
    """One model, with the first provider as its target, and the second one too if there is company.

    The key has a high priority, so that on a busy machine no call is sent away before it meets its fault.
    """
    names = (ILL, WELL) if cell.company else (ILL,)
    types = {ILL: cell.type, WELL: OTHER[cell.type]}
    secrets = {ILL: plays.SECRET, WELL: "another-secret"}
    rows = "\n".join(f"  {name}: {_provider(types[name], urls[name], secrets[name])}" for name in names)
    targets = ", ".join(f"{{provider: {name}, model: {name}-model}}" for name in names)
    times = ", ".join(f"{name}: {limit}ms" for name, limit in _times(cell).items())
    return f"""
providers:
{rows}
models:
  m: {{strategy: ordered, targets: [{targets}], timeouts: {{{times}}}, retries: {{attempts: 3}}}}
keys: [{{name: tester, key: {KEY}, priority: high}}]
"""


def _provider(type: str, url: str, secret: str) -> str:
    address, credential = ADDRESS.get(type, "base_url"), CREDENTIAL.get(type, "api_key")
    return f"{{type: {type}, {address}: '{url}', {credential}: {secret}}}"


def question(cell: Cell) -> Json:
    """What the client asks."""
    return {"model": "m", "messages": [{"role": "user", "content": WORDS}], "stream": cell.mode == STREAM}


def _spoil(ill: Simulator, cell: Cell) -> None:
    ill.faults, ill.play = override(Faults(), cell.fault.simulate), cell.fault.play


async def _warm_up(running: Running, cell: Cell) -> None:
    """A first call leaves a connection behind, which a second one uses again."""
    if cell.fault.phase is Phase.STALE:
        (await running.client.post("/v1/chat/completions", json=question(cell))).raise_for_status()


@asynccontextmanager
async def _mended(ill: Simulator, cell: Cell) -> AsyncIterator[None]:
    """The provider is well again after one request, if its trouble is one that passes."""
    if cell.fault.phase not in (Phase.ONCE, Phase.STALE):
        yield
        return
    before = ill.received

    async def mend() -> None:
        await ill.until(lambda: ill.received > before)
        ill.faults, ill.play = Faults(), None

    async with asyncio.TaskGroup() as group:
        mending = group.create_task(mend())
        yield
        mending.cancel()


async def _left(running: Running, ill: Simulator, well: Simulator) -> AsyncIterator[str]:
    """Waits for what has to be over soon, and tells what is not."""
    ends: Mapping[str, Callable[[], bool]] = {
        "a call without its entry": lambda: bool(running.entries),
        "a call in the house": lambda: running.gateway.live.house.visitors == 0,
        "an answer under way at the first provider": lambda: ill.busy == 0,
        "an answer under way at the second provider": lambda: well.busy == 0,
    }
    for name, over in ends.items():
        try:
            await until(over, SOON)
        except TimeoutError:
            yield name


def _late(cell: Cell, entries: tuple[Entry, ...], pulse: Pulse) -> float:
    if not entries:
        return 0.0
    ended = entries[0].ended
    deadline = entries[0].started + _times(cell)["total"] / 1000
    return ended - deadline - pulse.late(deadline, ended)


# Where the configuration says that the first provider is


def _times(cell: Cell) -> Mapping[str, int]:
    """Milliseconds. A name server may take its time to know nothing: the resolver asks again after 5 s."""
    if cell.fault.place == "nameless":
        return {"connect": 12_000, "first_token": 15_000, "idle": 3000, "total": 40_000}
    return TIMES[cell.fault.hasty]


@asynccontextmanager
async def _there(ill: Simulator) -> AsyncIterator[str]:
    yield ill.origin


@asynccontextmanager
async def _nameless(ill: Simulator) -> AsyncIterator[str]:
    yield "http://nowhere.invalid"  # RFC 6761 section 6.4: no name server knows it


@asynccontextmanager
async def _tls(ill: Simulator) -> AsyncIterator[str]:
    yield ill.origin.replace("http:", "https:")


@asynccontextmanager
async def _refusing(ill: Simulator) -> AsyncIterator[str]:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def _blackhole(ill: Simulator) -> AsyncIterator[str]:
    """A server that accepts nobody, and whose queue is full: the kernel answers no further connection."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(server.getsockname())
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            for each in waiting:
                each.close()


PLACES: Mapping[str, Callable[[Simulator], AbstractAsyncContextManager[str]]] = {
    "there": _there,
    "nameless": _nameless,
    "tls": _tls,
    "refusing": _refusing,
    "blackhole": _blackhole,
}
