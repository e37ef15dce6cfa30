"""
What every simulated API is made of: a request, a reply, an account, and the `Grammar` that leads from one to the other.

A provider type is one `Grammar`, a row of facts and pure functions that its module ends with. Nothing in one waits,
reads a clock or remembers anything, so that the same request always gets the same reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from gateway.core.call import Headers

UNIQUE = "0SIMULATED0SIMULATED0SIMULATE"
"""Stands in every reply where the id of the one call goes, so that an answer can be written once and sent often."""

JSON: Headers = ((b"content-type", b"application/json"),)
EVENT_STREAM: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"),)


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


class Frame(NamedTuple):
    """A piece of a stream that is whole in its grammar: one event, mostly."""

    data: bytes
    tokens: int = 0
    """Completion tokens in it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer: a body, or the frames of a stream."""

    status: int
    headers: Headers
    body: bytes = field(default=b"", repr=False)
    frames: tuple[Frame, ...] = field(default=(), repr=False)
    full_stop: int = 1
    """How many frames at the end of a stream say that it is complete."""
    output: int = 0
    """Completion tokens."""
    model: str = ""
    """The model that answers; empty where none does."""
    prompt_tokens: int = 0
    cached: int = 0
    """Of them, those that the API says its cache had."""
    reasoning: int = 0
    """Of the completion tokens, those that it says were reasoning. They are the first ones of an answer."""
    id: str = UNIQUE
    """The answer's id, as a client reads it."""
    sound: bool = True
    """Whether a client can take it for a complete answer."""

    def after(self, output: int) -> int:
        """How many frames of a stream hold all that comes up to so many completion tokens, and no more."""
        if not output:
            first = next((place for place, frame in enumerate(self.frames) if frame.tokens), None)
            return len(self.frames) - self.full_stop if first is None else first
        for place, frame in enumerate(self.frames, 1):
            output -= frame.tokens
            if output <= 0:
                return place
        return len(self.frames)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error: its status, its body, and the headers that only it has."""

    status: int
    envelope: Any
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a simulator lets in, and what it offers them."""

    models: tuple[str, ...]
    created: int
    """When every answer is made, in seconds since 1970."""
    api_key: str | None = None
    """None lets anyone in who names a key in the API's own way."""
    secret: str | None = field(default=None, repr=False)
    """With it, requests to Bedrock must be signed: `api_key` is the access key's id."""
    region: str | None = None
    """The only region that requests to Bedrock may be signed for."""


@dataclass(frozen=True, slots=True)
class Route:
    """An operation: the method, a pattern for the end of the path, and what answers."""

    method: str
    pattern: str
    respond: Callable[[Ask], Reply | Refusal]


class Ask(NamedTuple):
    """What a route is given."""

    path: str
    """Without its query."""
    query: str
    named: tuple[str, ...]
    """What the groups of the route's pattern caught."""
    body: bytes
    account: Account


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """One provider type's API."""

    base: str
    """What the base URL ends with, after the port."""
    models: tuple[str, ...]
    """What it lists, unless told otherwise."""
    routes: tuple[Route, ...]
    turn_away: Callable[[Request, Account], Refusal | None]
    """Judges the headers alone: the key, the version."""
    refuse: Callable[[str, float, str], Refusal]
    """The error of a name or a status (see `faults`), with the seconds to wait and, if it is not empty, a message."""
    lost: Callable[[str, str], Refusal]
    """For a method and a path that it does not have."""
    broken: bytes
    """How a stream tells of an error."""
    garbage: bytes
    """What cannot be an event of its stream."""
    headers: Headers = ()
    """In every reply."""


def respond(grammar: Grammar, method: str, path: str, body: bytes, account: Account) -> Reply:
    """What an API replies to someone whom it lets in."""
    address, _, query = path.partition("?")
    for route in grammar.routes:
        if route.method == method and (found := re.search(f"{route.pattern}$", address)):
            answer = route.respond(Ask(address, query, found.groups(), body, account))
            return answer if isinstance(answer, Reply) else refused(answer, grammar.headers)
    return refused(grammar.lost(method, address), grammar.headers)


def refused(refusal: Refusal, headers: Headers = ()) -> Reply:
    """An error as a reply."""
    return whole(refusal.envelope, status=refusal.status, headers=(*headers, *refusal.headers))


def whole(content: Any, *, status: int = 200, headers: Headers = (), indented: bool = False) -> Reply:
    """A JSON body."""
    kind = () if any(name == b"content-type" for name, _ in headers) else JSON
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE if indented else None)
    return Reply(status, (*kind, *headers), body=body)


def parsed(body: bytes) -> Any:
    """JSON, or None where it is none: no API takes `null` for a request either."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def bearer(request: Request) -> str:
    """The key in an `Authorization: Bearer` header, or nothing."""
    scheme, _, key = request.header(b"authorization").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
