"""Clients that take their time, with or without meaning harm: each holds a connection, of which there are so many."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.errors import NotServed
from gateway.simulator.server import Simulator
from gateway.web.bounds import Bounds
from gateway.web.line import Handler, Line
from gateway.web.protocol import CROWD, Calls
from gateway.web.server import no_calls, running
from tests.house.harness import config, gateway
from tests.house.scripted import until
from tests.house.test_hangup import question
from tests.house.test_protocol import CHUNKED, HELLO, Wire, _mirror, _mirrored_call, assert_refused, wire

SHORT = Bounds(head=0.5, body=0.5, idle=0.5, taking=0.5, connections=100)
"""Kept to within a second or two."""

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"
LARGE = b"x" * 10_000_000
"""More than the kernel keeps for a client that does not read."""


async def mirrored(line: Line) -> None:
    try:
        await _mirrored_call(line)
    except NotServed as error:
        line.answer(error.status, b"x-request-id: req_1\r\n", orjson.dumps(error.envelope()))


def all_calls(method: bytes, url: bytes) -> Handler:
    return mirrored


async def refused(sent: bytes, connection: Wire) -> None:
    """Nothing comes after this."""
    connection.send(sent)
    await assert_refused(connection, 408)


async def refused_behind_another(connection: Wire) -> None:
    connection.send(HELLO + HELLO[:20])
    assert (await connection.answer()).status == 200
    await assert_refused(connection, 408)


async def refused_byte_by_byte(connection: Wire) -> None:
    connection.send(HELLO[:-2])
    refusal = asyncio.get_running_loop().create_task(assert_refused(connection, 408))
    while not refusal.done():
        connection.send(b"x-y: z\r\n")
        await asyncio.sleep(0.1)
    await refusal


async def waited_for(connection: Wire) -> None:
    connection.send(POST)
    for byte in b"hello there":
        await asyncio.sleep(0.3)
        connection.send(bytes([byte]))
    assert (await connection.answer()).json["body"] == "hello there"


async def closed(connection: Wire, sent: bytes = b"") -> None:
    connection.send(sent)
    if sent:
        assert (await connection.answer()).status == 200
    assert await connection.rest() == b""


CLIENTS: Mapping[str, Callable[[Wire], Coroutine[Any, Any, None]]] = {
    "begins a head": partial(refused, HELLO[:-2]),
    "sends one byte": partial(refused, b"G"),
    "sends an empty line": partial(refused, b"\r\n"),
    "sends a head that does not end": refused_byte_by_byte,
    "begins a second head": refused_behind_another,
    "sends no body": partial(refused, POST),
    "sends half a body": partial(refused, POST + b"hello"),
    "sends no chunk": partial(refused, CHUNKED),
    "sends half a chunk": partial(refused, CHUNKED + b"5\r\nhel"),
    "does not end the chunks": partial(refused, CHUNKED + b"5\r\nhello\r\n"),
    "sends a body byte by byte": waited_for,
    "sends nothing": closed,
    "asks no more": partial(closed, sent=HELLO),
}


@pytest.mark.parametrize("calls", [no_calls, all_calls], ids=["page", "call"])
async def test_clients_are_waited_for_as_long_as_they_get_on_and_no_longer(calls: Calls) -> None:
    async def treated(client: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
        async with wire(port) as connection:
            await client(connection)

    async with running(_mirror, calls, bounds=SHORT) as port:
        came = await asyncio.gather(*map(treated, CLIENTS.values()), return_exceptions=True)
    assert dict(zip(CLIENTS, came, strict=True)) == dict.fromkeys(CLIENTS)


@asynccontextmanager
async def generous() -> AsyncIterator[tuple[Wire, list[bytes]]]:
    """A connection to a server of large answers, and what was asked there."""
    asked: list[bytes] = []

    async def give(line: Line) -> None:
        asked.append(line.path)
        line.answer(200, b"", LARGE)

    async with running(_mirror, lambda method, url: give, bounds=SHORT) as port, wire(port) as connection:
        connection.send(HELLO * 5)
        yield connection, asked


async def test_a_client_that_does_not_take_its_answer_gets_no_other_and_is_sent_away() -> None:
    async with generous() as (connection, asked), asyncio.timeout(10):
        await asyncio.sleep(3)
        with pytest.raises(asyncio.IncompleteReadError):
            await connection.answer()
    assert asked == [b"/hello"]


async def test_a_client_that_takes_its_answers_slowly_gets_them_all() -> None:
    async with generous() as (connection, asked), asyncio.timeout(20):
        for _ in range(5):
            await connection.reader.readuntil(b"\r\n\r\n")
            left = len(LARGE)
            while left:
                left -= len(await connection.reader.read(min(left, 100_000)))
                await asyncio.sleep(0.005)
    assert len(asked) == 5


async def test_above_the_bound_connections_are_refused_until_the_silent_ones_are_closed() -> None:
    async with running(_mirror, bounds=SHORT) as port:
        with ExitStack() as stack:

            def come(silent: int) -> None:
                for _ in range(silent):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))

            come(SHORT.connections)
            async with wire(port) as connection:
                answer = await connection.answer()
                assert (answer.status, answer.error["code"]) == (503, "overloaded")
                assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
            come(CROWD + 20)
            async with wire(port) as connection:  # there are too many even to be told so
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await connection.answer()
            async with asyncio.timeout(10):
                while not await is_served(port):
                    pass


async def is_served(port: int) -> bool:
    async with wire(port) as connection:
        connection.send(HELLO)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            return (await connection.answer()).status == 200
    return False


async def test_a_call_whose_body_is_late_is_in_the_log_as_what_its_client_was_told() -> None:
    async with Simulator() as upstream, gateway(config(upstream.url)) as house:
        app = house.gateway.app
        async with running(app, app.calls, bounds=SHORT) as port, wire(port) as connection:
            connection.send(question()[:-5])
            await assert_refused(connection, 408)
        await until(lambda: len(house.entries) == 1)
        (entry,) = house.entries
        assert (entry.status, entry.outcome) == (408, "client_error")
        assert upstream.received == 0


async def limited(limit: str, program: str, *arguments: str) -> asyncio.subprocess.Process:
    """Python with a limit of open files."""
    command = f'ulimit {limit} && exec "$@"'
    return await asyncio.create_subprocess_exec(
        *("sh", "-c", command, "sh", sys.executable, program, *arguments), stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("limit", "connections", "soft"), [("-n 456", 100, 456), ("-Sn 456", 150, 556), ("-Sn 600", 150, 600)]
)
async def test_there_is_a_file_for_each_connection_and_one_for_its_provider(
    limit: str, connections: int, soft: int
) -> None:
    asks = "import resource; from gateway.web.bounds import room; print(room(150), resource.getrlimit(7)[0])"
    process = await limited(limit, "-c", asks)
    told, _ = await process.communicate()
    assert told.split() == [b"%d" % connections, b"%d" % soft]


async def test_a_gateway_that_may_open_too_few_files_takes_as_many_clients_as_it_can_serve(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(config("http://127.0.0.1:9"))
    process = await limited("-n 276", "-m", "gateway", "serve", "--port", "0", "--config", str(file))
    assert process.stdout is not None
    try:
        ready = orjson.loads(await process.stdout.readline())
        assert (ready["event"], ready["connections"]) == ("ready", 10)
        async with AsyncExitStack() as stack:
            port = int(ready["address"].rpartition(":")[2])
            clients = [await stack.enter_async_context(wire(port)) for _ in range(11)]
            assert (await clients[-1].answer()).status == 503
            clients[0].send(b"GET /healthz/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await clients[0].answer()).status == 200
    finally:
        process.kill()
        await process.wait()
