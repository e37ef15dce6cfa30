"""How faults are asked for, on the command line and in a header."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.faults import NAMED, Faults, Unreadable, override, read


def test_the_command_lines_values_are_read() -> None:
    assert read(
        fail=["429:0.2", "reset:10%"], first_token_delay="300ms", chunk_delay="1.5s", cut_after=3, stall_after=0
    ) == Faults(fail=(("429", 0.2), ("reset", 0.1)), first_token_delay=0.3, chunk_delay=1.5, cut_after=3, stall_after=0)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"fail": ["resett"]}, "`resett` is not a fault; did you mean `reset`?"),
        ({"fail": ["200"]}, "write a status from 400 to 599, or one of reset, close"),
        ({"fail": ["429:2"]}, "`429:2`: the share `2` is not a number from 0 to 1"),
        ({"fail": ["429:"]}, "`429:`: the share `` is not a number"),
        ({"fail": ["429:0.7", "500:0.7"]}, "--fail: the shares add up to 1.4"),
        ({"first_token_delay": "300"}, "--first-token-delay: `300` is not a duration, such as 300ms or 5s"),
        ({"chunk_delay": "-1s"}, "--chunk-delay: `-1s` is not a duration"),
        ({"cut_after": -1}, "--cut-after: `-1` is not a number of chunks"),
    ],
)
def test_an_unreadable_value_is_explained(values: Any, complaint: str) -> None:
    with pytest.raises(Unreadable) as error:
        read(**values)
    assert complaint in str(error.value)


@pytest.mark.parametrize("name", NAMED)
def test_each_fault_can_be_asked_for_by_name(name: str) -> None:
    assert read(fail=[name]).pick(0.999) == name


def test_none_takes_all_faults_away() -> None:
    assert override(read(fail=["500"], cut_after=3), "none") == Faults()


@given(st.text())
def test_any_text_is_read_or_explained(text: str) -> None:
    with suppress(Unreadable):
        override(Faults(), text)
