"""In which order a model's targets are tried. Pure: chance, time and health are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from math import log1p
from typing import NamedTuple

from gateway.config.snapshot import Model, Strategy
from gateway.core.call import Call, Target
from gateway.ports import Random
from gateway.routing.affinity import prefix
from gateway.routing.health import Health

UNKNOWN_OUTPUT = 1024
"""Tokens of an answer whose length the client does not bound."""


class Choice(NamedTuple):
    """A target that may be chosen."""

    target: Target
    weight: float
    health: Health


class View(NamedTuple):
    """What a choice may depend on, besides the targets."""

    call: Call
    model: Model
    now: float
    random: Random


Order = Callable[[Sequence[Choice], View], list[Choice]]


def ordered(choices: Sequence[Choice], view: View) -> list[Choice]:
    """As they were written."""
    return list(choices)


def weighted(choices: Sequence[Choice], view: View) -> list[Choice]:
    """Drawn without putting back, so that each target comes first as often as its share of the weights.

    Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): sorting by u ** (1 / weight), here by
    its logarithm, since of small weights nothing would be left. Where a conversation is to stay with its target, `u`
    follows from the two: that is rendezvous hashing, which needs no memory and comes to the same in every replica.
    """
    draw = _drawn_by(prefix(view.call.body)) if view.model.sticky else lambda choice: view.random()
    return sorted(choices, key=lambda choice: -log1p(-draw(choice)) / choice.weight)


def least_busy(choices: Sequence[Choice], view: View) -> list[Choice]:
    """The less busy of two that were drawn, then the others: "The power of two choices" (Mitzenmacher, 2001).

    To send everything to the one that is least busy would be worse: those who decide at once would all choose the same.
    """
    drawn = weighted(choices, view)
    return [*sorted(drawn[:2], key=_load), *sorted(drawn[2:], key=_load)]


def fastest(choices: Sequence[Choice], view: View) -> list[Choice]:
    """By the time to the first token as it was lately, times the calls under way there: Finagle's peak EWMA.

    Of one that is not known, one call finds out: until that has an answer, all others would follow it into the unknown.
    """

    def cost(choice: Choice) -> tuple[bool, float]:
        under_way, speed = choice.health.in_flight, choice.health.speed(view.now)
        return (False, speed * (under_way + 1)) if speed else (under_way > 0, float(under_way))

    return sorted(weighted(choices, view), key=cost)


def cheapest(choices: Sequence[Choice], view: View) -> list[Choice]:
    """By what this call is likely to cost there. Those without a price come last."""
    asked = view.call.size / 4
    answered = _bound(view.call.body.get("max_completion_tokens") or view.call.body.get("max_tokens"))

    def cost(choice: Choice) -> float:
        price = choice.target.price
        return asked * price.input + answered * price.output if price else float("inf")

    return sorted(weighted(choices, view), key=cost)


STRATEGIES: Mapping[Strategy, Order] = {
    "ordered": ordered,
    "weighted": weighted,
    "least_busy": least_busy,
    "fastest": fastest,
    "cheapest": cheapest,
}


def order(choices: Sequence[Choice], view: View) -> list[Choice]:
    """The targets that may be chosen, first choice first. One that has just come back gets its share of calls only."""
    in_order = STRATEGIES[view.model.strategy](choices, view)
    return sorted(in_order, key=lambda choice: _must_wait(choice, view))


def _must_wait(choice: Choice, view: View) -> bool:
    share = choice.health.share(view.now, view.model.breaker)
    return share < 1.0 and view.random() >= share


def _load(choice: Choice) -> float:
    return (choice.health.in_flight + 1) / choice.weight


def _drawn_by(conversation: bytes) -> Callable[[Choice], float]:
    def draw(choice: Choice) -> float:
        place = f"{choice.target.provider}\0{choice.target.model}".encode()
        return int.from_bytes(blake2b(conversation + place, digest_size=6).digest()) / 2**48

    return draw


def _bound(tokens: object) -> float:
    return float(tokens) if isinstance(tokens, int | float) and tokens > 0 else UNKNOWN_OUTPUT
