"""
Amazon's event stream encoding, as far as Bedrock's answers need it: events with text headers and a JSON payload.

A message is its total length, the length of its headers, a checksum of both, the headers, the payload and a checksum of
all: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html.
"""

from __future__ import annotations

import struct
import zlib

TEXT = 7
"""The type of a header whose value is text."""


def event(kind: str, payload: bytes) -> bytes:
    """One event of the answer."""
    return message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, payload: bytes) -> bytes:
    """An error inside the stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, payload)


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message, framed."""
    head = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def _header(name: bytes, value: bytes) -> bytes:
    return b"%c%b%c%b%b" % (len(name), name, TEXT, struct.pack(">H", len(value)), value)
