"""A reverse proxy that serves a gateway below a path, as many do in front of it."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def below(prefix: str, port: int) -> AsyncIterator[str]:
    """The address at which the gateway on this port is found below the prefix. Everything else there is a 404."""

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _forward(prefix.encode(), port, reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{prefix}"
        server.close()
        left = [task for task in serving if task is not None and not task.done()]
        for task in left:  # browsers keep connections that they may yet need
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _forward(prefix: bytes, port: int, reader: StreamReader, writer: StreamWriter) -> None:
    """One request and its answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, rest = head.split(b" ", 2)
    if not target.startswith(prefix + b"/"):
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        return
    inner, outer = await asyncio.open_connection("127.0.0.1", port)
    try:
        first, headers = rest.split(b"\r\n", 1)
        kept = [line for line in headers.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        outer.write(
            b" ".join((method, target[len(prefix) :], first)) + b"\r\nconnection: close\r\n" + b"\r\n".join(kept)
        )
        sending = asyncio.ensure_future(_pipe(reader, outer))
        await _pipe(inner, writer)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    finally:
        outer.close()


async def _pipe(reader: StreamReader, writer: StreamWriter) -> None:
    while piece := await reader.read(2**16):
        writer.write(piece)
        await writer.drain()
