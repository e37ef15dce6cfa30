"""A provider that costs next to nothing: it answers chat completions with bytes made in advance.

The answers have the shape of OpenAI's, so that a gateway which reads them has all of its work to do:
https://platform.openai.com/docs/api-reference/chat/object and .../chat-streaming. At `/messages` they have that of
Anthropic's. A request decides what it gets:
`stream` whether it is streamed, `max_tokens` in how many chunks, `model` how fast.

Run as a process of its own: `python -m bench.upstream PORT`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench import messages
from bench.said import ANSWER, HEADERS, framed, text_of, with_length

PACES = {"brisk": 0.010, "calm": 0.200}
"""Seconds between two chunks of a stream, by model."""

USAGE = {
    "prompt_tokens": 480,
    "completion_tokens": 220,
    "total_tokens": 700,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
IDENTITY = {
    "id": "chatcmpl-Bm8wZx3kTqV5nR1sYd7cLh0pUe2Gj",
    "created": 1_750_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "system_fingerprint": "fp_34a54ae93c",
}


def whole_answer() -> bytes:
    """A chat completion of about 1.6 KB."""
    message: dict[str, Any] = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return with_length(orjson.dumps(IDENTITY | {"object": "chat.completion", "choices": [choice], "usage": USAGE}))


def event(**fields: Any) -> bytes:
    body = IDENTITY | {"object": "chat.completion.chunk"} | fields
    return b"data: " + orjson.dumps(body) + b"\n\n"


def delta(content: dict[str, Any], finish_reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish_reason}
    return event(choices=[choice], **fields)


@lru_cache
def stream_writes(chunks: int, include_usage: bool) -> tuple[bytes, ...]:
    """All writes of one stream: its head and the role, each chunk, and its end, which OpenAI sends in one go."""
    extra = {"usage": None} if include_usage else {}
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n" + HEADERS
    first = delta({"role": "assistant", "content": "", "refusal": None}, obfuscation="Jq2", **extra)
    texts = [delta({"content": text_of(chunk)}, obfuscation="Wd7xPz", **extra) for chunk in range(chunks)]
    usage = event(choices=[], usage=USAGE, obfuscation="") if include_usage else b""
    last = delta({}, "stop", obfuscation="k9RtLm", **extra) + usage + b"data: [DONE]\n\n"
    opening = head + b"transfer-encoding: chunked\r\n\r\n" + framed(first)
    return (opening, *map(framed, texts), framed(last) + framed(b""))


WHOLE = whole_answer()
READY = with_length(b"{}")


class Provider(asyncio.Protocol):
    """One connection: a request at a time, answered at once or in paced writes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._foreign = False
        self._pace = 0.0
        self._writes: Iterator[bytes] = iter(())
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due:
            self._due.cancel()

    def on_message_begin(self) -> None:
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._foreign = url.endswith(b"/messages")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        request = orjson.loads(self._body) if self._body else {}
        if request.get("stream"):
            self._start_stream(request)
        else:
            self._transport.write((messages.WHOLE if self._foreign else WHOLE) if self._body else READY)

    def _start_stream(self, request: dict[str, Any]) -> None:
        self._writes = iter(self._streamed(request))
        self._pace = PACES[request["model"]]
        self._transport.write(next(self._writes))
        # Streams opened together must not stay in step: a proxy would read a burst where a provider sends a trickle.
        self._due = self._loop.call_later(random.uniform(0, self._pace), self._write_next)

    def _streamed(self, request: dict[str, Any]) -> tuple[bytes, ...]:
        if self._foreign:
            return messages.stream_writes(request["max_tokens"])
        include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        return stream_writes(request["max_tokens"], include_usage)

    def _write_next(self) -> None:
        self._due = None
        if write := next(self._writes, None):
            self._transport.write(write)
            self._due = self._loop.call_later(self._pace, self._write_next)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
