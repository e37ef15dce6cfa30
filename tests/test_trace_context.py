from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.trace_context import Caller, Trace, caller

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def test_the_specifications_example_is_read() -> None:
    assert caller(PARENT) == Caller(TRACE, SPAN, sampled=True)
    assert caller(b" " + PARENT[:-2] + b"00\t") == Caller(TRACE, SPAN, sampled=False)


def test_only_the_last_bit_of_the_flags_says_that_somebody_is_told() -> None:
    assert caller(PARENT[:-2] + b"03") == Caller(TRACE, SPAN, sampled=True)
    assert caller(PARENT[:-2] + b"fe") == Caller(TRACE, SPAN, sampled=False)


def test_a_later_version_may_say_more() -> None:
    assert caller(b"01" + PARENT[2:] + b"-and-more") == Caller(TRACE, SPAN, sampled=True)
    assert caller(b"01" + PARENT[2:] + b"more") is None


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"00",
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-",
        PARENT.upper(),
        PARENT.replace(b"-", b"_"),
        b"ff" + PARENT[2:],
        PARENT.replace(b"b7ad6b7169203331", bytes(b"0" * 16)),
        PARENT.replace(b"0af7651916cd43dd8448eb211c80319c", b"0" * 32),
        PARENT + b"," + PARENT,
        PARENT + b"\n",
    ],
)
def test_who_sends_a_malformed_parent_is_taken_for_nobody(malformed: bytes) -> None:
    assert caller(malformed, b"a=1") is None


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_is_sent_is_read_without_a_crash(parent: bytes, state: bytes) -> None:
    assert caller(parent, state) is None or parent.strip()
    read = caller(PARENT, state)
    assert read is not None
    assert all(key and value for key, value in read.state)


def test_the_state_keeps_its_order() -> None:
    read = caller(PARENT, b"rojo=00f067aa0ba902b7 , tenant@sys=t61rcWkgMzE,,b/c*=x y")
    assert read is not None
    assert read.state == (("rojo", "00f067aa0ba902b7"), ("tenant@sys", "t61rcWkgMzE"), ("b/c*", "x y"))


@pytest.mark.parametrize(
    "malformed",
    [
        b"a",
        b"=1",
        b"A=1",
        b"a=",
        b"a=1=2",
        b"a=1,b",
        b"a=1,a=2",
        b"a=\xe9",
        b",".join(b"a%d=1" % n for n in range(33)),
        b"a=" + b"x" * 257,
    ],
)
def test_a_malformed_state_is_left_out_and_the_parent_counts_all_the_same(malformed: bytes) -> None:
    assert caller(PARENT, malformed) == Caller(TRACE, SPAN, sampled=True)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_sent_on_is_read_as_it_was_meant(trace: int, span: int, sampled: bool) -> None:
    sent = Trace(trace, 1, sampled, lambda: span).parent(span)
    assert caller(sent) == Caller(trace, span, sampled)
