"""Server-sent events are read as the HTML standard has it, and kept as they came."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Failure, UpstreamError
from gateway.wire.sse import EVENT_LIMIT, Frame, Frames


def read(*pieces: bytes) -> list[Frame]:
    frames = Frames()
    return [frame for piece in pieces for frame in frames.feed(piece)] + frames.end()


def said(*pieces: bytes) -> list[bytes | None]:
    return [frame.data for frame in read(*pieces)]


def test_events_that_come_together_are_told_apart() -> None:
    assert said(b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n') == [b'{"a":1}', b'{"b":2}', b"[DONE]"]


def test_an_event_is_told_as_soon_as_its_blank_line_is_there() -> None:
    frames = Frames()
    assert frames.feed(b"data: ebb\n") == []
    assert [frame.data for frame in frames.feed(b"\n")] == [b"ebb"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_lines_end_at_lf_crlf_and_cr(line_end: bytes) -> None:
    stream = b"event: tide\ndata: ebb\ndata: flood\n\n: wait\n\ndata: slack\n\n".replace(b"\n", line_end)
    assert [(frame.event, frame.data) for frame in read(stream)] == [
        (b"tide", b"ebb\nflood"),
        (b"", None),
        (b"", b"slack"),
    ]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_no_other_character_ends_a_line(mark: str) -> None:
    assert said(f"data: high{mark}water\n\n".encode()) == [f"high{mark}water".encode()]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"data:x", b"x"),
        (b"data: x", b"x"),
        (b"data:  x", b" x"),
        (b"data:", b""),
        (b"data", b""),
        (b"data: a: b", b"a: b"),
    ],
)
def test_one_space_after_the_colon_is_not_part_of_the_value(line: bytes, data: bytes) -> None:
    assert said(line + b"\n\n") == [data]
    assert said(line + b"\r\n\r\n") == [data]


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert said(b"data: ebb\n\ndata: [DONE]") == [b"ebb", b"[DONE]"]
    assert said(b"data: ebb\n\ndata: [DONE]\n") == [b"ebb", b"[DONE]"]


def test_a_byte_order_mark_at_the_start_is_skipped() -> None:
    (frame,) = read(b"\xef\xbb\xbfdata: ebb\n\n")
    assert frame.data == b"ebb"
    assert not frame.plain


def test_blank_lines_alone_say_nothing() -> None:
    assert said(b"\n\n\r\n\r\n\r\r\n\ndata: ebb\n\n\n\n") == [b"ebb"]


def test_only_data_and_comments_are_plain() -> None:
    plain = [
        frame.plain for frame in read(b": wait\n\n: a\ndata: b\n\nid: 1\ndata: c\n\nretry: 5\n\nevent: x\ndata: d\n\n")
    ]
    assert plain == [True, True, False, False, False]


def test_a_frame_keeps_its_exact_bytes() -> None:
    stream = b": wait\r\n\r\ndata:x\n\nevent: y\rdata: z\r\rdata: last"
    assert b"".join(frame.raw for frame in read(stream)) == stream


lines = st.sampled_from(
    [b"data: ebb", b"data:", b": wait", b"id: 7", b"event: tide", b"", b"data: \xe2\x80\xa8", b"\xff"]
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, line_ends)), st.data())
def test_how_the_network_cuts_the_bytes_does_not_matter(
    written: list[tuple[bytes, bytes]], chance: st.DataObject
) -> None:
    stream = b"".join(line + end for line, end in written)
    cuts = sorted(chance.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = [(frame.data, frame.event, frame.plain) for frame in read(stream)]
    assert [(frame.data, frame.event, frame.plain) for frame in read(*pieces)] == whole


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(UpstreamError) as failed:
        read(*[b"x" * 2**20] * (EVENT_LIMIT // 2**20 + 1))
    assert failed.value.failure is Failure.MALFORMED


def test_an_event_over_the_limit_is_refused_however_it_comes() -> None:
    with pytest.raises(UpstreamError):
        read(b"data: " + b"x" * EVENT_LIMIT + b"\n\n")


def test_a_large_event_in_many_pieces_takes_time_in_proportion() -> None:
    def seconds(size: int) -> float:
        started = perf_counter()
        assert len(said(b"data: ", *[b"x" * 64] * (size // 64), b"\n\n")[0] or b"") == size
        return perf_counter() - started

    small = min(seconds(2**18) for _ in range(3))
    assert min(seconds(2**22) for _ in range(2)) < 16 * 5 * small  # 256 times as long, if each piece cost a copy of all
