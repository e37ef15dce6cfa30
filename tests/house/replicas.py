"""Replicas as people run them: each a process of its own, all on one Valkey and one PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from gateway.simulator.server import Simulator
from tests.house.commands import ROOT
from tests.house.harness import PLAIN, QUESTION
from tests.house.postgres import Postgres
from tests.house.valkey import Valkey

PATIENCE = 40.0
"""Seconds after which a client, or a test, gives up: none of them is a claim."""

CONFIGURATION = "gateway.yaml"


@dataclass(frozen=True)
class Replica:
    """One gateway, and a client of it."""

    process: Process
    client: httpx.AsyncClient

    async def ask(self, key: str, **fields: Any) -> httpx.Response:
        """Makes a call with the key that the configuration names so."""
        body = {**QUESTION, **fields}
        return await self.client.post("/v1/chat/completions", json=body, headers=bearer(secret(key)))

    async def shows(self, metric: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels."""
        found = 0.0
        for line in (await self.client.get("/metrics")).text.splitlines():
            name, _, value = line.rpartition(" ")
            if (
                name.partition("{")[0] == metric
                and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', name)).items()
            ):
                found += float(value)
        return found

    async def kill(self) -> None:
        """It is gone at once, whatever it was doing."""
        self.process.kill()
        await self.process.wait()


@dataclass(frozen=True)
class World:
    """Replicas, what they share, and who serves them."""

    folder: Path
    valkey: Valkey
    postgres: Postgres
    database: str
    upstreams: dict[str, Simulator]
    replicas: tuple[Replica, ...]

    async def storm(self, key: str, calls: int, within: float = 0.5, **fields: Any) -> list[httpx.Response]:
        """So many clients, each of which comes at some moment to some replica."""
        chance = random.Random(calls)

        async def come(moment: float, replica: Replica) -> httpx.Response:
            await asyncio.sleep(moment)
            return await replica.ask(key, **fields)

        coming = [(chance.uniform(0, within), chance.choice(self.replicas)) for _ in range(calls)]
        return await asyncio.gather(*(come(*each) for each in coming))


@asynccontextmanager
async def world(folder: Path, valkey: Valkey, postgres: Postgres, text: str, *names: str) -> AsyncIterator[World]:
    """Three replicas with this configuration, before a simulated provider of each of these names."""
    upstreams = {name: Simulator() for name in names}
    database = postgres.new_database()
    async with AsyncExitStack() as stack:
        for each in upstreams.values():
            await stack.enter_async_context(each)
        providers = [
            f"  {name}: {{type: openai, base_url: '{each.url}', api_key: k}}" for name, each in upstreams.items()
        ]
        state = f"state: {{redis: '{valkey.url()}', database: '{database}'}}"
        head = [state, "server: {drain: 1s}", "providers:", *providers]
        (folder / CONFIGURATION).write_text("\n".join(head) + text)
        replicas = await asyncio.gather(*(stack.enter_async_context(replica(folder)) for _ in range(3)))
        await all_show(replicas, "gateway_limits_shared", 1)
        yield World(folder, valkey, postgres, database, upstreams, tuple(replicas))


@asynccontextmanager
async def replica(folder: Path, *arguments: str) -> AsyncIterator[Replica]:
    """One more, on the configuration in this folder. It is killed in the end, if it runs still."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--config", CONFIGURATION, "--port", "0", *arguments),
        stdout=PIPE,
        limit=2**20,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            while (said := orjson.loads(await process.stdout.readline()))["event"] != "ready":
                pass
        reading = asyncio.get_running_loop().create_task(_read_on(process.stdout))
        url = f"http://{said['address']}"
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, verify=PLAIN) as client:
            yield Replica(process, client)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


async def _read_on(output: asyncio.StreamReader) -> None:
    """A process whose output nobody reads stands still in the end."""
    while await output.read(2**16):
        pass


async def eventually(holds: Callable[[], Awaitable[bool]], within: float = PATIENCE) -> None:
    """Waits until it does. Fails if it takes longer."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110  other processes set no event here
            await asyncio.sleep(0.02)


async def all_show(replicas: Iterable[Replica], metric: str, value: float, **labels: str) -> None:
    """Waits until every one does."""

    async def shown() -> bool:
        return {await each.shows(metric, **labels) for each in replicas} == {value}

    await eventually(shown)


def secret(key: str) -> str:
    """What its client sends."""
    return f"a-key-of-the-replicas-{key}"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
