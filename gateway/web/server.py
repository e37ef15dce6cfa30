"""Puts an application on a socket: uvicorn with uvloop, httptools and our own protocol."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from gateway.web.protocol import Calls, GatewayProtocol

KEEP_ALIVE = 75
"""Seconds an idle client connection is kept: longer than the 60 s of the usual load balancers, which otherwise reuse a
connection in the moment it is closed."""

BACKLOG = 2048


class Server(uvicorn.Server):
    """uvicorn's, but that it leaves signals alone: it raises them again at its end, before the log is written."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_on_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first SIGINT or SIGTERM lets running calls end; the second does not wait for them."""
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def no_calls(method: bytes, url: bytes) -> None:
    """Everything goes the way of ASGI."""


def server(app: ASGIApp, calls: Calls = no_calls, *, drain: float, keep_alive: int = KEEP_ALIVE) -> Server:
    """A server that, when asked to stop, gives running calls `drain` seconds."""
    config = uvicorn.Config(
        app,
        http=partial(GatewayProtocol, calls),  # type: ignore[arg-type]
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=max(1, round(drain)),
        backlog=BACKLOG,
    )
    return Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError, so that a port in use is told in words rather than from within the server."""
    listening = bind(host, port)
    try:
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that has the address, but does not listen yet. Raises OSError.

    A `shared` address may be had by other processes of this user too, if all of them share it. The kernel then deals
    connections out evenly to those that listen; of one socket for all, the first to wake up would take nearly all.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio turns Nagle's algorithm off; without, small chunks wait 40 ms for each other.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


@asynccontextmanager
async def running(
    app: ASGIApp, calls: Calls = no_calls, *, drain: float = 1.0, keep_alive: int = KEEP_ALIVE
) -> AsyncIterator[int]:
    """The application on a free port of this machine, within a loop that does other things too. Yields the port."""
    listening = listen("127.0.0.1", 0)
    serving = server(app, calls, drain=drain, keep_alive=keep_alive)
    task = asyncio.get_running_loop().create_task(serving.serve(sockets=[listening]))
    while not serving.started:  # noqa: ASYNC110  uvicorn tells of it in no other way
        await asyncio.sleep(0.005)
    try:
        yield listening.getsockname()[1]
    finally:
        serving.should_exit = True
        await task
