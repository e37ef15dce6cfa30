"""Models that providers publish by listing them: `models: discover`. Pure; what is listed was asked for before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from gateway.config.snapshot import Model, Snapshot
from gateway.config.values import exact

Listed = Mapping[str, Collection[str]]
"""Models by provider."""


def with_discovered(snapshot: Snapshot, listed: Listed) -> Snapshot:
    """The snapshot of a configuration with what its providers list published too, and the aliases that waited for it.

    What the configuration publishes itself, by name or by pattern, stays as it is written. Of two providers that list
    the same, the one that stands first has it.
    """
    found: dict[str, Model] = {}
    for name, model in _offered(snapshot, listed):
        if name not in found and name not in snapshot.waiting_aliases and snapshot.model(name) is None:
            found[name] = model
    aliases = {alias: found[name] for alias, name in snapshot.waiting_aliases.items() if name in found}
    return replace(snapshot, models={**snapshot.models, **found, **aliases})


def _offered(snapshot: Snapshot, listed: Listed) -> Iterator[tuple[str, Model]]:
    for provider, pattern in snapshot.to_discover.items():
        for name in listed.get(provider, ()):
            if _can_be_public(name) and (model := snapshot.filled_in(pattern, name)):
                yield name, replace(model, name=name)


def _can_be_public(name: str) -> bool:
    """Whether a configuration could publish this name."""
    try:
        return bool(exact(name))
    except ValueError:
        return False
