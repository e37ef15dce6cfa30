"""
What a simulator does wrong, and how a person asks for it.

On the command line: `--fail 429:0.2 --first-token-delay 300ms --chunk-delay 10ms --cut-after 5 --stall-after 5`. In
the header `x-simulate-fault` of one request the same words, separated by commas: `reset`, `cut-after:5`,
`429, retry-after:7`, or `none`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

ERRORS = ("insufficient-quota", "context-length", "content-filter")
"""Errors that each API has, beside those that are a status."""

NAMED = (
    "reset",
    "close",
    "silent",
    "not-http",
    "half-head",
    "no-body",
    "bad-framing",
    "bad-coding",
    "html",
    "empty",
    "null",
    "garbage",
    "truncated-json",
    "error-in-200",
    "error-in-stream",
    "no-done",
    *ERRORS,
)
"""Faults that are not a status. `gateway.simulator.script` says what each does."""


def is_error(fault: str) -> bool:
    """Whether a fault is an error that the API tells of, in its own words."""
    return fault in ERRORS or fault not in NAMED


class Unreadable(ValueError):
    """A setting that makes no sense; the message is for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and how often. Delays are in seconds."""

    fail: tuple[tuple[str, float], ...] = ()
    """Statuses or named faults, each with the share of requests that meet it."""
    first_token_delay: float = 0.0
    """Silence before the head of an answer."""
    chunk_delay: float = 0.0
    """Silence before each further chunk of a stream."""
    cut_after: int | None = None
    """Output chunks after which the connection is closed; a whole answer is closed halfway."""
    stall_after: int | None = None
    """Output chunks after which nothing more comes; a whole answer stops halfway."""
    error_after: int | None = None
    """Output chunks after which a stream tells of an error and ends."""
    retry_after: float | None = None
    """Seconds that an error asks to wait. None: one second with the status 429, and no word of it with any other."""

    def pick(self, chance: float) -> str | None:
        """The fault that a request meets, for a random number in [0, 1)."""
        for fault, share in self.fail:
            chance -= share
            if chance < 0:
                return fault
        return None


def read(
    *,
    fail: Iterable[str] = (),
    first_token_delay: str | None = None,
    chunk_delay: str | None = None,
    cut_after: int | None = None,
    stall_after: int | None = None,
) -> Faults:
    """The command line's values. Raises Unreadable."""
    failures = tuple(_failure(text) for text in fail)
    if (total := sum(share for _, share in failures)) > 1 + 1e-9:
        raise Unreadable(f"--fail: the shares add up to {total:g}, which is more than 1")
    return Faults(
        fail=failures,
        first_token_delay=_duration("--first-token-delay", first_token_delay or "0s"),
        chunk_delay=_duration("--chunk-delay", chunk_delay or "0s"),
        cut_after=None if cut_after is None else _count("--cut-after", str(cut_after)),
        stall_after=None if stall_after is None else _count("--stall-after", str(stall_after)),
    )


def override(faults: Faults, text: str) -> Faults:
    """The faults of one request, whose header says `text`. Raises Unreadable."""
    for word in text.split(","):
        name, _, value = word.strip().partition(":")
        if name == "none":
            faults = Faults()
        elif name in _SETTINGS:
            faults = replace(faults, **{name.replace("-", "_"): _SETTINGS[name](name, value)})
        else:
            faults = replace(faults, fail=(_failure(word.strip()),))
    return faults


def _failure(text: str) -> tuple[str, float]:
    name, colon, share = text.partition(":")
    return _fault(name), _share(text, share) if colon else 1.0


def _fault(name: str) -> str:
    if name in NAMED or re.fullmatch("[45][0-9][0-9]", name):
        return name
    close = get_close_matches(name, [*NAMED, *_SETTINGS, "none"], 1)
    hint = f"did you mean `{close[0]}`?" if close else f"write a status from 400 to 599, or one of {', '.join(NAMED)}"
    raise Unreadable(f"`{name}` is not a fault; {hint}")


def _share(text: str, share: str) -> float:
    number = re.fullmatch(r"([0-9]*\.?[0-9]+)(%?)", share)
    value = float(number[1]) / (100 if number[2] else 1) if number else -1.0
    if not 0 <= value <= 1:
        raise Unreadable(f"`{text}`: the share `{share}` is not a number from 0 to 1, such as 0.2 or 20%")
    return value


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _duration(name: str, text: str) -> float:
    number = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)", text)
    if number is None:
        raise Unreadable(f"{name}: `{text}` is not a duration, such as 300ms or 5s")
    return float(number[1]) * _UNITS[number[2]]


def _count(name: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise Unreadable(f"{name}: `{text}` is not a number of chunks, such as 5")
    return int(text)


def _seconds(name: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        raise Unreadable(f"{name}: `{text}` is not a number of seconds, such as 7")
    return float(text)


_SETTINGS: dict[str, Callable[[str, str], Any]] = {
    "first-token-delay": _duration,
    "chunk-delay": _duration,
    "cut-after": _count,
    "stall-after": _count,
    "error-after": _count,
    "retry-after": _seconds,
}
