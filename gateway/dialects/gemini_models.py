"""What differs between Gemini's generations of models: rows of facts, found by a model's name. Pure.

https://ai.google.dev/gemini-api/docs/openai#thinking
https://ai.google.dev/gemini-api/docs/thinking
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple


class Family(NamedTuple):
    """Models that take the same requests."""

    thinking: Mapping[str, int | str]
    """`reasoning_effort` to a `thinkingBudget` (in tokens) or a `thinkingLevel`; empty for models that do not think."""
    signed: bool = False
    """Whether a tool call that comes back without its signature is refused."""
    rich_results: bool = False
    """Whether a tool's result may hold pictures."""


BUDGETS: Mapping[str, int | str] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
}
LEVELS: Mapping[str, int | str] = {
    "none": "MINIMAL",  # thinking cannot be turned off any more
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
}
"""Google's own table, from its OpenAI endpoint, and the nearest there is for what is not in it."""

FAMILIES: tuple[tuple[re.Pattern[str], Family], ...] = tuple(
    (re.compile(rf"(?:.*/)?gemini-{name}"), family)
    for name, family in (
        (r"2\.5-pro", Family({**BUDGETS, "none": 128})),  # its least
        (r"2\.5-", Family(BUDGETS)),
        (r"3-pro", Family({**LEVELS, "none": "LOW", "minimal": "LOW", "medium": "HIGH"}, True, True)),
        (r"(?:(?:[3-9]|\d\d)\S*-)?pro", Family({**LEVELS, "none": "LOW", "minimal": "LOW"}, True, True)),
        (r"(?:[3-9]|\d\d|flash)", Family(LEVELS, True, True)),  # also `gemini-flash-latest`
    )
)
OTHERS = Family({})
"""Older models, and those that are no Gemini."""


@lru_cache(maxsize=256)
def family_of(model: str) -> Family:
    """The family of a model, by the provider's own name for it, with or without a path before it."""
    return next((family for name, family in FAMILIES if name.match(model)), OTHERS)
