"""A provider that costs next to nothing: it answers chat completions with bytes made in advance.

The answers have the shape of OpenAI's, so that a gateway which reads them has all of its work to do:
https://platform.openai.com/docs/api-reference/chat/object and .../chat-streaming. A request decides what it gets:
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

PACES = {"brisk": 0.010, "calm": 0.200}
"""Seconds between two chunks of a stream, by model."""

ANSWER = "The quick brown fox jumps over the lazy dog. " * 26
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
HEADERS = (
    b"x-request-id: req_5b1f2c0d9e8a47f6\r\nopenai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n"
    b"x-ratelimit-limit-requests: 30000\r\nx-ratelimit-limit-tokens: 150000000\r\n"
    b"x-ratelimit-remaining-requests: 29999\r\nx-ratelimit-remaining-tokens: 149999000\r\n"
)


def text_of(chunk: int) -> str:
    """What one chunk of a stream says."""
    return f" word{chunk}"


def with_length(content: bytes) -> bytes:
    """A whole answer with its head."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + HEADERS
    return head + b"content-length: %d\r\n\r\n" % len(content) + content


def whole_answer() -> bytes:
    """A chat completion of about 1.6 KB."""
    message: dict[str, Any] = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return with_length(orjson.dumps(IDENTITY | {"object": "chat.completion", "choices": [choice], "usage": USAGE}))


def framed(content: bytes) -> bytes:
    """One chunk of the chunked transfer coding: https://www.rfc-editor.org/rfc/rfc9112#section-7.1"""
    return b"%x\r\n%s\r\n" % (len(content), content)


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

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        request = orjson.loads(self._body) if self._body else {}
        if request.get("stream"):
            self._start_stream(request)
        else:
            self._transport.write(WHOLE if self._body else READY)

    def _start_stream(self, request: dict[str, Any]) -> None:
        include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        self._writes = iter(stream_writes(request["max_tokens"], include_usage))
        self._pace = PACES[request["model"]]
        self._transport.write(next(self._writes))
        # Streams opened together must not stay in step: a proxy would read a burst where a provider sends a trickle.
        self._due = self._loop.call_later(random.uniform(0, self._pace), self._write_next)

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
