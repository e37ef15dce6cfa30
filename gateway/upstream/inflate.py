"""
Content codings (RFC 9110 section 8.4.1), undone a bounded step at a time.

We ask every upstream for `identity`; some servers, and proxies on the way, compress all the same. What a compressed
body grows to is unknown until it has been read, so no step gives more than `STEP` bytes: a reader that stops early
has paid for no more than it saw.
"""

from __future__ import annotations

import zlib

from gateway.core.errors import Failure, UpstreamError

STEP = 256 * 1024
"""Bytes that one step gives at most."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""zlib's names (`wbits`) for its three formats."""


class Inflater:
    """Undoes `gzip` or `deflate`. The codings it knows are in `CODINGS`."""

    __slots__ = ("_decoder", "_full", "_wbits", "rest")

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._decoder: zlib._Decompress | None = None
        self._full = False
        self.rest = b""
        """What came in and has not been looked at yet."""

    def step(self, data: bytes) -> bytes:
        """The next bytes of the body: all that can be had from what came so far, or `STEP` of them."""
        data = self.rest + data
        if not data and not self._full:
            return b""
        if self._decoder is None:
            self._decoder = zlib.decompressobj(self._format(data[0]))
        try:
            out = self._decoder.decompress(data, STEP)
        except zlib.error as error:
            raise UpstreamError(Failure.MALFORMED, f"the compressed body is damaged: {error}") from error
        if self._decoder.unused_data:
            raise UpstreamError(Failure.MALFORMED, "bytes after the end of the compressed body")
        self.rest = self._decoder.unconsumed_tail
        # zlib may hold finished bytes back although it has taken all its input: only a step short of full is the last.
        self._full = len(out) == STEP
        return out

    def check_end(self) -> None:
        """For when the body is over. Raises UpstreamError where the coding says that more belongs to it."""
        if self._decoder is not None and not self._decoder.eof:
            raise UpstreamError(Failure.TRUNCATED, "the compressed body was cut short")

    def _format(self, first: int) -> int:
        """`deflate` is zlib's format, but some servers send the bare stream. Zlib's begins with method 8 (RFC 1950)."""
        return _RAW if self._wbits == _ZLIB and first & 0x0F != 8 else self._wbits


CODINGS: dict[bytes, int | None] = {
    b"": None,
    b"identity": None,
    b"gzip": _GZIP,
    b"x-gzip": _GZIP,
    b"deflate": _ZLIB,
}
"""Content codings we can read, as what an `Inflater` needs to know of them. None: nothing to undo."""
