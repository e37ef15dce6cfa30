"""
OpenAI's API as HTTP: a request in, a `Reply` out. Pure; `gateway.simulator.server` does the sending.

Any prefix goes before the paths, so that Azure's `/openai/deployments/{model}/chat/completions` is served too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from gateway.core.call import Headers, Json
from gateway.simulator import openai
from gateway.simulator.refusals import (
    NO_KEY,
    UNREADABLE,
    Refusal,
    no_such_method,
    no_such_model,
    no_such_url,
    wrong_key,
)

UNIQUE = "0SIMULATED0SIMULATED0SIMULATE"
"""Stands in every reply where the id of the one call goes, so that an answer can be written once and sent often."""

CACHED = 16 * 1024
"""Bytes of the longest request whose reply is kept: as a stream it takes some fifty times as much."""

EVENT_STREAM = b"text/event-stream; charset=utf-8"

_COMMON: Headers = (
    (b"openai-processing-ms", b"7"),
    (b"openai-version", b"2020-10-01"),
    (b"x-request-id", b"req_" + UNIQUE.encode()),
)
_LIMITS: Headers = (
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-remaining-tokens", b"1999985"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"0s"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as it was received."""

    method: str
    path: str
    """With its query."""
    headers: Headers
    body: bytes = field(repr=False)

    def header(self, name: bytes) -> str:
        """The first value of a header, or nothing."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer: a body, or the frames of a stream (see `openai.Stream`)."""

    status: int
    headers: Headers
    body: bytes = field(default=b"", repr=False)
    frames: tuple[bytes, ...] = field(default=(), repr=False)
    opening: int = 0
    output: int = 0
    """Completion tokens."""
    model: str = ""
    """The model that answers; empty where none does."""
    prompt_tokens: int = 0
    sound: bool = True
    """Whether a client can take it for a complete answer."""


def reply(request: Request, *, api_key: str | None, models: tuple[str, ...], created: int) -> Reply:
    """What the API answers to a request."""
    path = request.path.partition("?")[0]
    if refused := _unauthorized(request, api_key):
        return refusal(refused)
    if path.endswith("/chat/completions"):
        if request.method != "POST":
            return refusal(no_such_method(request.method, path))
        known = _chat if len(request.body) <= CACHED else _chat.__wrapped__
        return known(request.body, created)
    if request.method == "GET" and (listing := re.search("/models(?:/(.+))?$", path)):
        return _models(listing[1], models, created)
    return refusal(no_such_url(request.method, path))


def refusal(refused: Refusal, retry_after: float = 0.0) -> Reply:
    """An error as the API sends it. One that limits a rate says when to come back, in seconds."""
    headers: Headers = ()
    if refused.status == 429:
        headers += (
            (b"retry-after", b"%d" % -(-retry_after // 1)),
            (b"retry-after-ms", b"%d" % (retry_after * 1000)),
            (b"x-ratelimit-remaining-requests", b"0"),
            (b"x-ratelimit-reset-requests", b"%gs" % retry_after),
        )
    return _whole(refused.envelope, refused.status, headers)


@lru_cache(maxsize=64)
def _chat(body: bytes, created: int) -> Reply:
    try:
        asked: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return refusal(UNREADABLE)
    if refused := openai.check(asked):
        return refusal(Refusal(*refused))
    return _streamed(asked, created) if asked.get("stream") else _answered(asked, created)


def _answered(asked: Json, created: int) -> Reply:
    answer = openai.answer(asked, created=created, id=f"chatcmpl-{UNIQUE}")
    usage = answer["usage"]
    return Reply(
        200,
        (*_JSON, *_COMMON, *_LIMITS),
        body=_spelt(answer),
        output=usage["completion_tokens"],
        model=asked["model"],
        prompt_tokens=usage["prompt_tokens"],
    )


def _streamed(asked: Json, created: int) -> Reply:
    stream = openai.stream(asked, created=created, id=f"chatcmpl-{UNIQUE}")
    return Reply(
        200,
        ((b"content-type", EVENT_STREAM), *_COMMON, *_LIMITS),
        frames=tuple(stream.frames),
        opening=stream.opening,
        output=stream.output,
        model=asked["model"],
        prompt_tokens=openai.prompt_tokens(asked),
    )


def _models(name: str | None, models: tuple[str, ...], created: int) -> Reply:
    listed = [{"id": model, "object": "model", "created": created, "owned_by": "system"} for model in models]
    if name is None:
        return _whole({"object": "list", "data": listed})
    found = next((model for model in listed if model["id"] == name), None)
    return _whole(found) if found else refusal(no_such_model(name))


def _unauthorized(request: Request, api_key: str | None) -> Refusal | None:
    """Azure's clients send their key in a header of its own."""
    if api_key is None:
        return None
    given = request.header(b"authorization").removeprefix("Bearer ") or request.header(b"api-key")
    if not given:
        return NO_KEY
    return None if given == api_key else wrong_key(given)


_JSON: Headers = ((b"content-type", b"application/json"),)


def _whole(content: Any, status: int = 200, headers: Headers = ()) -> Reply:
    return Reply(status, (*_JSON, *_COMMON, *headers), body=_spelt(content))


def _spelt(content: Any) -> bytes:
    """The API indents its answers and ends them with a line break; a client must not care."""
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
