"""`gateway serve --workers N`: several processes that are one gateway, and a supervisor that keeps them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import httpx
import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.web.server import bind
from tests.accounting.kills import Books, ask, name_of
from tests.house.commands import command
from tests.house.harness import KEY, PLAIN, QUESTION, config
from tests.house.scripted import until
from tests.house.test_serve import LONG
from tests.house.valkey import Valkey, valkey

WITHIN = 15.0
"""Seconds for what takes one or two."""

FEW = "a-key-that-may-call-five-times"
LIMITED = f"  - {{name: few, key: {FEW}, priority: high, limits: {{requests_per_minute: 5}}}}\n"


DEPARTED_AND_LIVING = {"departed.json", "worker-1.json", "worker-3.json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


@dataclass
class Workers:
    """A supervisor with its workers, and what they have logged."""

    process: Process
    place: Path
    """Where it makes its folder."""
    said: list[Json] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """What its workers share."""
        (folder,) = self.place.glob("gateway-*")
        return folder

    def events(self, *names: str) -> list[Json]:
        return [each for each in self.said if each["event"] in names]

    @property
    def pids(self) -> list[int]:
        """Of the workers, the dead ones included, the oldest first."""
        return [each["pid"] for each in self.events("worker_started", "worker_restarted")]

    def client(self, key: str = KEY) -> httpx.AsyncClient:
        """One connection, and so one worker."""
        url = f"http://{self.events('ready')[0]['address']}"
        return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=WITHIN, verify=PLAIN)

    async def status(self, key: str = KEY) -> int:
        """Makes a call on a connection of its own."""
        async with self.client(key) as client:
            return (await client.post("/v1/chat/completions", json=QUESTION)).status_code

    async def refused(self) -> None:
        """Waits until nobody takes connections any more."""
        host, _, port = self.events("ready")[0]["address"].rpartition(":")
        async with asyncio.timeout(WITHIN):
            with suppress(ConnectionRefusedError):
                while True:
                    with suppress(ConnectionResetError):  # it was taken as the last one
                        _, writer = await asyncio.open_connection(host, port)
                        writer.close()
                    await asyncio.sleep(0.01)

    async def calls(self) -> float:
        """How many there were, as one worker tells it."""
        async with self.client() as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("gateway_requests_total{"))

    async def all_count(self, calls: int) -> None:
        """Waits until it is the same whoever is asked."""
        async with asyncio.timeout(WITHIN):
            while {await self.calls() for _ in range(8)} != {calls}:
                pass

    async def ready(self, workers: int) -> None:
        await until(lambda: len(self.events("ready")) >= workers, WITHIN)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(orjson.loads(line) if line.startswith(b"{") else {"event": line.decode()})


@asynccontextmanager
async def workers(file: Path, count: int = 2) -> AsyncIterator[Workers]:
    """So many, on any port. None is left at the end."""
    environment = {**os.environ, "TMPDIR": str(file.parent)}
    command = (sys.executable, "-m", "gateway", "serve", "--port", "0", "--config", str(file), "--workers", str(count))
    running = Workers(await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment), file.parent)
    listening = asyncio.get_running_loop().create_task(running.listen())
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            running.process.kill()
        await running.process.wait()
        await until(lambda: not any(map(is_alive, running.pids)), WITHIN)
        await listening


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def write(file: Path, text: str) -> None:
    file.write_text(text)


def shared(file: Path, upstream: Simulator, server: Valkey, *, api_key: str = "sk-0") -> None:
    """Writes a configuration with limits that all workers share, and a ledger."""
    server.command("FLUSHALL")
    state = f"state: {{redis: '{server.url()}', database: '{Books(file.parent).url}'}}"
    text = config(upstream.url, extra=f"{LIMITED}{state}\nserver: {{drain: 30s}}\n")
    write(file, text.replace("sk-0", api_key))


async def test_several_workers_without_redis_are_refused_in_words_that_say_what_to_write(file: Path) -> None:
    write(file, config("http://127.0.0.1:9"))
    for where in (("--config", str(file)), ()):
        refused = await command(file.parent, "serve", "--port", "0", "--workers", "2", *where)
        assert refused.status == 2
        assert "state: {redis: redis://" in refused.err


async def test_several_workers_share_calls_and_count_limits_and_metrics_as_one(file: Path, server: Valkey) -> None:
    async with Simulator() as upstream:
        shared(file, upstream, server)
        async with workers(file) as running:
            await running.ready(2)
            assert await asyncio.gather(*(running.status() for _ in range(30))) == [200] * 30
            # All at once: one after the other might take so long on a slow machine that there is room again.
            statuses = await asyncio.gather(*(running.status(FEW) for _ in range(12)))
            assert sorted(statuses) == [200] * 5 + [429] * 7
            await running.all_count(42)
            running.process.send_signal(signal.SIGHUP)  # kills nobody
            folder = running.folder
            assert folder.stat().st_mode & 0o777 == 0o700
            totals = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("worker-*.json"))]
            shares = [sum(count for _, count in total["gateway_requests"]) for total in totals]
            assert (len(shares), sum(shares)) == (2, 42)
            assert min(shares) > 0
            running.process.terminate()
            assert await running.process.wait() == 0
            assert not folder.exists()
    assert (len(running.pids), running.events("worker_died")) == (2, [])
    assert len(Books(file.parent).records()) == 42


async def test_a_worker_that_is_killed_is_replaced_and_no_call_fails_nor_is_one_forgotten(
    file: Path, server: Valkey
) -> None:
    async with Simulator() as upstream:
        shared(file, upstream, server)
        async with workers(file) as running:
            await running.ready(2)
            calls = 20
            assert {await running.status() for _ in range(calls)} == {200}
            await running.all_count(calls)
            os.kill(running.pids[1], signal.SIGKILL)
            await until(lambda: bool(running.events("worker_died")), WITHIN)
            while len(running.events("ready")) < 3:
                assert await running.status() == 200
                calls += 1
                assert 20 <= await running.calls() <= calls
            await running.all_count(calls)
            (died,) = running.events("worker_died")
            (restarted,) = running.events("worker_restarted")
            assert (died["pid"], died["how"]) == (running.pids[1], "signal 9 (Killed)")
            assert died["worker"] == restarted["worker"] == 2
            assert {path.name for path in running.folder.glob("*.json")} == DEPARTED_AND_LIVING
            running.process.terminate()
            assert await running.process.wait() == 0
    assert len(Books(file.parent).records()) == calls


async def streaming(running: Workers, count: int, begun: Callable[[], bool]) -> list[asyncio.Task[bool]]:
    """Streams, each on a connection of its own, which have begun."""

    async def one(number: int) -> bool:
        async with running.client() as client:
            return await ask(client, f"stream-{number}", **LONG, stream=True)

    tasks = [asyncio.get_running_loop().create_task(one(number)) for number in range(count)]
    await until(begun, WITHIN)
    return tasks


async def test_who_is_told_to_stop_lets_the_streams_of_all_workers_end(file: Path, server: Valkey) -> None:
    async with Simulator(Faults(chunk_delay=0.02)) as upstream:
        shared(file, upstream, server)
        async with workers(file) as running:
            await running.ready(2)
            streams = await streaming(running, 12, lambda: upstream.received == 12)
            for pid in (*running.pids, running.process.pid):  # as service managers do
                os.kill(pid, signal.SIGTERM)
            await running.refused()
            assert await asyncio.gather(*streams) == [True] * 12
            assert await running.process.wait() == 0
    kept = {name_of(record): record.outcome for record in Books(file.parent).records()}
    assert {kept[f"stream-{number}"] for number in range(12)} == {"ok"}


async def test_an_address_that_others_share_is_not_taken_to_be_ours(file: Path, server: Valkey) -> None:
    async with Simulator() as upstream:
        shared(file, upstream, server)
        with bind("127.0.0.1", 0, shared=True) as others:
            others.listen()
            port = str(others.getsockname()[1])
            refused = await command(file.parent, "serve", "--config", str(file), "--port", port, "--workers", "2")
    assert (refused.status, "cannot listen" in refused.err) == (1, True)


async def test_a_second_signal_does_not_wait_for_calls(file: Path, server: Valkey) -> None:
    async with Simulator(Faults(stall_after=3)) as upstream:
        shared(file, upstream, server)
        async with workers(file) as running:
            await running.ready(2)
            streams = await streaming(running, 4, lambda: upstream.received == 4)
            running.process.send_signal(signal.SIGINT)
            await running.refused()
            assert running.process.returncode is None
            running.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(running.process.wait(), WITHIN) == 0
            assert True not in await asyncio.gather(*streams, return_exceptions=True)


async def test_workers_end_when_their_supervisor_is_killed(file: Path, server: Valkey) -> None:
    async with Simulator() as upstream:
        shared(file, upstream, server)
        async with workers(file) as running:
            await running.ready(2)
            running.process.kill()
            await until(lambda: not any(map(is_alive, running.pids)), WITHIN)
            await until(lambda: len(running.events("stopped")) == 2)


async def test_a_worker_that_cannot_start_ends_the_gateway_with_what_it_has_to_say(file: Path, server: Valkey) -> None:
    secret = file.parent / "secret"
    os.mkfifo(secret)

    def once() -> None:
        """The supervisor can read the secret, and nobody after it."""
        with secret.open("w") as written:
            secret.unlink()
            written.write("sk-secret")

    async with Simulator() as upstream:
        shared(file, upstream, server, api_key=f"'file:{secret}'")
        Thread(target=once, daemon=True).start()
        async with workers(file) as running:
            assert await asyncio.wait_for(running.process.wait(), WITHIN) == 1
    (died,) = running.events("worker_died")
    assert died["how"] == "exit status 1"
    assert any(str(secret) in each["event"] for each in running.said)
