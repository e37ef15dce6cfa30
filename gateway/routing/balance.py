"""In which order a model's targets are tried. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.config.snapshot import Model, Strategy
from gateway.core.call import Target
from gateway.ports import Random


def ordered(model: Model, random: Random) -> tuple[Target, ...]:
    """As they were written."""
    return model.targets


def weighted(model: Model, random: Random) -> tuple[Target, ...]:
    """Drawn without putting back, so that each target comes first as often as its share of the weights.

    Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): sorting by u ** (1 / weight).
    """
    if len(model.targets) == 1:
        return model.targets
    drawn = [(random() ** (1 / weight), -place) for place, weight in enumerate(model.weights)]
    return tuple(model.targets[-place] for _, place in sorted(drawn, reverse=True))


STRATEGIES: Mapping[Strategy, Callable[[Model, Random], tuple[Target, ...]]] = {
    "ordered": ordered,
    "weighted": weighted,
}


def order(model: Model, random: Random) -> tuple[Target, ...]:
    """The model's targets, first choice first."""
    return STRATEGIES[model.strategy](model, random)
