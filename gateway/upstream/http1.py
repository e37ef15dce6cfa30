"""
HTTP/1.1 (RFC 9112) in bytes: how a request is spelt and how an answer is read. No sockets, no clock.

Grammar is the parser's business (httptools, which is llhttp in its strict mode). Kept here are the limits it has not
(the size and number of header lines, interim answers), and the framing it is lenient with: an answer whose end two
readers could see in different places is refused, never guessed at.
"""

from __future__ import annotations

import re
from functools import lru_cache

import httptools

from gateway import __version__
from gateway.core.call import Headers, UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.upstream.inflate import CODINGS, Inflater

MAX_HEAD = 64 * 1024
"""Bytes of an answer's head, and of anything after it that is not body: chunk extensions, trailers."""

MAX_HEADER_LINES = 256
"""Real providers send 10 to 40."""

MAX_INTERIM = 16
"""1xx answers before the real one. Real servers send one or two (100, 103)."""

OURS = frozenset(
    {b"", b"accept-encoding", b"connection", b"content-length", b"expect", b"host", b"te", b"trailer"}
    | {b"transfer-encoding", b"upgrade"}
)
"""Header names a request may not bring: they speak of the connection or the framing, which are this side's business."""

_USER_AGENT = f"user-agent: gateway/{__version__}".encode()
_BREAKS = re.compile(rb"[\r\n\0]")
_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]*")
_TARGET = re.compile(r"[!-~]+")
_FRAMING = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
_BODYLESS = frozenset({204, 304})


def request_head(request: UpstreamRequest, target: str, fixed: tuple[bytes, ...]) -> bytes:
    """The head of a request. `fixed` are the lines that all requests to one upstream share.

    Raises ValueError for a line that would be read as two, or as none: what is sent is made by us, so that is a
    mistake of ours and not the upstream's.
    """
    head = _head(request.method, target, request.headers, fixed)
    if request.body or request.method != "GET":
        return head + b"content-length: %d\r\n\r\n" % len(request.body)
    return head + b"\r\n"


@lru_cache(maxsize=512)
def _head(method: str, target: str, headers: Headers, fixed: tuple[bytes, ...]) -> bytes:
    """All but the length: the same for every call to one model at a provider whose credential stays the same."""
    names = {name for name, _ in headers}
    if not names.isdisjoint(OURS) or not _NAMES.fullmatch(b"".join(names)):
        raise ValueError("a header name is reserved, or none at all")
    if not _TARGET.fullmatch(target) or not method.isalpha() or method == "HEAD":
        raise ValueError("a request line that cannot be sent")
    agent = () if b"user-agent" in names else (_USER_AGENT,)
    lines = (f"{method} {target} HTTP/1.1".encode("ascii"), *fixed, *agent, *map(b": ".join, headers))
    if _BREAKS.search(b"".join(lines)):
        raise ValueError("a line break or NUL in a request head")
    return b"\r\n".join(lines) + b"\r\n"


class Answer:
    """One answer, read from its bytes however they are cut. The `on_...` methods belong to the parser."""

    __slots__ = (
        *("_inflater", "_interim", "_lines", "_parser", "_pieces", "_pieces_size", "_since_progress", "_until_close"),
        *("begun", "complete", "headers", "reusable", "status"),
    )

    def __init__(self) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.headers: Headers = ()
        self.begun = False
        """Whether any byte has come."""
        self.complete = False
        """Whether the answer has come to its end. There may still be body to take."""
        self.reusable = False
        """Whether, after its end, the connection is good for another exchange."""
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._lines: list[tuple[bytes, bytes]] = []
        self._interim = 0
        self._since_progress = 0
        self._until_close = False
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        self._inflater: Inflater | None = None

    @property
    def unread(self) -> int:
        """Bytes of the body that are held here, as they came."""
        return self._pieces_size + len(self._inflater.rest if self._inflater else b"")

    def feed(self, data: bytes) -> None:
        """Reads on. Raises UpstreamError; body that came before the fault can still be taken."""
        assert self._parser is not None
        self.begun = True
        self._since_progress += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if not self.complete:
                raise _explained(error) from error
        if self._since_progress > MAX_HEAD and not self.complete:
            # httptools collects a header line of any length in silence, so bytes are counted on this side.
            raise UpstreamError(Failure.MALFORMED, f"{MAX_HEAD} bytes without an end to the head or a byte of the body")

    def end(self) -> None:
        """The upstream closed. Raises UpstreamError unless that is how this answer ends (RFC 9112 section 6.3)."""
        if not self.status:
            raise UpstreamError(
                Failure.UNREACHABLE, f"hung up {'within' if self.begun else 'before'} the head of its answer"
            )
        if not self._until_close:
            raise UpstreamError(Failure.TRUNCATED, "hung up before the end of the body")
        self.complete = True

    def stop(self) -> None:
        """Nothing more will be read. The parser, which knows us as we know it, is let go: no cycle is left behind."""
        self._parser = None

    def take(self) -> bytes:
        """Body that has come since, decoded; nothing when there is none now. Raises UpstreamError."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._pieces_size = 0
        if self._inflater is None:
            return data
        data = self._inflater.step(data)
        if not data and self.complete:
            self._inflater.check_end()
        return data

    def on_message_begin(self) -> None:
        if self.complete:
            raise UpstreamError(Failure.MALFORMED, "bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here too. They count, but are not in `headers`: nothing we act on may come after the body.
        self._lines.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        if len(self._lines) > MAX_HEADER_LINES:
            raise UpstreamError(Failure.MALFORMED, f"more than {MAX_HEADER_LINES} header lines")
        status = self._parser.get_status_code()
        framing = _framing(self._lines)
        if self._since_progress > MAX_HEAD and _size(self._lines) > MAX_HEAD:
            raise UpstreamError(Failure.MALFORMED, f"a head of more than {MAX_HEAD} bytes")
        if 100 <= status < 200:
            self._skip(status, framing)
        else:
            self._accept(status, framing, self._parser.get_http_version())
            self.reusable = self.reusable and self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self._since_progress = 0
        self._pieces.append(data)
        self._pieces_size += len(data)

    def on_message_complete(self) -> None:
        self.complete = self.status > 0

    def _skip(self, status: int, framing: dict[bytes, bytes]) -> None:
        """An interim answer (RFC 9110 section 15.2) is read over, unless it claims a body or another protocol."""
        self._interim += 1
        if status == 101 or framing or self._interim > MAX_INTERIM:
            raise UpstreamError(Failure.MALFORMED, f"an interim answer out of place: {status}")
        self._lines.clear()

    def _accept(self, status: int, framing: dict[bytes, bytes], version: str) -> None:
        if not 200 <= status <= 599 or version not in ("1.0", "1.1"):
            raise UpstreamError(Failure.MALFORMED, f"not an answer of HTTP/1.1: status {status}, version {version}")
        self._decode(framing)
        bodyless = status in _BODYLESS
        delimited = b"content-length" in framing or b"transfer-encoding" in framing
        # Persistence is HTTP/1.1's. A length on an answer without a body is legal (304), but whether body follows
        # after all is the server's secret.
        self.reusable = version == "1.1" and not (bodyless and delimited)
        self._until_close = not bodyless and not delimited
        self._since_progress = 0
        self.status = status

    def _decode(self, framing: dict[bytes, bytes]) -> None:
        """Sets up the reading of the body; what is given as header lines speaks of the body as it is given."""
        if framing.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise UpstreamError(Failure.MALFORMED, f"transfer-encoding: {framing[b'transfer-encoding']!r}")
        coding = framing.get(b"content-encoding", b"").lower()
        if coding not in CODINGS:
            raise UpstreamError(Failure.MALFORMED, f"content-encoding, though identity was asked for: {coding!r}")
        wbits = CODINGS[coding]
        if wbits is not None:
            self._inflater = Inflater(wbits)
            self._lines = [line for line in self._lines if line[0] not in (b"content-encoding", b"content-length")]
        self.headers = tuple(self._lines)


def _framing(lines: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The lines that say where the body ends and how it is coded; repeated ones as a list (RFC 9110 section 5.3)."""
    framing: dict[bytes, bytes] = {}
    for name, value in lines:
        if name in _FRAMING:
            framing[name] = framing[name] + b", " + value if name in framing else value
    return framing


def _size(lines: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in lines)


def _explained(error: Exception) -> UpstreamError:
    """What the parser stumbled over, in our words. What one of our own methods raised is in its context."""
    if isinstance(error.__context__, UpstreamError):
        return error.__context__
    return UpstreamError(Failure.MALFORMED, f"not HTTP: {error}")
