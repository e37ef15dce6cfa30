"""Puts an application on a socket: uvicorn with uvloop, httptools and our own protocol."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from gateway.web.bounds import USUAL, Bounds
from gateway.web.protocol import Calls, GatewayProtocol

BACKLOG = 2048

LOOK_EVERY = 1.0
"""Seconds between two looks at what a client takes its time for."""

AT_A_TIME = 500
"""Clients that are looked at without a pause: for a millisecond, in which no call gets on."""

MOMENT = 0.1
"""Seconds in which requests that were on their way when the server was asked to stop still arrive, and are served."""

LAST_WORDS = 2.0
"""Seconds for what is left at the end of the drain to tell its clients so."""

STEP = 0.02
"""Seconds between two looks at whether all is over."""


class Server(uvicorn.Server):
    """uvicorn's, with an end of its own.

    Signals are left alone: uvicorn raises them again at its end, before the log is written. And it cancels what
    outlives the drain without waiting for what that has to say, to clients and to the books.
    """

    def __init__(self, config: uvicorn.Config, drain: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._looking: asyncio.Task[None] | None = None
        self._signalled = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_on_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first SIGINT or SIGTERM lets running calls end; the second does not wait for them.

        It is the second whoever else has asked the server to stop: a worker is also told by its supervisor.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        self.force_exit = self._signalled
        self._signalled = self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no new connections, lets calls end, and tells those that do not that they have come to their end."""
        for connection in self._connections:
            connection.shutdown()
        await self._stop_listening(sockets or [])
        await asyncio.sleep(MOMENT)
        for connection in self._connections:
            connection.shutdown()  # it may have been made since
            connection.close_if_idle()
        await self._over(self._drain, or_forced=True)
        await self._end_calls()
        if self._looking is not None:
            self._looking.cancel()

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Nobody can connect any more. Who has, and was not taken yet, would be reset by closing: those come first."""
        waiting = [client for listening in sockets for client in _waiting(listening)]
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()
        for client in waiting:
            with suppress(OSError):  # it has left again
                await asyncio.get_running_loop().connect_accepted_socket(self._latecomer, client)

    def _latecomer(self) -> asyncio.Protocol:
        make, state = cast("Callable[..., GatewayProtocol]", self.config.http_protocol_class), self.server_state
        connection = make(config=self.config, server_state=state, app_state=self.lifespan.state)
        connection.shutdown()
        return connection

    async def _end_calls(self) -> None:
        for connection in self._connections:
            connection.give_up()
        await asyncio.sleep(0)  # a call that has not had its first moment could not say anything
        for task in tuple(self.server_state.tasks):
            task.cancel()
        await self._over(LAST_WORDS)
        for connection in self._connections:
            connection.transport.abort()
        await self._over(LAST_WORDS)

    async def _over(self, seconds: float, *, or_forced: bool = False) -> None:
        """Waits until nobody is connected and no call is under way, but no longer than this."""
        clock, state = asyncio.get_running_loop().time, self.server_state
        end = clock() + seconds
        while (state.connections or state.tasks) and clock() < end:
            if or_forced and self.force_exit:
                return
            await asyncio.sleep(STEP)

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            everyone = self._connections
            pause = LOOK_EVERY / (len(everyone) // AT_A_TIME + 1)
            for start in range(0, len(everyone) + 1, AT_A_TIME):
                now = clock()
                for connection in everyone[start : start + AT_A_TIME]:
                    connection.look(now)
                await asyncio.sleep(pause)

    @property
    def _connections(self) -> tuple[GatewayProtocol, ...]:
        return cast("tuple[GatewayProtocol, ...]", tuple(self.server_state.connections))


def _waiting(listening: socket.socket) -> Iterator[socket.socket]:
    """Those that have connected and were not taken yet."""
    listening.setblocking(False)
    with suppress(OSError):  # there is nobody, or no file for one more
        while True:
            yield listening.accept()[0]


def no_calls(method: bytes, url: bytes) -> None:
    """Everything goes the way of ASGI."""


def server(app: ASGIApp, calls: Calls = no_calls, *, drain: float, bounds: Bounds) -> Server:
    """A server that, when asked to stop, gives running calls `drain` seconds."""
    config = uvicorn.Config(
        app,
        http=partial(GatewayProtocol, calls, bounds),  # type: ignore[arg-type]
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )
    return Server(config, drain)


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
    app: ASGIApp, calls: Calls = no_calls, *, drain: float = 1.0, bounds: Bounds = USUAL
) -> AsyncIterator[int]:
    """The application on a free port of this machine, within a loop that does other things too. Yields the port."""
    listening = listen("127.0.0.1", 0)
    serving = server(app, calls, drain=drain, bounds=bounds)
    task = asyncio.get_running_loop().create_task(serving.serve(sockets=[listening]))
    while not serving.started:  # noqa: ASYNC110  uvicorn tells of it in no other way
        await asyncio.sleep(0.005)
    try:
        yield listening.getsockname()[1]
    finally:
        serving.should_exit = True
        await task
