"""The targets of a model: which calls can go to, and what the configuration says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.config.complaints import Review, Steps, did_you_mean, quoted, spell
from gateway.config.known import with_known
from gateway.config.snapshot import Provider
from gateway.config.spec import ModelSpec, PriceSpec, Spec, TargetSpec
from gateway.core.call import Price, Target
from gateway.vendors.quirks import QUIRKS

UNUSABLE = ("", ".", "..")
"""Models that have a complaint already, or that no URL can name."""


class Chosen(NamedTuple):
    """A target that calls can go to, and its share of them."""

    target: Target
    weight: float


def resolve_targets(
    name: str, written: ModelSpec, spec: Spec, providers: Mapping[str, Provider], review: Review
) -> list[Chosen]:
    """The targets on enabled providers. What is wrong with any of them is noted in the review."""
    path = ("models", name, "targets")
    _check_together(written.targets, path, spec, review)
    found = []
    for index, target in enumerate(written.targets):
        here = (*path, index)
        _check(target, here, name, spec, review)
        provider = providers.get(target.provider)
        if provider and provider.enabled and target.model not in UNUSABLE:
            chosen = _with_written(target_of(provider, target.model), target, written)
            if written.strategy == "cheapest":
                _check_price(chosen, here, review)
            found.append(Chosen(chosen, target.weight))
    return found


def target_of(provider: Provider, model: str) -> Target:
    """A model at a provider, with what is known of it. Raises ValueError for a name that no URL can hold."""
    target = Target(
        provider=provider.name,
        model=model,
        urls=provider.urls(model),
        headers=provider.headers,
        quirks=tuple(QUIRKS[name] for name in provider.vendor.quirks),
        send_user_id=provider.send_user_id,
        done_marker=provider.vendor.done_marker,
        fetch_media=provider.vendor.fetch_media,
        own_links=provider.vendor.own_links,
        inputs_at_once=provider.vendor.inputs_at_once,
    )
    return with_known(target, provider.vendor)


def _with_written(target: Target, written: TargetSpec, model: ModelSpec) -> Target:
    """The same as the configuration wants it: what it says wins over what is known."""
    limits = written.limits
    return replace(
        target,
        defaults=model.defaults,
        context=written.context or target.context,
        lacks=target.lacks if written.lacks is None else frozenset(written.lacks),
        price=_price(written.price) or _price(model.price) or target.price,
        concurrent=limits.concurrent_requests,
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
    )


def _price(written: PriceSpec | None) -> Price | None:
    """A price is taken whole: what is written of one is not mixed with what is known of another."""
    return Price(written.input, written.output, written.cache_read, written.cache_write) if written else None


def _check(target: TargetSpec, path: Steps, name: str, spec: Spec, review: Review) -> None:
    if "*" in target.model and "*" not in name:
        review.complain((*path, "model"), f"holds a *, but the public name {quoted(name)} does not")
    if target.provider and target.provider not in spec.providers and review.read_well(("providers",)):
        shown = review.shown((*path, "provider"))
        hint = did_you_mean(target.provider, spec.providers)
        review.complain((*path, "provider"), f"there is no provider {shown}{hint}")
    if target.model and target.model in UNUSABLE:
        review.complain((*path, "model"), f"{quoted(target.model)} cannot be part of a URL")


def _check_together(targets: Sequence[TargetSpec], path: Steps, spec: Spec, review: Review) -> None:
    if not targets and review.read_well(path):
        review.complain(path, "at least one target is needed")
    first: dict[tuple[str, str], int] = {}
    for index, target in enumerate(targets):
        there = first.setdefault((target.provider, target.model), index)
        if there != index and target.provider and target.model:
            place = (*path, there)
            review.complain(
                (*path, index), f"is the same target as {spell(place)} (line {review.line(place)}); write it once"
            )
    accounts = [spec.providers.get(target.provider) for target in targets]
    if accounts and all(account and not account.enabled for account in accounts):
        review.complain(path, "every target is on a disabled provider")


def _check_price(target: Target, path: Steps, review: Review) -> None:
    """The price of a target with a `*` is known once the name is."""
    if target.price is None and "*" not in target.model and review.read_well((*path, "price")):
        review.complain(
            path,
            "has no price that is known, and the strategy cheapest goes by it; "
            "write price: {input: ..., output: ...}, in US dollars per million tokens",
        )
