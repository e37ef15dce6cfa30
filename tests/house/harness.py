"""A whole gateway on a real socket, in the test's own loop, with its settled entries in reach."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from gateway.app.gateway import Gateway
from gateway.app.reload import Source
from gateway.app.times import now
from gateway.config.resolve import loads_all
from gateway.core.call import Json
from gateway.engine.entry import Entry
from gateway.sinks.logs import Logs, Writer
from gateway.web.server import running

KEY = "a-key-of-the-test-suite-000001"
"""The key of every configuration that `config` makes."""

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that need no TLS: left to itself, each would read the system's certificates, which takes 25 ms."""

QUESTION: Json = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


@dataclass
class Running:
    """A gateway under test."""

    gateway: Gateway
    port: int
    entries: list[Entry]
    client: httpx.AsyncClient
    """Talks to the gateway with its key."""
    log: bytes = b""
    """What was logged; complete once the gateway has stopped."""


def config(*urls: str, extra: str = "", model: str = "", type: str = "openai") -> str:
    """One provider per URL, and one model `m` that tries them in order.

    The key's calls are the last to be refused: a busy machine may hold up the loop in which test and gateway run.
    """
    providers = "\n".join(f"  p{n}: {{type: {type}, base_url: '{url}', api_key: sk-{n}}}" for n, url in enumerate(urls))
    targets = "\n".join(f"      - {{provider: p{n}, model: upstream-{n}}}" for n in range(len(urls)))
    return f"""
providers:
{providers}
models:
  m:
    strategy: ordered
    targets:
{targets}
{model}
keys:
  - {{name: tester, key: {KEY}, priority: high}}
{extra}
"""


@asynccontextmanager
async def gateway(
    text: str, *, environ: Mapping[str, str] | None = None, heartbeat: float = 15.0, source: Source | None = None
) -> AsyncIterator[Running]:
    """The gateway, serving this configuration."""
    entries: list[Entry] = []
    under_test: Running | None = None
    with tempfile.TemporaryFile() as written:
        writer = Writer(written.fileno())
        logs = Logs(writer, now, human=False)
        loaded = loads_all(text, name="test.yaml", environ=environ or {})
        try:
            async with (
                Gateway(loaded, logs, [entries.append], heartbeat, source=source).open() as built,
                running(built.app, built.app.calls) as port,
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}",
                    headers={"authorization": f"Bearer {KEY}"},
                    timeout=10,
                    verify=PLAIN,
                ) as client,
            ):
                under_test = Running(built, port, entries, client)
                yield under_test
        finally:
            writer.close()
            if under_test is not None:
                written.seek(0)
                under_test.log = written.read()
