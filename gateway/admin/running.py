"""
What a gateway runs on, as JSON: its models with how their targets are, and its whole configuration without a secret.

Of a secret it is told that it is there, and nothing else. What is one is not decided here: it is a `Secret`, or a field
that is not printed either (`repr=False`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gateway.admin.wanted import LIMITS
from gateway.config.snapshot import Model, Snapshot
from gateway.core.call import Json, Limits, Price, Target
from gateway.core.secret import Secret
from gateway.ports import Clock
from gateway.routing.board import Board
from gateway.routing.standings import State, models, states
from gateway.vendors.vendor import Vendor

SET = "***"
"""In the place of a secret that is there. Where there is none, it is null."""

DERIVED = frozenset({"urls", "quirks", "digest", "concurrent", "requests_per_minute", "tokens_per_minute"})
"""Fields that say nothing which another does not."""

APART = frozenset({"models", "patterns", "keys", "to_discover", "waiting_aliases"})
"""Fields of a snapshot that are told in another way."""


def of_models(snapshot: Snapshot, board: Board, clock: Clock) -> list[Json]:
    """Every model, in the order of the configuration, with how its targets are now."""
    now, aliases = clock(), _aliases(snapshot)
    return [
        _model(model, [alias for alias, name in aliases.items() if name == model.name], states(model, board, now))
        for model in models(snapshot).values()
    ]


def of_configuration(snapshot: Snapshot) -> Json:
    """All that was configured, defaults filled in."""
    return {
        **_fields_of(snapshot, APART),
        "models": {name: masked(model) for name, model in models(snapshot).items()},
        "aliases": _aliases(snapshot),
        "keys": [masked(key) for key in snapshot.keys.values()],
    }


def masked(value: Any) -> Any:
    """A value of the configuration as JSON."""
    if isinstance(value, Secret):
        return SET if value else None
    if isinstance(value, Vendor):
        return value.name
    if isinstance(value, Target):
        return {**_fields_of(value), "limits": _limits(value.limits)}
    if is_dataclass(value):
        return _fields_of(value)
    if isinstance(value, Limits):
        return _limits(value)
    if isinstance(value, Mapping):
        return {str(name): masked(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", None)
        return [masked(item) for item in value] if names is None else dict(zip(names, map(masked, value), strict=True))
    return sorted(value) if isinstance(value, frozenset) else value


def _fields_of(value: Any, apart: frozenset[str] = frozenset()) -> Json:
    said: Json = {}
    for field in fields(value):
        if field.name not in DERIVED | apart:
            held = getattr(value, field.name)
            said[field.name] = masked(held) if field.repr else SET if held else None
    return said


def _aliases(snapshot: Snapshot) -> dict[str, str]:
    return {name: model.name for name, model in snapshot.models.items() if name != model.name}


def _model(model: Model, aliases: list[str], how: Mapping[tuple[str, str], State]) -> Json:
    return {
        "name": model.name,
        "aliases": aliases,
        "strategy": model.strategy,
        "targets": [
            {**_target(target, weight), "state": _state(how[target.provider, target.model])}
            for target, weight in zip(model.targets, model.weights, strict=True)
        ],
        "fallbacks": model.fallbacks,
        "context_fallbacks": model.context_fallbacks,
        "content_fallbacks": model.content_fallbacks,
    }


def _target(target: Target, weight: float) -> Json:
    return {
        "provider": target.provider,
        "model": target.model,
        "weight": weight,
        "limits": _limits(target.limits),
        "price": None if target.price is None else _price(target.price),
        "context": target.context,
        "lacks": sorted(target.lacks),
    }


def _limits(limits: Limits) -> Json:
    return {name: most for name, most in zip(LIMITS, limits, strict=True) if most is not None}


def _price(price: Price) -> Json:
    """US dollars per million tokens."""
    said = price._asdict()
    said["above"] = [{"tokens": tokens, **_price(higher)} for tokens, higher in price.above]
    return {name: value for name, value in said.items() if value not in (None, [])}


def _state(state: State) -> Json:
    return {
        "standing": state.standing.name.lower(),
        "seconds": round(state.seconds, 1),
        "why": state.why,
        "in_flight": state.in_flight,
    }
