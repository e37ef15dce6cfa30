"""What is written leaves together, in its order, and is not lost by what follows it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from gateway.outlet import LARGE, Outlet
from gateway.upstream.pool import Connection, Pool
from gateway.web.line import Line
from gateway.web.server import running


@asynccontextmanager
async def outlet() -> AsyncIterator[tuple[Outlet, socket.socket]]:
    """An outlet, and the socket to which its bytes go."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    with theirs:
        yield Outlet(transport, loop), theirs
        transport.abort()


def heard(theirs: socket.socket) -> bytes | None:
    """What has come by now; None for nothing."""
    try:
        return theirs.recv(4 * LARGE)
    except BlockingIOError:
        return None


async def a_turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_is_written_in_one_turn_leaves_together_at_the_next() -> None:
    async with outlet() as (out, theirs):
        out.write(b"one ")
        out.write(b"two")
        assert heard(theirs) is None
        assert out.get_write_buffer_size() == 7
        await a_turn()
        assert heard(theirs) == b"one two"
        assert out.get_write_buffer_size() == 0
        out.write(b"three")
        await a_turn()
        assert heard(theirs) == b"three"


async def test_of_several_outlets_none_sends_before_all_have_written() -> None:
    async with outlet() as (first, one), outlet() as (second, two):
        first.write(b"1")
        second.write(b"2")
        assert (heard(one), heard(two)) == (None, None)
        await a_turn()
        assert (heard(one), heard(two)) == (b"1", b"2")


async def test_a_large_piece_leaves_at_once_behind_what_was_written_before() -> None:
    async with outlet() as (out, theirs):
        out.write(b"first ")
        out.write(b"." * (LARGE + 1))
        assert (heard(theirs) or b"").startswith(b"first ...")


async def test_lines_leave_at_once_behind_what_was_written_before() -> None:
    async with outlet() as (out, theirs):
        out.write(b"first ")
        out.writelines([b"second ", b"third"])
        assert heard(theirs) == b"first second third"


@pytest.mark.parametrize("ending", ["close", "write_eof"])
async def test_whoever_closes_in_the_same_turn_loses_nothing(ending: str) -> None:
    async with outlet() as (out, theirs):
        out.write(b"goodbye")
        getattr(out, ending)()
        await a_turn()
        assert (heard(theirs), heard(theirs)) == (b"goodbye", b"")


async def test_what_was_not_sent_when_it_is_aborted_never_is() -> None:
    async with outlet() as (out, theirs):
        out.write(b"too late")
        out.abort()
        await a_turn()
        assert heard(theirs) == b""


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_is_written_to_a_closed_transport_harms_nobody(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    async def write_too_late() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: harm.append(context))
        async with outlet() as (out, theirs):
            out.close()
            await a_turn()
            out.write(b"to nobody")
            await a_turn()
            assert heard(theirs) == b""
            assert out.is_closing()

    harm: list[object] = []
    run(write_too_late())
    assert not harm


# Both doors have one


async def test_an_answer_to_a_client_leaves_with_the_next_turn() -> None:
    async def answered(line: Line) -> None:
        line.answer(200, b"", b"hello")
        before.append(heard(client))

    before: list[bytes | None] = []
    async with running(no_page, lambda method, url: answered) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            client.setblocking(False)
            async with asyncio.timeout(5):
                came = await asyncio.get_running_loop().sock_recv(client, LARGE)
    assert before == [None]
    assert came.endswith(b"hello")


async def test_a_request_to_a_provider_leaves_with_the_next_turn() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        connection = Connection(Pool(None, 1.0))
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
        connection.write(b"head ", b"body")
        assert heard(theirs) is None
        await a_turn()
        assert heard(theirs) == b"head body"
        connection.abort()


async def no_page(scope: Scope, receive: Receive, send: Send) -> None:
    """There are none here."""


@given(pieces=st.lists(st.tuples(st.sampled_from(["write", "lines", "wait"]), st.integers(1, 40)), max_size=20))
def test_bytes_keep_their_order_whatever_way_they_take(pieces: list[tuple[str, int]]) -> None:
    async def sent() -> tuple[bytes, bytes]:
        meant = bytearray()
        async with outlet() as (out, theirs):
            for number, (way, size) in enumerate(pieces):
                piece = bytes([number + 1]) * size
                meant += piece if way != "wait" else b""
                if way == "write":
                    out.write(piece)
                elif way == "lines":
                    out.writelines([piece])
                else:
                    await a_turn()
            out.close()
            await a_turn()
            return bytes(meant), heard(theirs) or b""

    meant, came = uvloop.run(sent())
    assert came == meant
