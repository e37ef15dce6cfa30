"""
The providers that were made at run time, laid over those of the configuration: what the file declares wins.

One that cannot be read or opened is left out and told of; the others do not suffer. What was opened once is remembered
for as long as its row is the same: a key service that is away stops nobody who is known already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from gateway.admin.wanted import Unreadable
from gateway.admin.wanted_provider import entry, place, stand_ins, with_provider
from gateway.config.resolve import Loaded
from gateway.core.made_provider import MadeProvider
from gateway.core.secret import Secret
from gateway.store.sealed import Locked, Place


class Opens(Protocol):
    """What opens secrets: `gateway.store.envelope.Vault`."""

    def open(self, sealed: str, place: Place) -> Secret: ...


class Merged(NamedTuple):
    """A configuration with providers that were made at run time."""

    loaded: Loaded
    told: Mapping[str, str]
    """By provider: why it is left out, or which of its models are. For the log."""


class Overlay:
    """What was opened of the secrets in one database. `over` blocks, and is for one thread at a time."""

    def __init__(self, vault: Opens) -> None:
        self._vault = vault
        self._opened: dict[str, tuple[int, dict[str, Secret]]] = {}

    def over(self, loaded: Loaded, made: Iterable[MadeProvider]) -> Merged:
        """The configuration with these providers."""
        told, declared = {}, loaded.spec.providers
        rows = [each for each in made if each.name not in declared]
        self._opened = {row.name: self._opened[row.name] for row in rows if row.name in self._opened}
        for row in rows:
            try:
                loaded, taken = laid_over(loaded, row.name, self._entry(row))
                if taken:
                    told[row.name] = f"does not publish {', '.join(taken)}: that is published already"
            except (Locked, Unreadable) as error:
                told[row.name] = f"is left out: {error}"
        return Merged(loaded, told)

    def _entry(self, row: MadeProvider) -> dict[str, Any]:
        version, secrets = self._opened.get(row.name, (None, {}))
        if version != row.version:
            secrets = opened(row, self._vault)
            self._opened[row.name] = (row.version, secrets)
        return entry(row.settings, secrets)


def opened(row: MadeProvider, vault: Opens) -> dict[str, Secret]:
    """The secrets of a provider by field. Raises Locked."""
    return {field: vault.open(sealed, place(row, field)) for field, sealed in row.secrets.items()}


def closed(row: MadeProvider) -> dict[str, Any]:
    """Its entry, with something else in the place of each secret."""
    return entry(row.settings, stand_ins(row.secrets))


def laid_over(loaded: Loaded, name: str, written: Mapping[str, Any]) -> tuple[Loaded, list[str]]:
    """The configuration with a provider that was sound when it was made, and those of its models that have been
    published by others since: theirs stay. Raises Unreadable."""
    snapshot, names = loaded.snapshot, written.get("models")
    known = {*snapshot.models, *(f"{prefix}*{suffix}" for prefix, suffix, _ in snapshot.patterns)}
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    if taken := [name for name in listed if name in known]:
        written = {**written, "models": [name for name in listed if name not in taken]}
    return with_provider(loaded, name, written), taken
