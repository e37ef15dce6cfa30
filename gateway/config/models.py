"""Public names: what is published, and how calls to it are served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.config.complaints import Review, Steps, quoted, spell
from gateway.config.inherited import breaker, timeouts, written
from gateway.config.snapshot import Model, Provider, Strategy
from gateway.config.spec import ModelSpec, Spec
from gateway.config.targets import UNUSABLE, Chosen, resolve_targets, target_of

CLIENTS_OWN = ("messages", "model", "stream", "stream_options")
"""Request fields that decide how the answer is read: what the client did not send, it does not expect."""

ATTEMPTS = 3
"""Where nothing is written: the first try, one more, and one somewhere else."""

RETRY_SHARE = 0.2
"""Where nothing is written. Retries then add a fifth to the load of a provider that is already in trouble, no more."""

NOT_STICKY: Mapping[Strategy, str] = {
    "ordered": "stays with the first target anyway",
    "least_busy": "chooses by the calls under way",
    "fastest": "chooses by the time to the first token",
    "cheapest": "chooses by the price",
}
"""Why a conversation cannot be kept at one target by a strategy, or need not be."""

NO_ENTRY = ModelSpec(targets=[])
"""What is written of a model that a provider publishes."""


@dataclass(frozen=True, slots=True)
class Published:
    """A model, with where the configuration publishes it."""

    model: Model
    path: Steps


def published(spec: Spec, providers: Mapping[str, Provider], review: Review) -> dict[str, Published]:
    """Every public name but aliases. Names that are published twice are noted in the review."""
    found: dict[str, Published] = {}
    for entry in _all(spec, providers, review):
        name = entry.model.name
        if name in found:
            there = found[name].path
            line = f" (line {review.line(there)})" if review.line(there) else ""
            review.complain(entry.path, f"{quoted(name)} is published twice; {spell(there)}{line} publishes it already")
        else:
            found[name] = entry
    return found


def to_discover(spec: Spec, providers: Mapping[str, Provider]) -> dict[str, Model]:
    """By provider: what each model is like that its API will turn out to list, as a pattern of any name."""
    asked = (
        provider for provider in providers.values() if provider.enabled and spec.providers[provider.name].discovers
    )
    return {provider.name: _plain_model("*", provider, spec) for provider in asked}


def patterns(models: Mapping[str, Published]) -> tuple[tuple[str, str, Model], ...]:
    """(prefix, suffix, model) of the names with a `*`, the most particular first."""
    split = [(*name.partition("*"), entry.model) for name, entry in models.items() if "*" in name]
    rows = [(prefix, suffix, model) for prefix, _, suffix, model in split]
    return tuple(sorted(rows, key=lambda row: (-len(row[0]), -len(row[1]))))


def _all(spec: Spec, providers: Mapping[str, Provider], review: Review) -> Iterator[Published]:
    for name, entry in spec.models.items():
        _check(name, entry, review)
        chosen = resolve_targets(name, entry, spec, providers, review)
        yield Published(_model(name, entry, chosen, spec), ("models", name))
    for provider in providers.values():
        for index, name in enumerate(spec.providers[provider.name].model_names):
            if provider.enabled and name not in UNUSABLE:
                yield Published(_plain_model(name, provider, spec), ("providers", provider.name, "models", index))


def _plain_model(name: str, provider: Provider, spec: Spec) -> Model:
    """A model that has no entry of its own."""
    return _model(name, NO_ENTRY, [Chosen(target_of(provider, name), 1.0)], spec)


def _model(name: str, entry: ModelSpec, chosen: Sequence[Chosen], spec: Spec) -> Model:
    common = spec.defaults
    retries = written(common.retries, entry.retries)
    return Model(
        name=name,
        targets=tuple(target for target, _ in chosen),
        weights=tuple(weight for _, weight in chosen),
        strategy=entry.strategy,
        fallbacks=tuple(entry.fallbacks),
        context_fallbacks=tuple(entry.context_fallbacks),
        content_fallbacks=tuple(entry.content_fallbacks),
        timeouts=timeouts(common.timeouts, entry.timeouts),
        attempts=retries.get("attempts", ATTEMPTS),
        retry_share=retries.get("budget", RETRY_SHARE),
        breaker=breaker(common.breaker, entry.breaker),
        sticky=entry.sticky,
        hedge=entry.hedge,
        on_hangup=entry.on_hangup or common.on_hangup,
        unsupported=entry.unsupported or common.unsupported,
    )


def _check(name: str, entry: ModelSpec, review: Review) -> None:
    path = ("models", name)
    for field in entry.defaults.keys() & set(CLIENTS_OWN):
        review.complain((*path, "defaults", field), "is always the client's own; it cannot have a default")
    if entry.sticky and entry.strategy in NOT_STICKY:
        review.complain(
            (*path, "sticky"),
            f"goes with the strategy weighted only: {entry.strategy} {NOT_STICKY[entry.strategy]}; "
            "write strategy: weighted, or remove sticky",
        )
    if entry.hedge and len(entry.targets) == 1:
        review.complain((*path, "hedge"), "has no second target to ask; add one, or remove hedge")
