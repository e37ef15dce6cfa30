"""Models that a configuration names and their provider does not list. Pure; what is listed was asked for before.

A doubt, not a complaint: lists are incomplete. Some APIs take names that they do not list (`claude-sonnet-4-0` for
the dated one, `model:free`), and who may use a model is not always who may see it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from gateway.config.complaints import Complaint, Review, Steps, did_you_mean, quoted
from gateway.config.snapshot import Provider
from gateway.config.spec import Spec

Listed = Mapping[str, Collection[str]]
"""Models by provider, for the providers that have shown a list."""


def doubts(spec: Spec, providers: Mapping[str, Provider], listed: Listed, review: Review) -> tuple[Complaint, ...]:
    """Where the configuration names a model that its provider does not list, in the order of the file."""
    found = review.beside()
    for path, provider, model in _named(spec):
        models = listed.get(provider)
        if models is None or providers[provider].vendor.names_deployments or is_listed(model, models):
            continue
        what = "no model like" if "*" in model else "no model"
        found.complain(path, f"{provider} lists {what} {quoted(model)}{did_you_mean(model, models)}")
    return tuple(sorted(found.complaints))


def is_listed(model: str, models: Collection[str]) -> bool:
    """Whether a list has this model, or one that servers take for it."""
    if model in models or model.startswith("arn:"):
        return True
    if "*" in model:
        prefix, _, suffix = model.partition("*")
        return any(name.startswith(prefix) and name.endswith(suffix) for name in models)
    stem = re.sub(r"(-latest|-0|:[a-z]+)$", "", model)
    dated = re.compile(re.escape(stem) + r"(-v?\d[\d-]*|:latest)?")
    return any(dated.fullmatch(name) for name in models)


def _named(spec: Spec) -> Iterator[tuple[Steps, str, str]]:
    """Where a model of a provider is named: path, provider, model."""
    for name, entry in spec.models.items():
        for index, target in enumerate(entry.targets):
            yield ("models", name, "targets", index, "model"), target.provider, target.model
    for provider, account in spec.providers.items():
        for index, model in enumerate(account.model_names):
            yield ("providers", provider, "models", index), provider, model
