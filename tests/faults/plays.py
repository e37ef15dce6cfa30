"""How an upstream misbehaves, where the simulator has no name for it. Each play is a pure function of a sound reply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson

from gateway.core.call import Headers
from gateway.simulator import eventstream
from gateway.simulator.faults import Faults
from gateway.simulator.http import Frame, Grammar, Refusal, Reply
from gateway.simulator.script import CHUNKED, LAST_CHUNK, End, Play, Step, Wait, Write, chunk, head, script

WAIT = 7
"""Seconds that a provider asks to wait, where it asks: more than a call waits by itself."""

PACE = 0.02
"""Seconds between pieces that have to be read one by one. The gateway is in the same loop, so that it reads at once."""

SPOKEN = 2
"""Pieces of output before a fault that comes after some."""

_NOW = datetime(2030, 1, 1, tzinfo=UTC)

SECRET = "a-secret-0123456789-of-the-first-provider"
ACCOUNT = "account-7391-of-the-first-provider"
"""What a provider's own words may quote, and whose: the first is never passed on, the second only with those words."""

_QUOTE = f"({SECRET}, {ACCOUNT}) "

_WAITS = (b"retry-after", b"x-ratelimit-", b"anthropic-ratelimit-")


def _quoted(told: bytes) -> bytes:
    return told.replace(b'"message":"', b'"message":"' + _QUOTE.encode())


def sound(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """As the simulator wrote it."""
    return script(reply, None, Faults(), 0)


# Heads


def steps(*given: Step) -> Play:
    """The same steps, whatever was asked."""
    return lambda reply, grammar: iter(given)


huge_head = steps(Write(b"HTTP/1.1 200 OK\r\nx-padding: " + b"a" * 100_000 + b"\r\n"), End.STALL)

_INTERIM = Write(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")

endless_interim = steps(*(each for _ in range(200) for each in (_INTERIM, Wait(0))), End.STALL)


def one_interim(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """An interim answer before the real one, as RFC 9110 section 15.2 allows."""
    yield _INTERIM
    yield from sound(reply, grammar)


def bare(status: int, *headers: tuple[bytes, bytes]) -> Play:
    """A status with these headers alone."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return steps(Write(b"HTTP/1.1 %d Simulated\r\n%b\r\n" % (status, lines)), End.CLOSE)


def redirect(status: int) -> Play:
    """The way to another host, which must not be given the credentials."""
    return bare(status, (b"location", b"https://elsewhere.invalid/v1"), (b"content-length", b"0"))


def page(status: int) -> Play:
    """What a proxy before the provider says when it gets no answer itself."""
    body = f"<html><head><title>{status}: {_QUOTE} returns an unknown error</title></head></html>".encode()
    kind = (b"content-type", b"text/html; charset=UTF-8")
    return lambda reply, grammar: script(Reply(status, (kind,), body=body), None, Faults(), 0)


# Limits


def limited(*headers: tuple[bytes, bytes]) -> Play:
    """A refusal with these words of when to come back, and no others."""
    return lambda reply, grammar: sound(_with_headers(_without_waits(reply), headers), grammar)


def _with_headers(reply: Reply, headers: Headers) -> Reply:
    return replace(reply, headers=(*reply.headers, *headers))


def _without_waits(reply: Reply) -> Reply:
    told = orjson.loads(reply.body)
    if isinstance(told.get("error"), dict):
        told["error"].pop("details", None)  # Gemini's RetryInfo
    kept = tuple(header for header in reply.headers if not header[0].startswith(_WAITS))
    return replace(reply, headers=kept, body=orjson.dumps(told))


_DATE = (b"date", format_datetime(_NOW, usegmt=True).encode())
_LATER = _NOW + timedelta(seconds=WAIT)

in_seconds = limited((b"retry-after", b"%d" % WAIT))
in_milliseconds = limited((b"retry-after-ms", b"%d" % (WAIT * 1000)))
at_a_date = limited(_DATE, (b"retry-after", format_datetime(_LATER, usegmt=True).encode()))
at_openais_reset = limited(
    (b"x-ratelimit-remaining-requests", b"0"),
    (b"x-ratelimit-reset-requests", b"%ds" % WAIT),
    (b"x-ratelimit-remaining-tokens", b"90000"),
    (b"x-ratelimit-reset-tokens", b"6ms"),
)
at_anthropics_reset = limited(
    _DATE,
    (b"anthropic-ratelimit-requests-remaining", b"0"),
    (b"anthropic-ratelimit-requests-reset", _LATER.isoformat().encode()),
)


def no_means_to_pay(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """Bedrock, when the AWS account has nothing to pay with."""
    said = "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided."
    headers = (b"x-amzn-errortype", b"AccessDeniedException:http://internal.amazon.com/coral/com.amazon.bedrock/")
    return sound(Reply(403, (headers,), body=_quoted(orjson.dumps({"message": said}))), grammar)


def model_not_ready(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """Bedrock, while it loads a custom model."""
    headers = (b"x-amzn-errortype", b"ModelNotReadyException:http://internal.amazon.com/coral/com.amazon.bedrock/")
    return sound(Reply(429, (headers,), body=_quoted(orjson.dumps({"message": "The model is not ready."}))), grammar)


# Bodies


def coded(coding: bytes) -> Play:
    """The body is said to be coded in this way."""
    return lambda reply, grammar: sound(_with_headers(reply, ((b"content-encoding", coding),)), grammar)


def short_length(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """A length that ends in the middle of the body; what follows is no part of it."""
    body = reply.body or b"".join(frame.data for frame in reply.frames)
    said = reply.after(0)
    length = sum(len(frame.data) for frame in reply.frames[:said]) if reply.frames else len(body) // 2
    yield Write(head(reply, b"content-length: %d" % length) + body)
    yield End.CLOSE


def byte_by_byte(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """All of a sound answer, in the smallest pieces."""
    for step in sound(reply, grammar):
        if not isinstance(step, Write):
            yield step
            continue
        for place in range(len(step.data)):
            yield Write(step.data[place : place + 1])
            yield Wait(0)


# Streams


def _opened(reply: Reply, pieces: int) -> Iterator[Step]:
    """A stream up to so many pieces of output, which are given time to be read."""
    said = b"".join(frame.data for frame in reply.frames[: reply.after(pieces)])
    yield Write(head(reply, CHUNKED) + (chunk(said) if said else b""))
    yield Wait(PACE)


def ending(pieces: int, *end: Step) -> Play:
    """A stream that takes such an end after so many pieces of output."""

    def play(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        yield from _opened(reply, pieces)
        yield from end

    return play


def politely(pieces: int) -> Play:
    """The stream ends so early, and as far as HTTP goes all is well."""
    return ending(pieces, Write(LAST_CHUNK), End.COMPLETE)


def misframed(pieces: int) -> Play:
    """A chunk whose length is no number."""
    return ending(pieces, Write(b"chunk\r\n"), End.CLOSE)


def lingering(pieces: int) -> Play:
    """The stream tells of an error after so many pieces of output, and does not end."""

    def play(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        yield from _opened(reply, pieces)
        yield Write(chunk(grammar.broken))
        yield End.STALL

    return play


def meaningless(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """The stream opens, and goes on with what is no event of its grammar."""
    yield from _opened(reply, 0)
    yield Write(chunk(grammar.garbage) + LAST_CHUNK)
    yield End.COMPLETE


def slowly(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """Some output, and then never a long silence and never an end in time."""
    yield from _opened(reply, SPOKEN)
    for frame in reply.frames[reply.after(SPOKEN) :]:
        yield Wait(0.25)
        yield Write(chunk(frame.data))
    yield End.STALL


def limited_inside(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """The status is 200, the stream opens, and then it tells of a limit."""
    told = orjson.dumps(grammar.refuse("429", 1, "").envelope)
    before, in_text, _ = grammar.broken.partition(b"data: ")
    event = before + in_text + told + b"\n\n" if in_text else eventstream.exception("throttlingException", told)
    yield from _opened(reply, 0)
    yield Write(chunk(event) + LAST_CHUNK)
    yield End.COMPLETE


def exception_inside(kind: str) -> Play:
    """Bedrock's stream opens, and then tells of an error of this kind."""

    def play(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        yield from _opened(reply, 0)
        told = _quoted(orjson.dumps({"message": "It did not work."}))
        yield Write(chunk(eventstream.exception(kind, told)) + LAST_CHUNK)
        yield End.COMPLETE

    return play


def damaged(pieces: int) -> Play:
    """The frame after so many pieces of output has lost a bit on its way."""

    def play(reply: Reply, grammar: Grammar) -> Iterator[Step]:
        place = reply.after(pieces)
        hurt = reply.frames[place].data
        frames = (Frame(hurt[:-1] + bytes([hurt[-1] ^ 1])), *reply.frames[place + 1 :])
        yield from _opened(reply, pieces)
        yield Write(chunk(b"".join(frame.data for frame in frames)) + LAST_CHUNK)
        yield End.COMPLETE

    return play


# What is told apart


def quoting(grammar: Grammar) -> Grammar:
    """The API of a provider that quotes its customer's secrets in each of its errors."""

    def refuse(name: str, retry_after: float, message: str) -> Refusal:
        refusal = grammar.refuse(name, retry_after, message)
        return replace(refusal, envelope=orjson.loads(_quoted(orjson.dumps(refusal.envelope))))

    in_text = grammar.broken.find(b"data: ") >= 0  # a binary frame has a checksum, which new words would make wrong
    return replace(grammar, refuse=refuse, broken=_quoted(grammar.broken) if in_text else grammar.broken)


def other_words(reply: Reply, grammar: Grammar) -> Iterator[Step]:
    """A sound answer, in words that can be told from the first provider's."""
    frames = tuple(frame._replace(data=frame.data.replace(b" said:", b" told:")) for frame in reply.frames)
    return sound(replace(reply, body=reply.body.replace(b" said:", b" told:"), frames=frames), grammar)
