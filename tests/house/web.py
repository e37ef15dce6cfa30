"""A server on the web, as the fetcher of linked files sees it, and requests that link to it."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from gateway.core.call import Json
from gateway.core.errors import InvalidRequest
from gateway.upstream.media import Address, Allow, Limits, Media, Resolve
from tests.house.certificates import Authority
from tests.house.scripted import Script, Upstream, scripted

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
NAME = "other.example"
"""The name in `Authority.other_name`."""


def this_machine(host: str, port: int) -> Iterable[str]:
    return ["127.0.0.1"]


def anywhere(address: Address) -> bool:
    return True


def fetcher(
    authority: Authority,
    *,
    allow: Allow | None = anywhere,
    resolve: Resolve | None = this_machine,
    limits: Limits | None = None,
) -> Media:
    trusted = ssl.create_default_context(cafile=authority.file)
    return Media(tls=trusted, allow=allow, resolve=resolve, limits=limits)


@asynccontextmanager
async def web(authority: Authority, script: Script) -> AsyncIterator[tuple[Upstream, str]]:
    """A server with this script that is called `NAME`, and the URL of a file there."""
    async with scripted(script, tls=authority.other_name) as upstream:
        yield upstream, f"https://{NAME}:{upstream.port}/cat.png?size=1"


def answer(body: bytes, type: str = "image/png", *, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def redirect(target: str, extra: str = "") -> bytes:
    return f"HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n{extra}\r\n".encode()


def asking(*urls: str) -> Json:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Which?"}, *parts]}]}


def files(body: Json) -> list[str]:
    return [part["image_url"]["url"] for part in body["messages"][0]["content"][1:]]


def data_url(type: str, file: bytes) -> str:
    return f"data:{type};base64,{b64encode(file).decode()}"


async def refused(media: Media, *urls: str) -> InvalidRequest:
    async with asyncio.timeout(5):
        with pytest.raises(InvalidRequest) as failed:
            await media.inline(asking(*urls))
    return failed.value
