"""The server's connection, spoken to byte by byte, with an application behind it that tells what it received."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from gateway.core.call import Json
from gateway.web.bounds import Bounds
from gateway.web.line import Handler, Line
from gateway.web.protocol import MAX_WAITING, Calls, new_request_id
from gateway.web.refusals import MAX_HEAD, MAX_HEADERS
from gateway.web.server import no_calls, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE = 5.0
"""Seconds after which an answer that has not come is taken for a hang."""

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, as it came off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> Json:
        """What went wrong. Fails the test unless the answer is in the envelope."""
        error: Json = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"]
        return error


@dataclass(frozen=True, slots=True)
class Wire:
    """A client's connection that says what it is told to, right or wrong."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def send_slowly(self, data: bytes, size: int) -> None:
        """In pieces of this many bytes, each received by itself."""
        for start in range(0, len(data), size):
            self.writer.write(data[start : start + size])
            await asyncio.sleep(0)

    async def answer(self) -> Answer:
        """The next answer, whole. Raises TimeoutError, and IncompleteReadError where the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head[:-4].decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return Answer(int(status.split(" ")[1]), headers, await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def rest(self) -> bytes:
        """All that still comes before the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A connection to a server on this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def all_calls(method: bytes, url: bytes) -> Handler:
    return _mirrored_call


def posts_are_calls(method: bytes, url: bytes) -> Handler | None:
    return _mirrored_call if method == b"POST" else None


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[no_calls, all_calls, posts_are_calls])
async def mirror(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a server that answers each request with what it has received, on each of its two ways."""
    calls: Calls = request.param
    async with running(_mirror, calls) as port:
        yield port


@pytest_asyncio.fixture(loop_scope="module")
async def connection(mirror: int) -> AsyncIterator[Wire]:
    async with wire(mirror) as connection:
        yield connection


async def _mirror(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    told = orjson.dumps({"path": scope["path"], "headers": headers, "body": body.decode("latin-1")})
    length = (b"content-length", b"%d" % len(told))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": told, "more_body": False})


async def _mirrored_call(line: Line) -> None:
    body = await line.body(2**20)
    headers = {name.decode(): value.decode("latin-1") for name, value in line.headers}
    told = {"path": line.path.decode(), "headers": headers, "body": body.decode("latin-1")}
    line.answer(200, b"", orjson.dumps(told))


def head_of(size: int) -> bytes:
    """A request whose target and headers have this many bytes."""
    return b"GET /hello HTTP/1.1\r\nHost: x\r\nPadding: %b\r\n\r\n" % (b"x" * (size - len("/helloHostxPadding")))


async def assert_refused(connection: Wire, status: int) -> None:
    """In the envelope, with an id to ask after, and nothing follows."""
    answer = await connection.answer()
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["connection"] == "close"
    assert await connection.rest() == b""


# How large a head may be


@pytest.mark.parametrize("piece", [MAX_HEAD * 2, 1000])
async def test_a_head_of_the_greatest_size_is_served(connection: Wire, piece: int) -> None:
    for _ in range(2):
        await connection.send_slowly(head_of(MAX_HEAD), piece)
        assert (await connection.answer()).status == 200


@pytest.mark.parametrize("piece", [MAX_HEAD * 2, 1000])
async def test_one_byte_more_is_too_large(connection: Wire, piece: int) -> None:
    await connection.send_slowly(head_of(MAX_HEAD + 1), piece)
    await assert_refused(connection, 431)


async def test_as_many_headers_as_allowed_are_served_and_one_more_is_not(connection: Wire) -> None:
    headers = b"".join(b"H%d: x\r\n" % number for number in range(MAX_HEADERS - 1))
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
    assert len((await connection.answer()).json["headers"]) == MAX_HEADERS
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"One-More: x\r\n\r\n")
    await assert_refused(connection, 431)


ENDLESS = {
    "target": b"GET /",
    "header name": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "header value": b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ",
    "trailer": CHUNKED + b"0\r\nTrailer: ",
    "chunk extension": CHUNKED + b"1;",
}


@pytest.mark.parametrize("place", ENDLESS)
async def test_what_never_ends_is_cut_off(connection: Wire, place: str) -> None:
    connection.send(ENDLESS[place])
    await connection.send_slowly(b"x" * 4 * MAX_HEAD, 4096)
    await assert_refused(connection, 431)


async def test_a_refusal_reaches_a_client_that_is_still_sending(connection: Wire) -> None:
    connection.send(b"GET / HTTP/1.1\r\nCookie: " + b"x" * 4_000_000)
    await assert_refused(connection, 431)


async def test_a_large_body_before_a_head_is_not_counted_as_part_of_it(connection: Wire) -> None:
    upload = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (3 * MAX_HEAD) + b"x" * 3 * MAX_HEAD
    connection.send(upload + HELLO[:-10])
    assert len((await connection.answer()).json["body"]) == 3 * MAX_HEAD
    connection.send(HELLO[-10:])
    assert (await connection.answer()).json["path"] == "/hello"


# What is not HTTP

UNREADABLE = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no such method": b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http 0.9": b"GET /hello\r\n\r\n",
    "http 2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no such version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "nul in the target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "unencoded target": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
    "proxying": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\nHost: x\n\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": CHUNKED[:-2] + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + CHUNKED[-30:] + b"0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "length with a sign": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
    "length beyond 64 bits": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "unknown coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding after chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "bad chunk size": CHUNKED + b"zz\r\n",
    "negative chunk size": CHUNKED + b"-1\r\n",
    "huge chunk size": CHUNKED + b"fffffffffffffffff\r\n",
    "chunk longer than told": CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_what_cannot_be_read_is_refused_in_the_envelope(connection: Wire, what: str) -> None:
    connection.send(UNREADABLE[what])
    await assert_refused(connection, 400)


async def test_garbage_behind_a_request_does_not_take_its_answer(connection: Wire) -> None:
    connection.send(HELLO + HELLO + b"\x00\x00garbage")
    assert (await connection.answer()).json["path"] == "/hello"
    assert (await connection.answer()).json["path"] == "/hello"
    assert await connection.rest() == b""


async def test_trailers_are_not_headers(connection: Wire) -> None:
    connection.send(CHUNKED + b"2\r\nhi\r\n0\r\nAuthorization: Bearer smuggled\r\n\r\n" + HELLO)
    answer = await connection.answer()
    assert answer.json["body"] == "hi"
    assert "authorization" not in answer.json["headers"]
    assert (await connection.answer()).json["path"] == "/hello"


# Bodies


@pytest.mark.parametrize("piece", [1, 2, 3, 1000])
async def test_a_body_may_come_in_pieces_of_any_size(connection: Wire, piece: int) -> None:
    await connection.send_slowly(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello there", piece)
    assert (await connection.answer()).json["body"] == "hello there"
    await connection.send_slowly(CHUNKED + b"6;ext=1\r\nhello \r\n5\r\nthere\r\n0\r\n\r\n", piece)
    assert (await connection.answer()).json["body"] == "hello there"


async def test_a_client_that_waits_to_be_told_is_told_to_go_on(connection: Wire) -> None:
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (await connection.answer()).status == 100
    connection.send(b"hi")
    assert (await connection.answer()).json["body"] == "hi"


# Connections


async def test_pipelined_requests_are_answered_in_order(connection: Wire) -> None:
    paths = [f"/{number}" for number in range(3 * MAX_WAITING)]
    connection.send(b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode() for path in paths))
    assert [(await connection.answer()).json["path"] for _ in paths] == paths


@pytest.mark.parametrize("behind", [b"", HELLO])
async def test_an_upgrade_is_ignored_and_the_connection_goes_on(connection: Wire, behind: bytes) -> None:
    for protocol in (b"h2c", b"websocket"):
        connection.send(HELLO[:-2] + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol + behind)
        assert (await connection.answer()).status == 200
        connection.send(b"" if behind else HELLO)
        assert (await connection.answer()).json["path"] == "/hello"


async def test_a_request_that_asks_for_an_upgrade_keeps_its_body(connection: Wire) -> None:
    asked = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
    connection.send(asked % len(HELLO) + HELLO)
    assert (await connection.answer()).json["body"] == HELLO.decode()
    connection.send(HELLO)
    assert (await connection.answer()).json["path"] == "/hello"


@pytest.mark.parametrize(
    "last", [b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"], ids=["close", "1.0"]
)
async def test_a_connection_is_used_again_until_the_client_says_otherwise(connection: Wire, last: bytes) -> None:
    for _ in range(3):
        connection.send(HELLO)
        assert "connection" not in (await connection.answer()).headers
    connection.send(last)
    assert (await connection.answer()).headers["connection"] == "close"
    assert await connection.rest() == b""


async def test_a_client_that_leaves_with_requests_in_the_queue_is_noticed_at_once() -> None:
    begun: list[str] = []
    first, left = asyncio.Event(), asyncio.Event()

    async def patient(line: Line) -> None:
        begun.append(line.path.decode())
        line.told = left.set
        first.set()
        await left.wait()

    async with running(_mirror, lambda method, url: patient) as port:
        async with wire(port) as connection, asyncio.timeout(PATIENCE):
            connection.send(HELLO)
            await first.wait()
            connection.send(HELLO + HELLO)
        async with asyncio.timeout(0.2):
            await left.wait()
    assert begun == ["/hello"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_connection_is_closed_when_it_has_been_idle_for_so_long_and_not_before() -> None:
    ask = b"GET /idle HTTP/1.1\r\nhost: x\r\n\r\n"
    async with running(_mirror, bounds=Bounds(idle=2)) as port, wire(port) as connection:
        for _ in range(4):
            connection.send(ask)
            assert (await connection.answer()).status == 200
            await asyncio.sleep(0.8)
        assert await connection.rest() == b""


async def test_ids_of_later_calls_sort_behind_and_two_of_one_moment_differ() -> None:
    noon = 1_700_000_000.0
    moments = [noon + passed / 1000 for passed in range(100)]
    ids = [new_request_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert len({new_request_id(noon) for _ in range(1000)}) == 1000
