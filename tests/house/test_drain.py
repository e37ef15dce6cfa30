"""A gateway that is told to stop: what is under way may end, what cannot is told so, and all of it is in the books."""

from __future__ import annotations

import asyncio
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.core.record import Record
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.web.bounds import USUAL
from gateway.web.line import Line
from gateway.web.server import listen, running, server
from tests.accounting.kills import Books, name_of
from tests.accounting.process import serving
from tests.house.harness import config
from tests.house.scripted import until
from tests.house.test_hangup import SILENT, question
from tests.house.test_protocol import HELLO, Answer, Wire, _mirror, wire
from tests.house.test_serve import LONG
from tests.house.valkey import valkey

STALLS = Faults(stall_after=3)
SLOWLY = Faults(chunk_delay=0.15)
AT_ONCE = 1.0
"""Seconds for what takes a quarter of one, on a busy machine."""

HEAD = b"%b HTTP/1.1\r\nHost: x\r\n"
READY, LIVE = HEAD % b"GET /healthz/ready", HEAD % b"GET /healthz/live"
"""All of a head but its end."""


@dataclass(frozen=True)
class House:
    """A gateway before providers that answer, that stall, and that say nothing: the models m, stalls and silent."""

    process: Process
    port: int
    books: Books

    def stop(self) -> float:
        """Tells it to stop. Gives the time."""
        self.process.terminate()
        return asyncio.get_running_loop().time()

    async def ended(self, since: float) -> float:
        """The seconds it took to end, and well."""
        assert await asyncio.wait_for(self.process.wait(), 20) == 0
        return asyncio.get_running_loop().time() - since

    async def deaf(self) -> None:
        """Waits until it takes no new connections."""
        async with asyncio.timeout(5):
            while True:
                try:
                    async with wire(self.port):
                        await asyncio.sleep(0.01)
                except ConnectionRefusedError:
                    return

    def records(self) -> dict[str, Record]:
        """By the client's name of the call. Fails if one is there twice."""
        records = self.books.records()
        named = {name_of(record): record for record in records}
        assert len(named) == len(records)
        return named


@asynccontextmanager
async def house(folder: Path, *, drain: str, faults: Faults = SLOWLY, redis: str = "") -> AsyncIterator[House]:
    """One gateway, or two workers that share a Redis."""
    books = Books(folder)
    file = folder / "gateway.yaml"
    async with Simulator(faults) as upstream, Simulator(STALLS) as stalls, Simulator(SILENT) as silent:
        more = (f"{name}: {{targets: [{{provider: p{n}, model: u}}]}}" for n, name in ((1, "stalls"), (2, "silent")))
        state = f"state: {{database: '{books.url}'{redis and f', redis: {redis!r}'}}}"
        text = config(upstream.url, stalls.url, silent.url, extra=f"{state}\nserver: {{drain: {drain}}}\n")
        file.write_text(text.replace("models:\n", "models:\n" + "".join(f"  {each}\n" for each in more)))
        async with serving(file, workers=2 if redis else 1) as (process, url):
            yield House(process, int(url.rpartition(":")[2]), books)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        await until(lambda: stalls.open_connections + silent.open_connections == 0)


def named(name: str, **fields: object) -> bytes:
    """A request whose record can be found by this name."""
    return question(**fields).replace(b"\r\n", b"\r\nx-request-id: %b\r\n" % name.encode(), 1)


async def streamed(house: House, name: str, begun: list[str], model: str = "stalls") -> bytes:
    """What comes of a stream after its first word, up to the end that HTTP has for it."""
    async with wire(house.port) as client:
        client.send(named(name, **{**LONG, "model": model, "stream": True}))
        await client.reader.readuntil(b'"content":"')
        begun.append(name)
        rest = await asyncio.wait_for(client.rest(), 20)
    assert rest.endswith(b"\r\n0\r\n\r\n")
    return rest


async def whole(house: House, name: str, model: str) -> Answer:
    async with wire(house.port) as client:
        client.send(named(name, model=model))
        answer = await client.answer()
        assert await client.rest() == b""
        return answer


def is_whole(rest: bytes) -> bool:
    return b"[DONE]" in rest and b'"error"' not in rest


def is_cut(rest: bytes) -> bool:
    """Whether it ends with an error that says why."""
    event = rest.split(b"data: ")[-1]
    return b"[DONE]" not in rest and b'"code":"server_shutting_down"' in event


async def test_of_300_streams_those_that_end_in_time_do_so_and_the_others_are_told(tmp_path: Path) -> None:
    begun: list[str] = []
    async with house(tmp_path, drain="3s") as gateway, asyncio.TaskGroup() as group:
        ending = [group.create_task(streamed(gateway, f"ends-{n}", begun, "m")) for n in range(200)]
        others = [group.create_task(streamed(gateway, f"stays-{n}", begun)) for n in range(100)]
        calls = [group.create_task(whole(gateway, f"silent-{n}", "silent")) for n in range(10)]
        await until(lambda: len(begun) == 300, 20)
        took = await gateway.ended(gateway.stop())
    assert 3 <= took < 6
    assert all(is_whole(task.result()) for task in ending)
    assert all(is_cut(task.result()) for task in others)
    for answer in (task.result() for task in calls):
        assert (answer.status, answer.error["code"]) == (503, "server_shutting_down")
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
    kept = gateway.records()
    assert len(kept) == 310
    assert {
        (name.partition("-")[0], record.status, record.outcome, record.usage_source) for name, record in kept.items()
    } == {
        ("ends", 200, "ok", "reported"),
        ("stays", 200, "truncated", "estimated"),
        ("silent", 503, "limited", "none"),
    }


async def test_with_nothing_to_wait_for_it_ends_at_once_and_closes_what_is_idle(tmp_path: Path) -> None:
    async with house(tmp_path, drain="30s") as gateway, wire(gateway.port) as idle, wire(gateway.port) as new:
        idle.send(named("idle"))
        assert "connection" not in (await idle.answer()).headers
        since = gateway.stop()
        assert await idle.rest() == await new.rest() == b""
        assert await gateway.ended(since) < AT_ONCE
    assert gateway.records().keys() == {"idle"}


async def test_what_had_begun_to_be_asked_is_answered_as_the_last_on_its_connection(tmp_path: Path) -> None:
    async with (
        house(tmp_path, drain="30s", faults=Faults()) as gateway,
        wire(gateway.port) as ready,
        wire(gateway.port) as live,
        wire(gateway.port) as head,
        wire(gateway.port) as body,
        wire(gateway.port) as busy,
    ):
        ready.send(READY)
        live.send(LIVE)
        asked, also = named("half-a-head"), named("half-a-body")
        head.send(asked[:50])
        body.send(also[:-5])
        busy.send(named("busy", stream=True))
        assert (await busy.answer()).status == 200
        busy.send(LIVE)
        await asyncio.sleep(0.05)  # all of it has been read
        gateway.stop()
        await gateway.deaf()
        for client, rest, status in (
            (ready, b"\r\n", 503),
            (live, b"\r\n", 200),
            (head, asked[50:], 200),
            (body, also[-5:], 200),
        ):
            client.send(rest)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert await client.rest() == b""
        busy.send(b"\r\n" + LIVE + b"\r\n")
        assert (await busy.answer()).headers["connection"] == "close"
        assert await busy.rest() == b""
    assert gateway.records().keys() == {"half-a-head", "half-a-body", "busy"}


async def ask_without_end(connection: Wire) -> Answer:
    """Sends on and on, and longer than until it is told to stop."""
    connection.send(named("endless").replace(b"Content-Length: ", b"Content-Length: 1000"))
    answer = asyncio.get_running_loop().create_task(connection.answer())
    while not answer.done():
        connection.send(b" ")
        await asyncio.sleep(0.01)
    for _ in range(20):
        connection.send(b" ")
        await asyncio.sleep(0.01)
    return answer.result()


async def test_who_does_not_finish_asking_is_told_at_the_end_of_the_drain(tmp_path: Path) -> None:
    async with (
        house(tmp_path, drain="500ms") as gateway,
        wire(gateway.port) as page,
        wire(gateway.port) as call,
        wire(gateway.port) as sending,
        asyncio.TaskGroup() as group,
    ):
        endless = group.create_task(ask_without_end(sending))
        page.send(READY)
        call.send(named("half")[:-5])
        await asyncio.sleep(0.05)  # all of it has been read
        since = gateway.stop()
        for client in (page, call):
            answer = await client.answer()
            assert (answer.status, answer.error["code"]) == (503, "server_shutting_down")
            assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
            assert await client.rest() == b""
        assert (await endless).status == 503
        assert await sending.rest() == b""
        assert await gateway.ended(since) < 4
    assert {name: record.status for name, record in gateway.records().items()} == {"half": 503, "endless": 503}


async def test_a_second_signal_waits_for_nobody_but_for_the_books(tmp_path: Path) -> None:
    begun: list[str] = []
    async with house(tmp_path, drain="30s") as gateway, asyncio.TaskGroup() as group:
        streams = [group.create_task(streamed(gateway, f"stays-{n}", begun)) for n in range(20)]
        await until(lambda: len(begun) == 20, 20)
        gateway.process.send_signal(signal.SIGINT)
        await gateway.deaf()
        assert not any(task.done() for task in streams)
        assert await gateway.ended(gateway.stop()) < 2 * AT_ONCE
    assert all(is_cut(task.result()) for task in streams)
    assert {record.outcome for record in gateway.records().values()} == {"truncated"}
    assert len(gateway.records()) == 20


async def test_the_streams_of_all_workers_are_told(tmp_path: Path) -> None:
    begun: list[str] = []
    with valkey() as redis:
        async with house(tmp_path, drain="1s", redis=redis.url()) as gateway, asyncio.TaskGroup() as group:
            streams = [group.create_task(streamed(gateway, f"stays-{n}", begun)) for n in range(30)]
            await until(lambda: len(begun) == 30, 20)
            assert 1 <= await gateway.ended(gateway.stop()) < 6
    assert all(is_cut(task.result()) for task in streams)
    assert {record.outcome for record in gateway.records().values()} == {"truncated"}
    assert len(gateway.records()) == 30


async def test_a_client_that_takes_nothing_of_its_stream_does_not_hold_up_the_end() -> None:
    blocked, clock, said = asyncio.Event(), asyncio.get_running_loop().time, []

    async def flood(line: Line) -> None:
        line.begin(200, b"")
        try:
            while True:
                line.send(b"x" * 65536)
                if line.full:
                    blocked.set()
                    await line.drained()
        except asyncio.CancelledError:
            line.send(b"the last words")
            await line.drained()
            said.append("all")

    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(running(_mirror, lambda method, url: flood, drain=0.2))
        async with wire(port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(HELLO)
            await asyncio.wait_for(blocked.wait(), 5)
            since = clock()
            await stack.aclose()
            assert clock() - since < 4
    assert said == ["all"]


async def test_who_has_connected_is_answered_even_if_nobody_had_time_for_it_before_the_end() -> None:
    listening = listen("127.0.0.1", 0)
    serving = server(_mirror, drain=1, bounds=USUAL)
    task = asyncio.get_running_loop().create_task(serving.serve(sockets=[listening]))
    await until(lambda: serving.started)
    # What does not wait for the loop leaves it no time to take them.
    clients = [socket.create_connection(listening.getsockname(), timeout=5) for _ in range(20)]
    for client in clients:
        client.sendall(HELLO)
    await serving.shutdown([listening])
    task.cancel()
    await asyncio.wait([task])
    for client in clients:
        with client:
            answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in answer
