"""How a notice is written for the other replicas, and read by them."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Failure
from gateway.ports import Notice
from gateway.store.redis import LONGEST, MESSAGE_LIMIT, MOST_TIMES, NAME_LIMIT, WHYS, decoded, encoded

NAMES = st.text(min_size=1, max_size=NAME_LIMIT)

NOTICES = st.builds(
    Notice,
    provider=NAMES,
    model=NAMES,
    why=st.sampled_from(sorted(WHYS)),
    seconds=st.integers(0, int(LONGEST * 1000)).map(lambda milliseconds: milliseconds / 1000),
    times=st.integers(0, MOST_TIMES),
    asked=st.booleans(),
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)

PARTS = ("from", "provider", "model", "why", "times", "asked")


@given(NOTICES, st.text(max_size=32))
def test_a_notice_is_read_as_it_was_written(notice: Notice, sender: str) -> None:
    message = encoded(notice, sender)
    assert len(message) <= MESSAGE_LIMIT
    assert decoded(message, round(notice.seconds * 1000)) == (sender, notice)


@given(st.binary(), st.binary() | st.integers())
def test_bytes_that_are_no_notice_are_refused(message: bytes, milliseconds: bytes | int) -> None:
    with pytest.raises((ValueError, TypeError)):
        decoded(message, milliseconds)


@given(NOTICES, st.sampled_from(PARTS), ANYTHING)
def test_whatever_one_part_of_a_notice_is_it_is_read_within_its_bounds_or_refused(
    notice: Notice, part: str, value: object
) -> None:
    message = orjson.dumps(orjson.loads(encoded(notice, "x")) | {part: value})
    with suppress(ValueError, TypeError):
        _, read = decoded(message, 1000)
        assert max(len(read.provider), len(read.model)) <= NAME_LIMIT
        assert read.why in WHYS
        assert 0 <= read.times <= MOST_TIMES


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_may_be_the_reason(failure: Failure) -> None:
    _, read = decoded(encoded(Notice("p", "m", failure, 5.0), "x"), 5000)
    assert read.why == failure


def test_more_ejections_in_a_row_than_anybody_counts_are_cut_short_on_both_sides() -> None:
    often = Notice("p", "m", "ejected", 5.0, times=MOST_TIMES + 1)
    written = orjson.loads(encoded(often, "x"))
    assert written["times"] == MOST_TIMES
    _, read = decoded(orjson.dumps(written | {"times": MOST_TIMES + 1}), 5000)
    assert read.times == MOST_TIMES
