"""
The way to one provider: the one file that opens sockets to upstreams.

`send` takes an idle connection or opens one (name, TCP, a tunnel through the proxy, TLS), and returns an exchange whose
head is there. Whatever goes wrong on the network leaves this room as an `UpstreamError`:

* UNREACHABLE        refused, not resolved, TLS failed, at an address that is no provider's, or lost before the head of
                     the answer; `said` has the cause
* CONNECT_TIMEOUT    opening the connection took longer than `connect`
* MALFORMED          what came is not HTTP, or more of it than is reasonable
* TRUNCATED          the body was cut short
* IDLE_TIMEOUT       silent for longer than the patience allows; or, at its end, the failure that the patience names

One retry is made here and by nobody else: a connection that was used before and is lost before any byte of the answer
was most likely closed by the server while the request was on its way. The request is sent once more on a fresh one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

import certifi

from gateway.core.addresses import REFUSED, is_refused
from gateway.core.call import UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.core.secret import Secret
from gateway.ports import Clock, Exchange, Patience
from gateway.upstream.exchange import HttpExchange
from gateway.upstream.http1 import request_head
from gateway.upstream.pool import Connection, Pool

MAX_TUNNEL_REPLY = 16 * 1024
"""Bytes of a proxy's answer to CONNECT."""

IDLE_EXPIRY = 30.0
"""Seconds an idle connection is kept: below the 60 s after which most servers close theirs, so that we are first."""

PORTS = {"http": 80, "https": 443}

_ADDRESS = "not an address of the form http(s)://host:port"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a socket is opened to."""

    scheme: str
    host: str
    port: int
    authority: str
    """Host and port as they stand in the URL."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class HttpTransport:
    """`gateway.ports.Transport` over HTTP/1.1, with one pool of connections.

    `origin` is scheme, host and port of the provider, such as `https://api.openai.com`. `proxy` is the URL of an HTTP
    proxy, with a password where it wants one: https goes through it by CONNECT, http in absolute form. `ca_file` holds
    the authorities to trust, in place of the system's. `clock` is what patience is measured by, if not by the loop's.
    Raises ValueError or OSError for an address, a proxy or a file that cannot be used.
    """

    def __init__(
        self,
        origin: str,
        *,
        proxy: Secret | None = None,
        ca_file: str | None = None,
        clock: Clock | None = None,
        idle_expiry: float = IDLE_EXPIRY,
    ) -> None:
        self._prefix = origin.rstrip("/")
        if "@" in self._prefix:
            raise ValueError("the address of a provider has no user or password in it")
        self._origin = _address(self._prefix)
        self._tls = _tls(ca_file) if self._origin.scheme == "https" else None
        self._proxy = _address(proxy.reveal()) if proxy else None
        self._login = proxy_login(proxy) if proxy else ()
        self._absolute = self._proxy is not None and self._tls is None
        fixed = (b"host: " + self._origin.authority.encode("ascii"), b"accept-encoding: identity")
        self._fixed = fixed + self._login if self._absolute else fixed
        self._clock = clock
        self._pool = Pool(clock, idle_expiry)

    async def send(self, request: UpstreamRequest, *, connect: float, patience: Patience) -> Exchange:
        """See `gateway.ports.Transport`.

        Raises ValueError for a request that cannot be sent as it is: an address elsewhere, a line break in a header.
        """
        head = request_head(request, self._target(request.url), self._fixed)
        clock = self._clock or asyncio.get_running_loop().time
        connection = self._pool.take()
        if connection is not None:
            exchange = HttpExchange(connection, patience, clock)
            try:
                return await exchange.ask(head, request.body)
            except UpstreamError:
                if not exchange.unheard:
                    raise
        connection = await self._open(connect, patience, clock())
        return await HttpExchange(connection, patience, clock).ask(head, request.body)

    async def aclose(self) -> None:
        """Closes every connection, in use or not. What is still waiting for an answer fails."""
        await self._pool.aclose()

    def _target(self, url: str) -> str:
        """What follows the method. A URL of another origin is refused: the credential is not for that."""
        if not url.startswith(self._prefix + "/"):
            raise ValueError(f"the request is not for {self._prefix}")
        return url if self._absolute else url[len(self._prefix) :]

    async def _open(self, connect: float, patience: Patience, now: float) -> Connection:
        """A connection that no one has used. Name, TCP, tunnel and TLS share one time limit."""
        self._pool.check_open()
        limit = min(connect, patience.until - now)
        connection = Connection(self._pool)
        try:
            async with asyncio.timeout(limit):
                await self._dial(connection)
        except TimeoutError as error:
            failure = Failure.CONNECT_TIMEOUT if limit == connect else patience.failure
            raise UpstreamError(failure, f"{self._way()}: no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise UpstreamError(Failure.UNREACHABLE, f"{self._way()}: {_cause(error)}") from error
        return connection

    def _nearest(self) -> Address:
        return self._proxy or self._origin

    def _way(self) -> str:
        return f"{self._origin} through the proxy {self._proxy}" if self._proxy else str(self._origin)

    async def _dial(self, connection: Connection) -> None:
        try:
            if self._tls is not None and self._proxy is not None:
                connection.connection_made(await self._tunnel(self._proxy, connection, self._tls))
            else:
                await self._connect(connection)
            self._pool.check_open()  # It may have closed meanwhile, and would not know of this one.
        except BaseException:
            connection.abort()
            self._pool.closed(connection)  # uvloop 0.23 never says so where this was cancelled as the socket opened
            raise

    async def _connect(self, connection: Connection) -> None:
        """Straight to the nearest address, with TLS at once where the origin wants it."""
        name = self._origin.host if self._tls is not None else None
        nearest = self._nearest()
        opened, _ = await asyncio.get_running_loop().create_connection(
            lambda: connection, nearest.host, nearest.port, ssl=self._tls, server_hostname=name
        )
        _check_peer(opened)

    async def _tunnel(self, proxy: Address, connection: Connection, tls: ssl.SSLContext) -> asyncio.Transport:
        """TLS to the origin through the proxy (RFC 9110 section 9.3.6)."""
        loop = asyncio.get_running_loop()
        there = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        host = f"{there}:{self._origin.port}".encode("ascii")
        ask = b"\r\n".join((b"CONNECT %b HTTP/1.1" % host, b"host: " + host, *self._login))
        outer, tunnel = await loop.create_connection(_Tunnel, proxy.host, proxy.port)
        try:
            _check_peer(outer)
            outer.write(ask + b"\r\n\r\n")
            _check_tunnel(await tunnel.reply)
            inner = await loop.start_tls(outer, connection, tls, server_hostname=self._origin.host)
        except BaseException:
            outer.abort()
            raise
        if inner is None:
            raise ConnectionResetError("lost while TLS began")
        return inner


def _check_peer(opened: asyncio.BaseTransport) -> None:
    """Refuses, before anything is asked there, what is never a provider's: a name leads where its owner wants by now.

    Behind a proxy it is the proxy that resolves names, and has to look.
    """
    if (peer := opened.get_extra_info("peername")) is None:
        raise ConnectionResetError("lost as it was opened")
    if is_refused(ip_address(peer[0])):
        raise UpstreamError(Failure.UNREACHABLE, REFUSED)


class _Tunnel(asyncio.Protocol):
    """The first words with a proxy. `reply` is its head, or whatever there was of it before it hung up."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._heard = b""

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if b"\r\n\r\n" in self._heard or len(self._heard) > MAX_TUNNEL_REPLY:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if not self.reply.done():
            self.reply.set_result(self._heard)


def _check_tunnel(reply: bytes) -> None:
    """Any 2xx opens the tunnel, and the other end speaks only when spoken to."""
    head, end, rest = reply.partition(b"\r\n\r\n")
    status_line = head.partition(b"\r\n")[0].decode("ascii", "replace")
    version, _, status = status_line.partition(" ")
    if not end or rest or not version.startswith("HTTP/1."):
        raise UpstreamError(Failure.UNREACHABLE, "the proxy did not answer in HTTP")
    if not status.startswith("2"):
        number = status.partition(" ")[0]
        words = next((f" {known.phrase}" for known in HTTPStatus if str(known.value) == number), "")
        # Not in the proxy's own words, which may repeat what it was told.
        raise UpstreamError(Failure.UNREACHABLE, f"the proxy refused the tunnel: {number[:3]}{words}")


async def read_all(exchange: Exchange, limit: int) -> bytes:
    """The whole body. Raises UpstreamError as `read` does, and closes the exchange beyond `limit` bytes."""
    pieces: list[bytes] = []
    size = 0
    while piece := await exchange.read():
        size += len(piece)
        if size > limit:
            exchange.close()
            raise UpstreamError(Failure.MALFORMED, f"a body of more than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _address(url: str) -> Address:
    """Raises ValueError, without repeating the URL: a proxy's has a password in it."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ValueError(_ADDRESS) from None
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(_ADDRESS)
    return Address(parts.scheme, parts.hostname, port, parts.netloc.rpartition("@")[2])


def proxy_login(proxy: Secret) -> tuple[bytes, ...]:
    """The header line that a proxy with a password wants (RFC 7617); none for one without. Raises ValueError."""
    parts = urlsplit(proxy.reveal())
    if parts.scheme != "http":
        raise ValueError("only proxies that are spoken to in plain http are supported")
    if parts.username is None:
        return ()
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return (b"proxy-authorization: Basic " + b64encode(login.encode()),)


def _tls(ca_file: str | None) -> ssl.SSLContext:
    """Certificates and names are always verified."""
    return _trusting(ca_file) if ca_file else trusting_the_system()


@cache
def trusting_the_system() -> ssl.SSLContext:
    """Trust in the system's authorities, or in certifi's where the system has none, as in the smallest containers.

    One for all providers: reading the authorities takes some 20 ms, and holding them a megabyte.
    """
    context = _trusting(None)
    found = ssl.get_default_verify_paths().capath
    if not context.cert_store_stats()["x509_ca"] and not (found and any(Path(found).iterdir())):
        context.load_verify_locations(certifi.where())
    return context


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _cause(error: OSError | UnicodeError) -> str:
    """Why there is no connection, in words for the log."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate verify failed: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return f"the name cannot be resolved: {error.strerror}"
        case OSError(errno=int(number)):
            return os.strerror(number)
    return str(error) or type(error).__name__
