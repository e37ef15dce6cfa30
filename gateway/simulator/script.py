"""
How a reply goes out: what is written, when, and how it ends. Pure, so that each fault can be read in one place.

A named fault ends the exchange before there is a reply (`_SILENT_ENDS`), replaces the reply by a bad one (`_SPOILT`),
or writes it badly (`_MISSPELT`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from http import HTTPStatus

import orjson

from gateway.simulator.faults import Faults
from gateway.simulator.http import Frame, Grammar, Reply


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for the client, and the completion tokens in them."""

    data: bytes = field(repr=False)
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Silence, in seconds; 0 lets the event loop turn once, so that what was written leaves on its own."""

    seconds: float


class End(Enum):
    """How an exchange ends. Only the first is what a client hopes for."""

    COMPLETE = auto()
    CLOSE = auto()
    RESET = auto()
    STALL = auto()


Step = Write | Wait | End


Play = Callable[[Reply, Grammar], Iterator[Step]]
"""The steps of a reply, in place of those of `script`."""


def script(reply: Reply, fault: str | None, faults: Faults, coalesce: int) -> Iterator[Step]:
    """The steps of an answer. Frames are joined up to `coalesce` bytes where no delay comes between them."""
    if faults.first_token_delay:
        yield Wait(faults.first_token_delay)
    if fault in _MISSPELT:
        yield from _MISSPELT[fault](reply)
    elif reply.frames:
        yield from _streamed(reply, faults, coalesce)
    else:
        yield from _whole(reply, faults)


def early_end(fault: str | None, faults: Faults) -> Iterator[Step] | None:
    """The steps of a fault that ends the exchange without an HTTP answer, if it is one."""
    end = _SILENT_ENDS.get(fault or "")
    return None if end is None else iter((Wait(faults.first_token_delay), *end))


_SILENT_ENDS: dict[str, tuple[Step, ...]] = {
    "reset": (End.RESET,),
    "close": (End.CLOSE,),
    "silent": (End.STALL,),
    "not-http": (Write(b"\x15\x03\x01 this is not HTTP\r\n\r\n"), End.CLOSE),
}


def spoil(reply: Reply, fault: str | None, faults: Faults, grammar: Grammar) -> Reply:
    """The reply with a named fault in it, or as it was."""
    if reply.model and faults.error_after is not None and faults.error_after <= reply.output:
        reply = _error_after(reply, faults.error_after, grammar)
    return _SPOILT[fault](reply, grammar) if fault in _SPOILT else reply


def _streamed(reply: Reply, faults: Faults, coalesce: int) -> Iterator[Step]:
    frames, end = reply.frames, End.COMPLETE
    for after, how in ((faults.cut_after, End.CLOSE), (faults.stall_after, End.STALL)):
        if after is not None and after <= reply.output and reply.after(after) < len(frames):
            frames, end = frames[: reply.after(after)], how
    paced = bool(faults.chunk_delay) or not coalesce
    before = head(reply, CHUNKED)
    for number, (joined, tokens) in enumerate(_joined(frames, 0 if paced else coalesce)):
        if number and paced:
            yield Wait(faults.chunk_delay)
        yield Write(before + chunk(joined), tokens)
        before = b""
    if before or end is End.COMPLETE:
        yield Write(before + (LAST_CHUNK if end is End.COMPLETE else b""))
    yield end


def _joined(frames: tuple[Frame, ...], limit: int) -> Iterator[Frame]:
    """Frames in groups of at most `limit` bytes, or of one."""
    group: list[bytes] = []
    size = tokens = 0
    for frame in frames:
        if group and size + len(frame.data) > limit:
            yield Frame(b"".join(group), tokens)
            group, size, tokens = [], 0, 0
        group.append(frame.data)
        size += len(frame.data)
        tokens += frame.tokens
    if group:
        yield Frame(b"".join(group), tokens)


def _whole(reply: Reply, faults: Faults) -> Iterator[Step]:
    before = head(reply, b"content-length: %d" % len(reply.body))
    if faults.cut_after is None and faults.stall_after is None:
        yield Write(before + reply.body, reply.output)
        yield End.COMPLETE
    else:
        yield Write(before + reply.body[: len(reply.body) // 2])
        yield End.CLOSE if faults.stall_after is None else End.STALL


_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


CHUNKED = b"transfer-encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A piece of a body of no known length (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def head(reply: Reply, framing: bytes) -> bytes:
    """The status line and the headers of a reply; `framing` is the one that tells of its length."""
    lines = [b"HTTP/1.1 %d %b" % (reply.status, _PHRASES.get(reply.status, b"Simulated"))]
    lines += [b"%b: %b" % header for header in reply.headers]
    return b"\r\n".join([*lines, framing, b"\r\n"])


# Replies badly written


def _half_head(reply: Reply) -> Iterator[Step]:
    whole = head(reply, CHUNKED)
    yield Write(whole[: len(whole) // 2])
    yield End.CLOSE


def _no_body(reply: Reply) -> Iterator[Step]:
    yield Write(head(reply, CHUNKED))
    yield End.STALL


def _bad_framing(reply: Reply) -> Iterator[Step]:
    """A chunk whose length is no number."""
    yield Write(head(reply, CHUNKED) + b"chunk\r\n")
    yield End.CLOSE


_MISSPELT: dict[str | None, Callable[[Reply], Iterator[Step]]] = {
    "half-head": _half_head,
    "no-body": _no_body,
    "bad-framing": _bad_framing,
}

# Bad replies

Spoil = Callable[[Reply, Grammar], Reply]

_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser.</body></html>\n"


def _instead(body: bytes, kind: bytes = b"application/json") -> Spoil:
    """Another body with the same status: no model has answered, whatever the status says."""

    def spoilt(reply: Reply, grammar: Grammar) -> Reply:
        headers = tuple(header for header in reply.headers if header[0] != b"content-type")
        return Reply(reply.status, ((b"content-type", kind), *headers), body=body, sound=False)

    return spoilt


def _error_in_200(reply: Reply, grammar: Grammar) -> Reply:
    return _instead(orjson.dumps(grammar.refuse("500", 0, "").envelope))(reply, grammar)


def _error_after(reply: Reply, output: int, grammar: Grammar) -> Reply:
    """The stream tells of an error after some output, and ends without its full stop."""
    if not reply.frames:
        return _error_in_200(reply, grammar)
    frames = reply.frames[: reply.after(output)]
    told = sum(frame.tokens for frame in frames)
    return replace(reply, frames=(*frames, Frame(grammar.broken)), output=told, sound=False)


def _error_in_stream(reply: Reply, grammar: Grammar) -> Reply:
    return _error_after(reply, reply.output // 2, grammar)


def _truncated(reply: Reply, grammar: Grammar) -> Reply:
    """Sound HTTP around an answer that stops in the middle of a frame."""
    if not reply.frames:
        return replace(reply, body=reply.body[: len(reply.body) // 2], output=0, sound=False)
    last = reply.after(reply.output // 2)
    before, half = reply.frames[:last], reply.frames[last].data
    told = sum(frame.tokens for frame in before)
    return replace(reply, frames=(*before, Frame(half[: len(half) // 2])), output=told, sound=False)


def _garbage(reply: Reply, grammar: Grammar) -> Reply:
    """Bytes that mean nothing: the whole body, or one event in the middle of a stream that goes on."""
    if not reply.frames:
        return _instead(b'\xff\xfe{"choices": [NaN, \x00')(reply, grammar)
    middle = reply.after(reply.output // 2)
    frames = (*reply.frames[:middle], Frame(grammar.garbage), *reply.frames[middle:])
    return replace(reply, frames=frames, sound=False)


def _bad_coding(reply: Reply, grammar: Grammar) -> Reply:
    """The body is called compressed, and is not."""
    return replace(reply, headers=(*reply.headers, (b"content-encoding", b"gzip")), sound=False)


def _no_done(reply: Reply, grammar: Grammar) -> Reply:
    """The stream ends politely after its last chunk, without its full stop."""
    return replace(reply, frames=reply.frames[: -reply.full_stop], sound=False) if reply.frames else reply


_SPOILT: dict[str | None, Spoil] = {
    "html": _instead(_PAGE, b"text/html; charset=utf-8"),
    "empty": _instead(b""),
    "null": _instead(b"null"),
    "garbage": _garbage,
    "truncated-json": _truncated,
    "bad-coding": _bad_coding,
    "error-in-200": _error_in_200,
    "error-in-stream": _error_in_stream,
    "no-done": _no_done,
}
