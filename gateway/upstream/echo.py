"""The built-in provider: it answers in process, without key or network, so that a first call works."""

from __future__ import annotations

import orjson

from gateway.core.call import Headers, UpstreamRequest
from gateway.ports import Clock, Patience
from gateway.simulator import openai


class EchoTransport:
    """The way to a provider that is right here."""

    def __init__(self, now: Clock) -> None:
        self._now = now

    async def send(self, request: UpstreamRequest, *, connect: float, patience: Patience) -> EchoExchange:
        body = orjson.loads(request.body)
        if refused := openai.check(body):
            status, error = refused
            return EchoExchange(status, [orjson.dumps(error)], patience, b"application/json")
        created = int(self._now())
        id = f"chatcmpl-echo-{created}"
        if body.get("stream"):
            return EchoExchange(200, openai.frames(body, created=created, id=id), patience, b"text/event-stream")
        answer = openai.answer(body, created=created, id=id)
        return EchoExchange(200, [orjson.dumps(answer)], patience, b"application/json")

    async def aclose(self) -> None:
        pass


class EchoExchange:
    """An answer that is complete already, read piece by piece."""

    def __init__(self, status: int, pieces: list[bytes], patience: Patience, content_type: bytes) -> None:
        self.status = status
        self.headers: Headers = ((b"content-type", content_type),)
        self.patience = patience
        self._pieces = pieces[::-1]

    async def read(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    def close(self) -> None:
        self._pieces.clear()
