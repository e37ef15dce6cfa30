"""AWS event streams: bytes in, messages out. No IO.

A message is binary: a prelude (its length, the length of its headers, a checksum of the two), headers with types, a
payload, and a checksum of it all. So a stream that lost or changed a byte is found out, wherever that was.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from gateway.core.errors import Failure, UpstreamError, malformed

PAYLOAD_LIMIT = 24 * 2**20
HEADERS_LIMIT = 128 * 2**10
"""Bytes. The two limits are those of the format itself (Smithy's description of it)."""

_PRELUDE = Struct(">III")
_CHECKSUM = Struct(">I")
_AROUND = _PRELUDE.size + _CHECKSUM.size
"""Bytes of a message that are neither headers nor payload."""

HeaderValue = bool | int | bytes | str | datetime | UUID


class Message(NamedTuple):
    """One message."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class Messages:
    """Reads messages out of bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete. Raises UpstreamError at the first that is not whole and sound."""
        self._pending += data
        while (message := self._next()) is not None:
            yield message

    @property
    def at_rest(self) -> bool:
        """Whether nothing has come of the next message."""
        return not self._pending

    def _next(self) -> Message | None:
        pending = self._pending
        if len(pending) < _PRELUDE.size:
            return None
        total, headers_size, checksum = _PRELUDE.unpack_from(pending)
        if crc32(pending[:8]) != checksum:  # a wrong length would have us wait for bytes that never come
            raise UpstreamError(Failure.MALFORMED, "a prelude whose checksum is wrong")
        _check_lengths(headers_size, total - headers_size - _AROUND)
        if len(pending) < total:
            return None
        covered = bytes(pending[: total - _CHECKSUM.size])
        (checksum,) = _CHECKSUM.unpack_from(pending, len(covered))
        del pending[:total]
        if crc32(covered) != checksum:
            raise UpstreamError(Failure.MALFORMED, "a message whose checksum is wrong")
        end = _PRELUDE.size + headers_size
        return Message(_headers(covered[_PRELUDE.size : end]), covered[end:])


def _check_lengths(headers: int, payload: int) -> None:
    if headers > HEADERS_LIMIT or not 0 <= payload <= PAYLOAD_LIMIT:
        raise UpstreamError(Failure.MALFORMED, f"a message of {payload} bytes with {headers} bytes of headers")


@lru_cache(maxsize=64)
def _headers(block: bytes) -> Mapping[str, HeaderValue]:
    """The headers of a message. Kept, because the messages of a stream share a handful of such blocks."""
    headers: dict[str, HeaderValue] = {}
    at = 0
    with malformed("the headers of a message"):
        while at < len(block):
            end = at + 1 + block[at]
            name = block[at + 1 : end].decode()
            headers[name], at = _READERS[block[end]](block, end + 1)
    return MappingProxyType(headers)


# Header values, by the number of their type: each reader gives the value at a place, and the place behind it.

_Reader = Callable[[bytes, int], tuple[HeaderValue, int]]
_LENGTH = Struct(">H")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _constant(value: bool) -> _Reader:
    return lambda block, at: (value, at)


def _integer(size: int) -> _Reader:
    return lambda block, at: (int.from_bytes(_taken(block, at, size), signed=True), at + size)


def _bytes(block: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack(_taken(block, at, _LENGTH.size))
    return _taken(block, at + _LENGTH.size, length), at + _LENGTH.size + length


def _string(block: bytes, at: int) -> tuple[str, int]:
    value, at = _bytes(block, at)
    return value.decode(), at


def _timestamp(block: bytes, at: int) -> tuple[datetime, int]:
    """Milliseconds since 1970. Outside of the years 1 to 9999 it is no time, and a ValueError."""
    milliseconds = int.from_bytes(_taken(block, at, 8), signed=True)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds), at + 8
    except OverflowError as error:
        raise ValueError("a time that no calendar has") from error


def _uuid(block: bytes, at: int) -> tuple[UUID, int]:
    return UUID(bytes=_taken(block, at, 16)), at + 16


def _taken(block: bytes, at: int, size: int) -> bytes:
    """So many bytes, and never fewer."""
    if at + size > len(block):
        raise ValueError("a header is cut short")
    return block[at : at + size]


_READERS: tuple[_Reader, ...] = (
    _constant(True),
    _constant(False),
    _integer(1),
    _integer(2),
    _integer(4),
    _integer(8),
    _bytes,
    _string,
    _timestamp,
    _uuid,
)
