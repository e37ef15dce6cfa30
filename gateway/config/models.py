"""Public names: what is published, where calls to it go, and which names lead to other names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from gateway.config.complaints import Review, Steps, did_you_mean, quoted, spell
from gateway.config.snapshot import Model, Provider, Timeouts
from gateway.config.spec import ModelSpec, RetriesSpec, Spec, TargetSpec, TimeoutsSpec
from gateway.core.call import Target
from gateway.vendors.quirks import QUIRKS

CLIENTS_OWN = ("messages", "model", "stream", "stream_options")
"""Request fields that decide how the answer is read: what the client did not send, it does not expect."""

NO_DEFAULTS: Mapping[str, object] = {}

ATTEMPTS = 3
"""Where nothing is written: the first try, one more, and one somewhere else."""


@dataclass(frozen=True, slots=True)
class Published:
    """A model, with where the configuration publishes it."""

    model: Model
    path: Steps


def published(spec: Spec, providers: Mapping[str, Provider], review: Review) -> dict[str, Published]:
    """Every public name but aliases. Names that are published twice are noted in the review."""
    _check_timeouts(spec.defaults.timeouts, ("defaults", "timeouts"), spec.defaults.timeouts, review)
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
    return {provider.name: _plain_model("*", target_of(provider, "*"), spec) for provider in asked}


def patterns(models: Mapping[str, Published]) -> tuple[tuple[str, str, Model], ...]:
    """(prefix, suffix, model) of the names with a `*`, the most particular first."""
    split = [(*name.partition("*"), entry.model) for name, entry in models.items() if "*" in name]
    rows = [(prefix, suffix, model) for prefix, _, suffix, model in split]
    return tuple(sorted(rows, key=lambda row: (-len(row[0]), -len(row[1]))))


def check_fallbacks(spec: Spec, names: Mapping[str, str], review: Review) -> None:
    """Notes fallbacks that lead back to where they came from. `names` gives each name's model, for aliases too."""
    edges = {
        name: [names.get(fallback, fallback) for fallback in model.fallbacks] for name, model in spec.models.items()
    }
    seen: set[str] = set()
    for name in edges:
        if cycle := _cycle(name, edges, seen):
            review.complain(("models", cycle[0], "fallbacks"), f"goes round in a circle: {' -> '.join(cycle)}")


def _all(spec: Spec, providers: Mapping[str, Provider], review: Review) -> Iterator[Published]:
    for name, written in spec.models.items():
        yield Published(_model(name, written, spec, providers, review), ("models", name))
    for provider in providers.values():
        for index, name in enumerate(spec.providers[provider.name].model_names):
            if provider.enabled and name:
                target = target_of(provider, name)
                yield Published(_plain_model(name, target, spec), ("providers", provider.name, "models", index))


def _plain_model(name: str, target: Target, spec: Spec) -> Model:
    """A model that has no entry of its own."""
    return Model(
        name=name,
        targets=(target,),
        weights=(1.0,),
        timeouts=_timeouts(spec),
        attempts=_attempts(spec),
        unsupported=spec.defaults.unsupported,
    )


def _model(name: str, written: ModelSpec, spec: Spec, providers: Mapping[str, Provider], review: Review) -> Model:
    path = ("models", name)
    _check_timeouts(written.timeouts, (*path, "timeouts"), spec.defaults.timeouts, review)
    for field in written.defaults.keys() & set(CLIENTS_OWN):
        review.complain((*path, "defaults", field), "is always the client's own; it cannot have a default")
    chosen = list(_targets(name, written, spec, providers, review))
    return Model(
        name=name,
        targets=tuple(target_of(provider, target.model, written.defaults) for provider, target in chosen),
        weights=tuple(target.weight for _, target in chosen),
        strategy=written.strategy,
        fallbacks=tuple(written.fallbacks),
        timeouts=_timeouts(spec, written.timeouts),
        attempts=_attempts(spec, written.retries),
        unsupported=written.unsupported or spec.defaults.unsupported,
    )


def _targets(
    name: str, written: ModelSpec, spec: Spec, providers: Mapping[str, Provider], review: Review
) -> Iterator[tuple[Provider, TargetSpec]]:
    """The targets that calls can go to: those on enabled providers."""
    path = ("models", name, "targets")
    if not written.targets and review.read_well(path):
        review.complain(path, "at least one target is needed")
    for index, target in enumerate(written.targets):
        if "*" in target.model and "*" not in name:
            review.complain((*path, index, "model"), f"holds a *, but the public name {quoted(name)} does not")
        if target.provider and target.provider not in spec.providers and review.read_well(("providers",)):
            shown = review.shown((*path, index, "provider"))
            hint = did_you_mean(target.provider, spec.providers)
            review.complain((*path, index, "provider"), f"there is no provider {shown}{hint}")
        if target.model in (".", ".."):
            review.complain((*path, index, "model"), f"{quoted(target.model)} cannot be part of a URL")
        elif target.model and (provider := providers.get(target.provider)) and provider.enabled:
            yield provider, target
    written_to = [spec.providers[target.provider] for target in written.targets if target.provider in spec.providers]
    if written_to and len(written_to) == len(written.targets) and not any(account.enabled for account in written_to):
        review.complain(path, "every target is on a disabled provider")


def target_of(provider: Provider, model: str, defaults: Mapping[str, object] = NO_DEFAULTS) -> Target:
    """A model at a provider. Raises ValueError for a name that no URL can hold."""
    return Target(
        provider=provider.name,
        model=model,
        urls=provider.urls(model),
        headers=provider.headers,
        quirks=tuple(QUIRKS[name] for name in provider.vendor.quirks),
        defaults=defaults,
        send_user_id=provider.send_user_id,
        done_marker=provider.vendor.done_marker,
        fetch_media=provider.vendor.fetch_media,
        own_links=provider.vendor.own_links,
        inputs_at_once=provider.vendor.inputs_at_once,
    )


def _attempts(spec: Spec, own: RetriesSpec | None = None) -> int:
    own = own or RetriesSpec()
    return own.attempts or spec.defaults.retries.attempts or ATTEMPTS


def _timeouts(spec: Spec, own: TimeoutsSpec | None = None) -> Timeouts:
    written = _written(spec.defaults.timeouts) | _written(own or TimeoutsSpec())
    merged = Timeouts(**written)
    return merged if "connect" in written else replace(merged, connect=min(merged.connect, merged.total))


def _check_timeouts(own: TimeoutsSpec, path: Steps, common: TimeoutsSpec, review: Review) -> None:
    """A limit that another one makes impossible is a mistake, unless nobody wrote it."""
    if not _written(own):
        return
    written = _written(common) | _written(own)
    connect, total = written.get("connect", 0.0), written.get("total", Timeouts().total)
    if connect > total:
        review.complain(path, f"connect ({connect:g}s) is longer than total ({total:g}s)")


def _written(timeouts: TimeoutsSpec) -> dict[str, float]:
    values = {field.name: getattr(timeouts, field.name) for field in fields(timeouts)}
    return {name: value for name, value in values.items() if value is not None}


def _cycle(start: str, edges: Mapping[str, list[str]], seen: set[str]) -> list[str] | None:
    """A way from a name back to itself, found once however many names lie on it."""
    way: list[str] = []
    left: list[Iterator[str]] = [iter([start])]
    while left:
        name = next(left[-1], None)
        if name is None:
            left.pop()
            if way:
                way.pop()
        elif name in way:
            return [*way[way.index(name) :], name]
        elif name in edges and name not in seen:
            seen.add(name)
            way.append(name)
            left.append(iter(edges[name]))
    return None
