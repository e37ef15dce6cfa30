"""
The simulator as a server on a real socket.

It keeps account of what it truly sent and of who hung up, so that a test can compare that with what a gateway says.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Self, TypeVar, cast

import httptools

from gateway.simulator import api
from gateway.simulator.faults import Faults, Unreadable, is_error, override
from gateway.simulator.http import UNIQUE, Account, Reply, Request, refused
from gateway.simulator.script import End, Play, Step, Wait, Write, early_end, script, spoil
from gateway.simulator.truth import Served, Tally, Truths, key_of

COALESCE = 16 * 1024
"""Bytes up to which the frames of a stream are written at once, where no delay comes between them."""

KEPT_REQUESTS = 256
KEPT_CALLS = 100_000

CREATED = 1_735_689_600
"""When every answer was made: a constant, so that the same request gets the same bytes."""

T = TypeVar("T")


class Simulator:
    """A provider's API on 127.0.0.1. Use it as `async with Simulator() as upstream: ...`.

    `type` is one of `api.GRAMMARS`; what `api_key`, `secret` and `region` do is told by `http.Account`. `play`
    writes each reply in its own way, for what no fault has a name for.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        type: str = "openai",
        api_key: str | None = None,
        secret: str | None = None,
        region: str | None = None,
        models: tuple[str, ...] | None = None,
        created: int = CREATED,
        coalesce: int = COALESCE,
        seed: int = 0,
        tls: ssl.SSLContext | None = None,
        play: Play | None = None,
    ) -> None:
        self.faults = faults or Faults()
        """May be replaced at any time; requests that come later meet the new ones."""
        self.grammar = api.GRAMMARS[type]
        offered = self.grammar.models if models is None else models
        self.account = Account(offered, created, api_key=api_key, secret=secret, region=region)
        self.coalesce = coalesce
        self.requests: list[Request] = []
        """The last ones received, oldest first."""
        self.received = 0
        """How many requests ever came."""
        self.served: list[Served] = []
        """The last calls that a model answered, oldest first."""
        self._tally = Tally()
        self.hangups: list[float] = []
        """When clients left before their answer was complete, on the event loop's clock."""
        self.connections = 0
        """How many were ever opened."""
        self.port = 0
        self._random = Random(seed)  # noqa: S311 - faults are drawn, nothing is kept secret
        self._open: set[_Connection] = set()
        self._changed = asyncio.Event()
        self._closing = False
        self._tls = tls
        self.play = play
        """May be replaced at any time, too."""
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL for a client, without a slash at its end."""
        return self.origin + self.grammar.base

    @property
    def origin(self) -> str:
        """The base URL without a path: some SDKs know the rest."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> int:
        """Connections on which a request waits for the end of its answer."""
        return sum(connection.busy for connection in self._open)

    def truth(self) -> Truths:
        """What was ever served, by key and model. Calls that are still under way are not in it."""
        return self._tally.truths()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listens on the port, or on one that is free."""
        loop = asyncio.get_running_loop()
        self._closing = False
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), host, port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Stops listening and drops every connection."""
        if self._server is None:
            return
        self._closing = True
        self._server.close()
        for connection in list(self._open):
            connection.abort()
        await self.until(lambda: not self._open)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def until(self, condition: Callable[[], bool], within: float = 5.0) -> None:
        """Waits until something that is counted here has come true. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # For connections

    def take(self, request: Request) -> _Exchange:
        """Decides how a request is answered."""
        self.received += 1
        unique = f"sim{self.received:0{len(UNIQUE) - 3}d}"
        _keep(request, self.requests, KEPT_REQUESTS)
        self._changed.set()
        try:
            asked = request.header(b"x-simulate-fault")
            faults = override(self.faults, asked) if asked else self.faults
        except Unreadable as error:
            told = self._refused("400", message=f"x-simulate-fault: {error}")
            return _Exchange(unique, told, script(told, None, Faults(), self.coalesce))
        fault = faults.pick(self._random.random()) if faults.fail else None
        if (end := early_end(fault, faults)) is not None:
            return _Exchange(unique, _NOTHING, end)
        if fault is not None and is_error(fault):
            reply = self._refused(fault, faults.retry_after)
        else:
            reply = api.reply(self.grammar, request, self.account)
        reply = spoil(reply, fault, faults, self.grammar)
        if self.play is not None:
            return _Exchange(unique, reply, self.play(reply, self.grammar))
        return _Exchange(unique, reply, script(reply, fault, faults, self.coalesce))

    def _refused(self, name: str, retry_after: float | None = None, message: str = "") -> Reply:
        refusal = self.grammar.refuse(name, 1.0 if retry_after is None else retry_after, message)
        reply = refused(refusal, self.grammar.headers)
        if retry_after is None or reply.status == 429:  # each API has a way of its own to limit
            return reply
        return replace(reply, headers=(*reply.headers, (b"retry-after", b"%d" % -(-retry_after // 1))))

    def opened(self, connection: _Connection) -> None:
        self.connections += 1
        self._open.add(connection)
        self._changed.set()

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._changed.set()

    def ended(self, exchange: _Exchange, *, complete: bool, left_at: float | None = None) -> None:
        """Enters what became of a call."""
        if self._closing:
            left_at = None
        if left_at is not None:
            self.hangups.append(left_at)
        if exchange.reply.model:
            served = exchange.account(complete, left_at is not None)
            _keep(served, self.served, KEPT_CALLS)
            self._tally.enter(served)
        self._changed.set()


_NOTHING = Reply(0, ())


def _keep(item: T, kept: list[T], most: int) -> None:
    kept.append(item)
    if len(kept) > most:
        del kept[: most // 2]


class _Exchange:
    """One request being answered."""

    __slots__ = ("ended", "key", "reply", "steps", "tokens", "unique")

    def __init__(self, unique: str, reply: Reply, steps: Iterator[Step]) -> None:
        self.unique = unique
        self.reply = reply
        self.steps = steps
        self.tokens = 0
        self.key = ""
        self.ended: End | None = None

    def account(self, complete: bool, client_left: bool) -> Served:
        return Served(
            id=self.reply.id.replace(UNIQUE, self.unique),
            model=self.reply.model,
            stream=bool(self.reply.frames),
            prompt_tokens=self.reply.prompt_tokens,
            completion_tokens=self.tokens,
            cut=not self.reply.sound or (not complete and (not client_left or self.ended is End.STALL)),
            client_left=client_left,
            key=self.key,
            cached=self.reply.cached,
            reasoning=min(self.reply.reasoning, self.tokens),
        )


class _Connection(asyncio.Protocol):
    """One client's connection. Requests on it are answered one after the other."""

    def __init__(self, simulator: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self._simulator = simulator
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._exchange: _Exchange | None = None
        self._keep_alive = True
        self._paused = False
        self._next_step: asyncio.Handle | None = None

    # From the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from it
        self._simulator.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_step is not None:
            self._next_step.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._simulator.ended(exchange, complete=False, left_at=self._loop.time())
        self._waiting.clear()
        self._simulator.lost(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._next_step is None:
            self._go_on()

    # From the parser

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # curl holds a large body back for a second until it is told to go on.
        if any(name == b"expect" for name, _ in self._headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        request = Request(method, self._url.decode("latin-1"), tuple(self._headers), b"".join(self._body))
        self._waiting.append((request, self._parser.should_keep_alive()))
        if self._exchange is None:
            self._go_on()

    # Answering

    @property
    def busy(self) -> bool:
        return self._exchange is not None

    def abort(self) -> None:
        self._transport.abort()

    def _go_on(self) -> None:
        """Takes steps until it has to wait, for time or for the client to read."""
        self._next_step = None
        while not self._paused and not self._transport.is_closing():
            if self._exchange is None:
                if not self._waiting:
                    return
                request, self._keep_alive = self._waiting.popleft()
                self._exchange = self._simulator.take(request)
                self._exchange.key = key_of(request)
            match next(self._exchange.steps, None):
                case Write(data=data, tokens=tokens):
                    self._exchange.tokens += tokens
                    self._transport.write(data.replace(_PLACEHOLDER, self._exchange.unique.encode()))
                case Wait(seconds=seconds):
                    self._next_step = self._later(seconds)
                    return
                case End() as end:
                    self._end(self._exchange, end)
                case None:
                    return

    def _later(self, seconds: float) -> asyncio.Handle:
        return self._loop.call_later(seconds, self._go_on) if seconds else self._loop.call_soon(self._go_on)

    def _end(self, exchange: _Exchange, end: End) -> None:
        exchange.ended = end
        if end is End.STALL:
            return
        self._exchange = None
        self._simulator.ended(exchange, complete=end is End.COMPLETE)
        if end is End.RESET:
            self._reset()
        elif end is End.CLOSE or not self._keep_alive:
            self._transport.close()

    def _reset(self) -> None:
        """A socket that lingers for no time sends RST where it would send FIN."""
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._transport.abort()


_PLACEHOLDER = UNIQUE.encode()
