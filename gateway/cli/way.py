"""The way of a call: which targets it meets, in which order. Pure: it follows a snapshot as `gateway.routing` does.

What a call itself decides is left open: which targets can serve it, and how chance falls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from gateway.cli.live import Live
from gateway.config.snapshot import Model, Provider, Snapshot, Strategy
from gateway.config.spec import Spec
from gateway.core.call import Json, Price, Target

Case = Literal["context", "content"]
"""Why a call leaves its way: its prompt is too long, or a content filter has refused it."""

DISABLED = "the provider is disabled"


@dataclass(frozen=True, slots=True)
class Stop:
    """A target, and what decides whether a call goes there."""

    provider: str
    model: str
    """The provider's own name for it."""
    type: str
    host: str
    """Empty where the gateway answers by itself."""
    weight: float
    share: float | None
    """Of the calls, the part that comes here first; None where the weights alone do not decide."""
    context: int | None
    lacks: tuple[str, ...]
    concurrent: int | None
    price: Json | None
    """A `Price`, field by field: US dollars per million tokens. `above` has those of longer prompts."""
    before: bool
    """Whether it is met earlier on the way: then it is not asked a second time here."""
    state: str | None
    """As the running gateway has it; of a pattern, the worst of all that it stood for."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A target that is configured and never asked."""

    provider: str
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class Stage:
    """The targets of one model."""

    name: str
    """As it was asked for, or as it stands in a list of fallbacks."""
    of: str
    """The model in whose list that is; empty for what was asked for."""
    model: str | None
    """As configured. None: there is no such model now, so the stage is passed over."""
    strategy: Strategy = "ordered"
    sticky: bool = False
    stops: tuple[Stop, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def fresh(self) -> list[Stop]:
        """Those that are not met before."""
        return [stop for stop in self.stops if not stop.before]


@dataclass(frozen=True, slots=True)
class Detour:
    """Where a call goes instead, once a target of a model has refused it for a reason that others may not have."""

    case: Case
    of: str
    stages: tuple[Stage, ...]


class View(NamedTuple):
    """What the way is seen from."""

    snapshot: Snapshot
    spec: Spec
    """Knows what the snapshot leaves out."""
    live: Live


def way(name: str, view: View) -> tuple[tuple[Stage, ...], tuple[Detour, ...]]:
    """The stages that a call to this name passes as long as it fails, and the detours from all that it may come to."""
    stages = tuple(_stages([name], "", frozenset(), view))
    return stages, tuple(_detours(stages, view))


Places = frozenset[tuple[str, str]]
"""Targets: provider, and the provider's name for the model."""


def _stages(names: Iterable[str], of: str, met: Places, view: View) -> Iterator[Stage]:
    """These models; after all of them their fallbacks; and after all these, theirs."""
    left, passed = deque((name, of) for name in names), set[str]()
    while left:
        name, of = left.popleft()
        if name in passed:
            continue
        passed.add(name)
        model = view.snapshot.model(name)
        if model is None:
            yield Stage(name, of, None)
            continue
        yield _stage(name, of, model, met, view)
        met |= _places(model)
        left.extend((fallback, name) for fallback in model.fallbacks)


def _detours(stages: tuple[Stage, ...], view: View) -> Iterator[Detour]:
    """What the models of these stages have for each case, and what the models have that are come to by that."""
    left: deque[tuple[tuple[Stage, ...], Places]] = deque([(stages, frozenset())])
    told: set[tuple[str, str]] = set()
    while left:
        stages, met = left.popleft()
        for stage in stages:
            if (model := view.snapshot.model(stage.name)) is None:
                continue
            met |= _places(model)
            for case, names in _cases(model):
                if names and (case, stage.name) not in told:
                    told.add((case, stage.name))
                    found = tuple(_stages(names, stage.name, met, view))
                    yield Detour(case, stage.name, found)
                    left.append((found, met))


def _cases(model: Model) -> tuple[tuple[Case, tuple[str, ...]], ...]:
    return ("context", model.context_fallbacks), ("content", model.content_fallbacks)


def _places(model: Model) -> Places:
    return frozenset((target.provider, target.model) for target in model.targets)


def _stage(name: str, of: str, model: Model, met: Places, view: View) -> Stage:
    fresh = [(target.provider, target.model) not in met for target in model.targets]
    whole = sum(weight for weight, counts in zip(model.weights, fresh, strict=True) if counts)
    stops = []
    for target, weight, is_fresh, written in zip(
        model.targets, model.weights, fresh, _written(model, view), strict=True
    ):
        share = weight / whole if model.strategy == "weighted" and is_fresh else None
        state = view.live.of((model.name, target.provider, written))
        stops.append(_stop(target, view.snapshot.providers[target.provider], weight, share, not is_fresh, state))
    return Stage(name, of, model.name, model.strategy, model.sticky, tuple(stops), tuple(_left_out(model, view.spec)))


def _stop(
    target: Target, provider: Provider, weight: float, share: float | None, before: bool, state: str | None
) -> Stop:
    return Stop(
        provider=target.provider,
        model=target.model,
        type=provider.vendor.name,
        host="" if provider.vendor.in_process else urlsplit(next(iter(target.urls.values()))).netloc,
        weight=weight,
        share=share,
        context=target.context,
        lacks=tuple(sorted(target.lacks)),
        concurrent=target.concurrent,
        price=_spelt(target.price) if target.price else None,
        before=before,
        state=state,
    )


def _spelt(price: Price) -> Json:
    return {**price._asdict(), "above": [{"tokens": tokens, **_spelt(longer)} for tokens, longer in price.above]}


def _written(model: Model, view: View) -> list[str]:
    """The targets' names as configured, where a pattern's have a `*`. The states of targets are known by these."""
    patterns = (pattern for _, _, pattern in view.snapshot.patterns if pattern.name == model.name)
    return [target.model for target in next(patterns, model).targets]


def _left_out(model: Model, spec: Spec) -> Iterator[LeftOut]:
    if model.name in spec.models:
        for target in spec.models[model.name].targets:
            if not spec.providers[target.provider].enabled:
                yield LeftOut(target.provider, target.model, DISABLED)
