"""A certificate authority for the tests, servers that show its certificates, and the event loops that check them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
import uvloop

from gateway.core.errors import UpstreamError
from gateway.ports import Transport
from gateway.upstream.transport import HttpTransport
from tests.house.scripted import Script, Upstream, ask, scripted

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and what it has signed."""

    file: str
    good: ssl.SSLContext
    other_name: ssl.SSLContext
    expired: ssl.SSLContext


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def new_authority(folder: Path) -> Authority:
    """A fresh authority, whose own certificate is a file in this folder."""
    ca = trustme.CA()
    file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return Authority(
        str(file),
        serving(ca.issue_cert("127.0.0.1", "localhost")),
        serving(ca.issue_cert("other.example")),
        serving(ca.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))),
    )


@asynccontextmanager
async def trusted(script: Script, authority: Authority) -> AsyncIterator[tuple[HttpTransport, Upstream]]:
    """A server with a good certificate, and the way to it."""
    async with (
        scripted(script, tls=authority.good) as upstream,
        aclosing(HttpTransport(upstream.origin, ca_file=authority.file)) as transport,
    ):
        yield transport, upstream


async def failure_of(transport: Transport, origin: str) -> UpstreamError:
    with pytest.raises(UpstreamError) as failed:
        await ask(transport, origin)
    return failed.value
