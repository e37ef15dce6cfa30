"""Which target next? A pure generator: it yields attempts and is told how each one failed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple

from gateway.config.snapshot import Model
from gateway.core.call import Target
from gateway.core.errors import RULES, Failure, UpstreamError
from gateway.ports import Random
from gateway.routing.balance import order

BACKOFF_BASE = 0.5
BACKOFF_CAP = 8.0
"""Seconds. The same target gets time to recover; full jitter keeps calls that failed together apart."""


class Attempt(NamedTuple):
    """One try at one target, after waiting `delay` seconds. `number` counts from 1."""

    model: Model
    target: Target
    number: int
    delay: float = 0.0


def attempts(
    model: Model, lookup: Callable[[str], Model | None], random: Random
) -> Generator[Attempt, UpstreamError, None]:
    """Attempts for a call to `model`: its targets, then those of its fallbacks, none of them visited twice.

    Send in the failure of each attempt; the generator returns when nothing more may be tried.
    """
    number = 0
    for candidate, target in _candidates(model, lookup, random):
        tries, delay = 0, 0.0
        while True:
            number, tries = number + 1, tries + 1
            failure = yield Attempt(candidate, target, number, delay)
            rule = RULES[failure.failure]
            if number >= model.attempts:
                return
            if tries > rule.again:
                break
            delay = _backoff(tries, failure, random)
        if not rule.elsewhere:
            return


def _candidates(model: Model, lookup: Callable[[str], Model | None], random: Random) -> Iterable[tuple[Model, Target]]:
    if len(model.targets) == 1 and not model.fallbacks:  # most models are like this
        return ((model, model.targets[0]),)
    return _all_candidates(model, lookup, random)


def _all_candidates(
    model: Model, lookup: Callable[[str], Model | None], random: Random
) -> Iterator[tuple[Model, Target]]:
    seen: set[tuple[str, str]] = set()
    for candidate in (model, *(found for name in model.fallbacks if (found := lookup(name)))):
        for target in order(candidate, random):
            if (target.provider, target.model) not in seen:
                seen.add((target.provider, target.model))
                yield candidate, target


def _backoff(tries: int, failure: UpstreamError, random: Random) -> float:
    if failure.failure is Failure.UNREACHABLE:  # nothing was asked yet, so nothing needs time to recover
        return 0.0
    return random() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** (tries - 1))
