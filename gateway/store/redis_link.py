"""
What everything has in common that keeps something in Redis or Valkey: its address, what is wrong with it, and who is
told of that. One server, or what looks like one: Redis Cluster is not supported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.core.secret import Secret

PATIENCE = 1.0
"""Seconds. So long a connection may take to open, and an answer to come for which no call waits."""

FIRST_PAUSE = 0.1
"""Seconds until the next try to reach Redis: twice as long each time, up to a bound."""

CLOSING = 0.2
"""Seconds that closing may take: TLS waits for the other side to agree."""

SAID_LIMIT = 300
"""Characters of an error in the log."""

KINDS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.AuthenticationError, "refused"),
    (exceptions.BusyLoadingError, "refused"),
    (exceptions.ResponseError, "refused"),
    (exceptions.TimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (exceptions.ConnectionError, "connection"),
    (OSError, "connection"),
)
"""What an error is counted as: the first row that it belongs to, else `unexpected`."""

Failed = Callable[[str], None]
"""Told of everything that went wrong, by kind: those of `KINDS` and `unexpected`, and the caller's own."""


class Link:
    """The way to one server. What is wrong with it is counted each time, and logged once when it is lost, once when it
    is back.

    `event` is the log. Raises ValueError if the URL is none. It never quotes it: a password may be in the wrong part.
    """

    def __init__(self, url: Secret, failed: Failed, event: Callable[..., None], lost: str, back: str) -> None:
        try:
            parts = parse_url(url.reveal())
            self.database = int(parts.get("db") or 0)
        except ValueError:
            raise ValueError("not a Redis URL: it is written redis://[user:password@]host:port/database") from None
        self._url = url
        password = str(parts.get("password") or "")
        self._secrets = [secret for secret in (url.reveal(), password, quote(password, safe="")) if secret]
        self._failed = failed
        self._event = event
        self._lost, self._back = lost, back
        self._away = False

    def open(self, patience: float | None = PATIENCE) -> Redis:
        """Connections that are opened when first used, and never again behind our back: what was missed meanwhile has
        to be read. `patience` is that of each answer, in seconds; None where somebody else watches over it."""
        return Redis.from_url(
            self._url.reveal(),
            protocol=2,  # every server speaks it; the newer one is needed by nothing here
            socket_timeout=patience,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AbstractConnection]:
        """One open connection, over whose answers somebody else watches."""
        pool = self.open(None).connection_pool
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(PATIENCE):
                await connection.connect()  # type: ignore[no-untyped-call]
            yield connection
        finally:
            await connection.disconnect(nowait=True)

    def missed(self, error: Exception) -> None:
        """It is lost, or was not found again."""
        self._failed(next((kind for type_, kind in KINDS if isinstance(error, type_)), "unexpected"))
        if not self._away:
            self._away = True
            self._event("warning", self._lost, error=self._concealed(f"{type(error).__name__}: {error}"))

    def found(self) -> None:
        """It is there."""
        if self._away:
            self._away = False
            self._event("info", self._back)

    def _concealed(self, words: str) -> str:
        """Without what is secret: servers quote the commands that they do not understand."""
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return words[:SAID_LIMIT]
