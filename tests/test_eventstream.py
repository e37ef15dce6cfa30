"""AWS event streams are read as AWS's own reader reads them, however they are cut; a damaged one is found out."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Failure, UpstreamError
from gateway.wire.eventstream import HEADERS_LIMIT, PAYLOAD_LIMIT, Message, Messages
from tests.eventstream_frames import Int8, Int16, Int32, frame

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
values: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.integers(-(2**7), 2**7 - 1).map(Int8),
    st.integers(-(2**15), 2**15 - 1).map(Int16),
    st.integers(-(2**31), 2**31 - 1).map(Int32),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=20),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.uuids(),
)
headers = st.dictionaries(names, values, max_size=4)
messages = st.tuples(headers, st.binary(max_size=60))

NOTE = frame({":event-type": "note"}, b"high water")


def read(pieces: list[bytes]) -> list[Message]:
    reader = Messages()
    return [message for piece in pieces for message in reader.feed(piece)]


@given(st.lists(messages, max_size=4))
def test_what_is_written_is_read(told: list[tuple[dict[str, Any], bytes]]) -> None:
    assert read([b"".join(frame(*one) for one in told)]) == told


@given(st.lists(messages, min_size=1, max_size=3))
def test_aws_reads_the_same(told: list[tuple[dict[str, Any], bytes]]) -> None:
    stream = b"".join(frame(*one) for one in told)
    theirs: Any = EventStreamBuffer()
    theirs.add_data(stream)
    expected = [
        ({name: value.bytes if isinstance(value, UUID) else value for name, value in one.headers.items()}, one.payload)
        for one in read([stream])
    ]
    assert [(dict(one.headers), one.payload) for one in theirs] == expected


@given(st.lists(messages, max_size=3), st.data())
def test_how_the_bytes_are_cut_does_not_matter(told: list[tuple[dict[str, Any], bytes]], chance: st.DataObject) -> None:
    stream = b"".join(frame(*one) for one in told)
    cuts = sorted(chance.draw(st.sets(st.integers(0, len(stream)))))
    assert read([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]) == told


@given(messages, st.data())
def test_one_wrong_bit_anywhere_is_found(told: tuple[dict[str, Any], bytes], chance: st.DataObject) -> None:
    damaged = bytearray(frame(*told))
    bit = chance.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UpstreamError) as failed:
        read([bytes(damaged)])
    assert failed.value.failure is Failure.MALFORMED


def test_a_time_is_in_milliseconds() -> None:
    when = datetime(2026, 3, 1, 14, 10, 0, 250_000, tzinfo=UTC)
    assert read([frame({"when": when}, b"")]) == [Message({"when": when}, b"")]


def test_what_came_before_a_damaged_message_is_told() -> None:
    reader = Messages().feed(NOTE + NOTE[:-1] + b"?")
    assert next(reader).payload == b"high water"
    with pytest.raises(UpstreamError):
        next(reader)


def test_it_is_known_whether_a_message_has_begun() -> None:
    reader = Messages()
    assert reader.at_rest
    assert list(reader.feed(NOTE[:5])) == []
    assert not reader.at_rest
    assert len(list(reader.feed(NOTE[5:]))) == 1
    assert reader.at_rest


@pytest.mark.parametrize(
    ("total", "headers_size"),
    [
        (0, 0),
        (15, 0),
        (20, 5),
        (HEADERS_LIMIT + 100, HEADERS_LIMIT + 1),
        (PAYLOAD_LIMIT + 17, 0),
        (2**32 - 1, 0),
    ],
)
def test_a_length_that_cannot_be_is_refused_at_once(total: int, headers_size: int) -> None:
    prelude = struct.pack(">II", total, headers_size)
    with pytest.raises(UpstreamError) as failed:
        read([prelude + struct.pack(">I", zlib.crc32(prelude))])
    assert failed.value.failure is Failure.MALFORMED


@pytest.mark.parametrize(
    "block",
    [
        b"\x05when",  # a name cut short
        b"\x04when",  # no type
        b"\x04when\x0a",  # a type that does not exist
        b"\x04when\x05\x00",  # a number cut short
        b"\x04when\x07\x00\x09tide",  # a text cut short
        b"\x04when\x07\x00",  # not even its length
        b"\x01\xff\x00",  # a name that is no text
        b"\x04when\x08\x7f" + b"\xff" * 7,  # a time that no calendar has
    ],
)
def test_headers_that_make_no_sense_are_the_upstreams_failure(block: bytes) -> None:
    prelude = struct.pack(">II", 16 + len(block), len(block))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + block
    with pytest.raises(UpstreamError) as failed:
        read([body + struct.pack(">I", zlib.crc32(body))])
    assert failed.value.failure is Failure.MALFORMED


@given(st.binary(min_size=12))
def test_garbage_is_the_upstreams_failure(garbage: bytes) -> None:
    with pytest.raises(UpstreamError) as failed:
        read([garbage])
    assert failed.value.failure is Failure.MALFORMED
