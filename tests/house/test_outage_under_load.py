"""Two providers behind one model, two hundred streams at a time, and now one provider dies, now the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from gateway.app.times import clock
from gateway.routing.health import Standing
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, Running, gateway
from tests.house.test_hangup import question, until
from tests.house.test_protocol import Answer, wire
from tests.house.test_serve import error_in, said

STREAMS = 200
PACE = Faults(chunk_delay=0.06)
"""A stream lasts for most of a second, so that whoever dies has about a hundred of them under way."""

TALK = [{"role": "user", "content": "one two three four five six"}]
WHOLE = "You said: one two three four five six"
MODELS = {"a": "gpt-4o-mini", "b": "claude-haiku-4-5"}
"""By provider."""


@dataclass
class Crowd:
    """Clients that each begin another stream as soon as one has ended, and what came of those."""

    running: Running
    size: int
    served: Counter[str] = field(default_factory=Counter)
    """By provider: streams that came whole."""
    broken: Counter[str] = field(default_factory=Counter)
    """By provider: streams that ended as an error, after they had begun."""
    wrong: list[str] = field(default_factory=list)
    """Everything else."""
    leaving: bool = False

    async def client(self, number: int) -> None:
        await asyncio.sleep(number / self.size)  # spread over a second, as they are in the world
        async with wire(self.running.port) as connection:
            while not self.leaving:
                connection.send(question(stream=True, messages=TALK))
                self._judge(await connection.answer())

    def _judge(self, answer: Answer) -> None:
        stream, by = answer.body.decode(), answer.headers.get("x-gateway-provider", "")
        if answer.status != 200 or models(stream) != {MODELS[by]}:
            self.wrong.append(f"{answer.status} {stream[-300:]}")
        elif stream.endswith("data: [DONE]\n\n") and said(stream) == WHOLE:
            self.served[by] += 1
        elif "[DONE]" not in stream and error_in(stream) and said(stream) and WHOLE.startswith(said(stream)):
            self.broken[by] += 1
        else:
            self.wrong.append(stream)


def models(stream: str) -> set[str]:
    """Whose words a stream holds. An error is nobody's."""
    events = [orjson.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    return {event["model"] for event in events if "error" not in event}


@asynccontextmanager
async def crowd(running: Running, streams: int = STREAMS) -> AsyncIterator[Crowd]:
    """The clients, who at the end let their last streams come to an end."""
    clients = Crowd(running, streams)
    tasks = [asyncio.get_running_loop().create_task(clients.client(number)) for number in range(streams)]
    try:
        yield clients
    finally:
        clients.leaving = True
        await asyncio.gather(*tasks)


def configuration(a: Simulator, b: Simulator) -> str:
    """The key's calls are not shed: on a busy machine the loop may be late, and that is not what is asked here."""
    return f"""
providers:
  a: {{type: openai, base_url: '{a.url}', api_key: sk-a}}
  b: {{type: anthropic, base_url: '{b.url}', api_key: sk-b}}
models:
  m:
    strategy: weighted
    targets:
      - {{provider: a, model: {MODELS["a"]}, weight: 1}}
      - {{provider: b, model: {MODELS["b"]}, weight: 1}}
    breaker: {{failures: 5, window: 5s, ejection: 300ms, max_ejection: 600ms}}
keys:
  - {{name: tester, key: {KEY}, priority: high}}
"""


async def test_no_client_hears_of_an_outage_unless_its_stream_was_under_way_there() -> None:
    a, b = Simulator(PACE, coalesce=0), Simulator(PACE, coalesce=0, type="anthropic")
    async with a, b, gateway(configuration(a, b)) as running:
        before = asyncio.all_tasks()
        async with crowd(running) as clients:
            await until(lambda: clients.served["a"] > 100 and clients.served["b"] > 100, within=10)
            for dying, name in ((a, "a"), (b, "b"), (a, "a")):
                await outage(dying, name, clients)
        assert clients.wrong == []
        assert_recorded(running, clients)
        await until(lambda: not asyncio.all_tasks() - before)
        assert [health.in_flight for health in running.gateway.board.known().values()] == [0, 0]


async def outage(dying: Simulator, name: str, clients: Crowd) -> None:
    """The provider's connections are cut and its port is closed; after a while it comes back, and is asked again."""
    health = clients.running.gateway.board.known()[name, MODELS[name]]
    other = "b" if name == "a" else "a"
    broken, carried = dict(clients.broken), clients.served[other]
    await dying.aclose()
    await until(lambda: health.standing(clock()) is Standing.EJECTED)
    await until(lambda: clients.served[other] > carried + STREAMS)
    assert clients.broken[name] > broken.get(name, 0)
    assert clients.broken[other] == broken.get(other, 0)
    await dying.start(dying.port)
    served = clients.served[name]
    await until(lambda: clients.served[name] > served + 100)


def assert_recorded(running: Running, clients: Crowd) -> None:
    """Each call has one entry, which says what its client saw."""
    outcomes = Counter((entry.provider, entry.outcome) for entry in running.entries)
    seen = {(name, "ok"): clients.served[name] for name in MODELS}
    seen |= {(name, "truncated"): clients.broken[name] for name in MODELS}
    assert outcomes == seen
    assert sum(clients.broken.values()) <= 3 * STREAMS
    assert len({entry.id for entry in running.entries}) == len(running.entries)
    assert all(entry.status == 200 and entry.committed for entry in running.entries)
