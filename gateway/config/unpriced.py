"""Prices that are missing where a budget in dollars counts on them. Pure.

A call whose price is not known costs nothing that could be counted, so no budget in dollars ever ends it. Where a key
names such a model, or may use no other, that is a mistake; elsewhere it is a note: most people have a model of their
own that is free, and few write that it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.config.complaints import Complaint, Review, Steps, quoted
from gateway.config.names import overlap
from gateway.config.snapshot import Model, Snapshot
from gateway.config.spec import KeySpec, Spec
from gateway.core.call import Target

CURE = "write price: {input: ..., output: ...} there, in US dollars per million tokens (0 for what is free)"


def check_budgets(spec: Spec, snapshot: Snapshot, review: Review) -> None:
    """Notes budgets in dollars that do not count the calls of a model that the key names, or any call at all."""
    for index, key in enumerate(spec.keys):
        path = ("keys", index, "budget", "usd")
        if key.budget is None or key.budget.usd is None or not review.read_well(path):
            continue
        if named := [name for name in key.models if _is_unpriced(snapshot.model(name))]:
            told = f"{', '.join(map(quoted, named))} {'has' if len(named) == 1 else 'have'} no price that is known"
            review.complain(path, f"{told}, so that no call is counted; {CURE}, or a budget of tokens here")
        elif all(map(_is_unpriced, _usable(key, snapshot))):
            told = "none of the models that the key may use has a price that is known"
            review.complain(path, f"{told}, so that no call is counted; {CURE}, or a budget of tokens here")


def unpriced(spec: Spec, snapshot: Snapshot, review: Review) -> tuple[Complaint, ...]:
    """The targets without a known price that count for nothing in some key's budget, in the order of the file."""
    found = review.beside()
    keys = [key for key in spec.keys if key.budget and key.budget.usd]
    for path, name, target in _targets(spec, snapshot):
        if _may_cost(target) or not any(_may_use(key, name, spec) for key in keys):
            continue
        found.complain(path, f"has no price that is known: budgets in dollars do not count calls to it; {CURE}")
    return tuple(sorted(found.complaints))


def _usable(key: KeySpec, snapshot: Snapshot) -> Iterator[Model | None]:
    """The models that a key may use, as far as they are known."""
    published = {**snapshot.models, **{f"{prefix}*{suffix}": model for prefix, suffix, model in snapshot.patterns}}
    for name, model in published.items():
        if not key.models or any(overlap(allowed, name) for allowed in key.models):
            yield model


def _may_use(key: KeySpec, name: str, spec: Spec) -> bool:
    """Whether a key may ask for a model by its name or by an alias of it."""
    names = [name, *(alias for alias, meant in spec.aliases.items() if meant == name)]
    return not key.models or any(overlap(allowed, known) for allowed in key.models for known in names)


def _targets(spec: Spec, snapshot: Snapshot) -> Iterator[tuple[Steps, str, Target]]:
    """Where each target that calls can go to is written, and the public name it stands for."""
    for name, entry in spec.models.items():
        used = {(target.provider, target.model): target for target in _of(name, snapshot)}
        for index, written in enumerate(entry.targets):
            if target := used.get((written.provider, written.model)):
                yield ("models", name, "targets", index), name, target
    for provider, account in spec.providers.items():
        for index, name in enumerate(account.model_names):
            for target in _of(name, snapshot):
                if target.provider == provider:
                    yield ("providers", provider, "models", index), name, target


def _of(name: str, snapshot: Snapshot) -> Iterable[Target]:
    """The targets of a model or of a pattern, as it is written."""
    if "*" not in name:
        model = snapshot.models.get(name)
        return model.targets if model else ()
    return next((model.targets for _, _, model in snapshot.patterns if model.name == name), ())


def _is_unpriced(model: Model | None) -> bool:
    """Whether all calls to a model are for nothing."""
    return model is not None and bool(model.targets) and not any(map(_may_cost, model.targets))


def _may_cost(target: Target) -> bool:
    """Whether a price is known, or may be once it is known which model is asked for."""
    return target.price is not None or "*" in target.model
