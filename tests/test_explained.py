"""What explanations are worded with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import pytest

from gateway.cli.explained import CASES, HANG_UPS, MEANT, PLACES, STRATEGIES, UNSUPPORTED
from gateway.cli.explanation import Kind
from gateway.cli.live import STATES
from gateway.cli.way import Case
from gateway.config.snapshot import OnHangup, Strategy, Unsupported
from gateway.routing.health import Standing


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (MEANT, get_args(Kind)),
        (STRATEGIES, get_args(Strategy)),
        (PLACES, get_args(Strategy)),
        (CASES, get_args(Case)),
        (HANG_UPS, get_args(OnHangup)),
        (UNSUPPORTED, get_args(Unsupported)),
        (STATES, tuple(Standing)),
    ],
)
def test_there_are_words_for_everything_that_can_be_configured(
    words: Mapping[object, object], needed: tuple[object, ...]
) -> None:
    assert set(words) == set(needed)
