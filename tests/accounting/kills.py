"""Gateways as processes of their own, which are stopped or killed while clients call them, and what is left of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import httpx

from gateway.core.record import Record
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.accounting.audit import everything
from tests.accounting.process import PATIENCE, serving
from tests.house.harness import KEY, PLAIN, QUESTION, config
from tests.house.scripted import until
from tests.stores.books import added_up, opened, told

CLIENTS = 8
LONGEST_LIFE = 1.0
"""Seconds after the first answer."""

Answered = set[str]
"""What clients called the calls whose answer they saw complete."""


class Books:
    """A configuration with a database."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "ledger.db"
        self.url = f"sqlite:///{self.database}"
        self._file = folder / "gateway.yaml"

    @property
    def journal(self) -> Path:
        return Path(f"{self.database}.journal")

    def written(self, upstream: Simulator, *, providers: str = "", models: str = "") -> Path:
        """The configuration, in its file: the model `m`, and what is written here beside it."""
        extra = f"state: {{database: '{self.url}'}}\nserver: {{drain: 1s}}\n"
        text = config(upstream.url, extra=extra)
        text = text.replace("providers:\n", f"providers:\n{providers}").replace("models:\n", f"models:\n{models}")
        self._file.write_text(text)
        return self._file

    def records(self) -> list[Record]:
        """All of them, after it is known that the sums are theirs."""
        ledger = opened(self.url)
        records = everything(ledger)
        assert told(ledger.usage("key")) == added_up(records, lambda record: record.key)
        assert len({record.id for record in records}) == len(records)
        return records

    def names(self) -> set[str]:
        """What clients called their calls."""
        return {name_of(record) for record in self.records()}


def name_of(record: Record) -> str:
    """What its client called a call."""
    return record.id.partition(":")[0]


def client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=PATIENCE, verify=PLAIN)


async def ask(gateway: httpx.AsyncClient, name: str, **fields: object) -> bool:
    """Makes a call, and says whether its answer is complete."""
    body = {**QUESTION, **fields}
    answer = await gateway.post("/v1/chat/completions", json=body, headers={"x-request-id": name})
    return answer.status_code == 200 and (not fields.get("stream") or answer.content.endswith(b"[DONE]\n\n"))


async def call_until_killed(url: str, numbers: Iterator[int], answered: Answered) -> None:
    """One client, which calls until there is nobody to answer."""
    with suppress(httpx.TransportError):
        async with client(url) as calling:
            for number in numbers:
                if await ask(calling, f"call-{number}", stream=number % 2 == 0):
                    answered.add(f"call-{number}")


async def one_life(configuration: Path, numbers: Iterator[int], answered: Answered, seconds: float) -> None:
    """A gateway that is killed amid its calls, so long after it has answered the first."""
    async with serving(configuration) as (process, url), asyncio.TaskGroup() as group:
        before = len(answered)
        for _ in range(CLIENTS):
            group.create_task(call_until_killed(url, numbers, answered))
        await until(lambda: len(answered) > before, PATIENCE)
        await asyncio.sleep(seconds)
        process.kill()


async def kept_through(lives: int, books: Books) -> tuple[Answered, set[str]]:
    """Kills so many gateways one after the other. Which calls were answered, and which the last one's ledger has."""
    chance, numbers, answered = random.Random(), count(1), Answered()
    async with Simulator(Faults(chunk_delay=0.001)) as upstream:
        configuration = books.written(upstream)
        for _ in range(lives):
            await one_life(configuration, numbers, answered, chance.uniform(0.0, LONGEST_LIFE))
        async with serving(configuration) as (process, url):
            async with client(url) as calling:
                await until_carried(calling)
            process.terminate()
            assert await process.wait() == 0
    return answered, books.names()


async def backlog(gateway: httpx.AsyncClient) -> int:
    lines = (await gateway.get("/metrics")).text.splitlines()
    return round(sum(float(line.split()[1]) for line in lines if line.startswith("gateway_ledger_backlog ")))


async def until_carried(gateway: httpx.AsyncClient) -> None:
    """Waits until a call that is made now, and with it all that came before, is in the database."""
    await ask(gateway, "the-last")
    async with asyncio.timeout(PATIENCE):
        while await backlog(gateway):
            pass  # the question takes its time
