"""Writes AWS event streams, for tests of what reads them. It shares no code with the reader."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson


def frame(headers: Mapping[str, Any], payload: bytes) -> bytes:
    """One message."""
    block = b"".join(bytes([len(name.encode())]) + name.encode() + _value(value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return body + struct.pack(">I", zlib.crc32(body))


def event(kind: str, told: Any) -> bytes:
    """One event, as Bedrock sends it."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, orjson.dumps(told))


def exception(kind: str, message: str) -> bytes:
    """A failure, as Bedrock tells it within a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, orjson.dumps({"message": message}))


class Int8(int):
    """A header value of one byte. Other whole numbers are written with eight."""


class Int16(int):
    """A header value of two bytes."""


class Int32(int):
    """A header value of four bytes."""


def _value(value: Any) -> bytes:
    match value:
        case True | False:
            return bytes([not value])
        case Int8():
            return b"\x02" + struct.pack(">b", value)
        case Int16():
            return b"\x03" + struct.pack(">h", value)
        case Int32():
            return b"\x04" + struct.pack(">i", value)
        case int():
            return b"\x05" + struct.pack(">q", value)
        case bytes():
            return b"\x06" + struct.pack(">H", len(value)) + value
        case str():
            return b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        case datetime():
            return b"\x08" + struct.pack(">q", round(value.timestamp() * 1000))
        case UUID():
            return b"\x09" + value.bytes
    raise TypeError(type(value))
