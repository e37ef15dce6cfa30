"""Everything that is known of a call before it is made, as data. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.admin.wanted import settings
from gateway.cli.way import Detour, Stage, View, way
from gateway.config.snapshot import Breaker, Key, Model, OnHangup, Timeouts, Unsupported
from gateway.core.call import Json
from gateway.policy.access import may_use

DEFAULT = "default"
"""What clients may call the default model. Those that name none mean it too."""

Kind = Literal["default", "alias", "pattern", "discovered", "published", "model"]
"""What a public name is. `published`: by its provider's own entry; `discovered`: by what the provider's API lists."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One step from the name that was asked for to the model behind it."""

    name: str
    kind: Kind
    of: str
    """What the name stands for, the pattern that it matches, or the provider that publishes it; empty for a model."""
    text: str = ""
    """What the `*` of a pattern stands for."""


@dataclass(frozen=True, slots=True)
class Access:
    """A key, and whether it may use the name."""

    name: str
    model: str
    """The name that the key is held against: that of an alias, not of its model."""
    may_use: bool
    expires: float | None
    """Seconds since 1970."""
    expired: bool
    limits: Json
    budget: Json
    """As the configuration spells them; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a call is tried: those of the model that is asked for."""

    attempts: int
    retry_share: float
    timeouts: Timeouts
    breaker: Breaker
    hedge: float
    on_hangup: OnHangup
    unsupported: Unsupported


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a call for a public name would go, and why."""

    name: str
    meanings: tuple[Meaning, ...]
    key: Access | None
    """The key that was asked about."""
    keys: tuple[str, ...] | None
    """All that may use the name; None where there are no keys."""
    stages: tuple[Stage, ...]
    detours: tuple[Detour, ...]
    settings: Settings


def explain(name: str, view: View, key: Key | None, now: float) -> Explanation | None:
    """Where a call for this name would go; None if there is no such name. `now` is in seconds since 1970."""
    snapshot = view.snapshot
    asked = (snapshot.default_model or "") if name == DEFAULT else name  # the name that keys are held against
    meanings = tuple(_meanings(name, view))
    model = snapshot.model(asked)
    if model is None:
        return None
    stages, detours = way(meanings[-1].name, view)
    allowed = [each.name for each in snapshot.keys.values() if may_use(each, asked) and not _is_over(each, now)]
    return Explanation(
        name=name,
        meanings=meanings,
        key=_access(key, asked, now) if key else None,
        keys=tuple(allowed) if snapshot.keys else None,
        stages=stages,
        detours=detours,
        settings=_settings(model),
    )


def is_complete(explanation: Explanation) -> bool:
    """Whether every fallback was found. Those that were not may be models that a provider has yet to list."""
    stages = [*explanation.stages, *(stage for detour in explanation.detours for stage in detour.stages)]
    return all(stage.model for stage in stages)


def _access(key: Key, name: str, now: float) -> Access:
    said = settings(key)
    return Access(
        name=key.name,
        model=name,
        may_use=may_use(key, name),
        expires=key.expires,
        expired=_is_over(key, now),
        limits=said.get("limits", {}),
        budget=said.get("budget", {}),
    )


def _is_over(key: Key, now: float) -> bool:
    return key.expires is not None and now >= key.expires


def _meanings(name: str, view: View) -> Iterator[Meaning]:
    snapshot, aliases = view.snapshot, view.spec.aliases
    if name == DEFAULT and snapshot.default_model:
        yield Meaning(name, "default", snapshot.default_model)
        name = snapshot.default_model
    if name in aliases:
        yield Meaning(name, "alias", aliases[name])
        name = aliases[name]
    if model := snapshot.model(name):
        yield _meaning(name, model, view)


def _meaning(name: str, model: Model, view: View) -> Meaning:
    prefix, star, suffix = model.name.partition("*")
    if star:
        return Meaning(name, "pattern", model.name, name[len(prefix) : len(name) - len(suffix)])
    if name in view.spec.models:
        return Meaning(name, "model", "")
    provider = model.targets[0].provider
    return Meaning(name, "discovered" if provider in view.snapshot.to_discover else "published", provider)


def _settings(model: Model) -> Settings:
    return Settings(
        attempts=model.attempts,
        retry_share=model.retry_share,
        timeouts=model.timeouts,
        breaker=model.breaker,
        hedge=model.hedge,
        on_hangup=model.on_hangup,
        unsupported=model.unsupported,
    )
