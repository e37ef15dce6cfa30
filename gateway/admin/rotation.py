"""
Another key-encryption key: what the one before it has sealed is sealed anew, each with a fresh data key.

Row by row, each in a transaction of its own. Whatever stops it, what is done is done, and the next run goes on from
there; a gateway that runs meanwhile can open both, for as long as its configuration names both keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.admin.provider_overlay import Opens
from gateway.admin.wanted_provider import place
from gateway.core.deed import Actor, Change, Deed
from gateway.core.made_provider import MadeProvider
from gateway.core.secret import Secret
from gateway.store.errors import Outdated
from gateway.store.sealed import Locked, Place

AGAIN = "was changed in this moment; run this again"


class Store(Protocol):
    """Where the secrets are: `gateway.store.providers.Providers`."""

    def list(self) -> list[MadeProvider]: ...
    def reseal(self, provider: MadeProvider, deed: Deed) -> None: ...


class Reseals(Opens, Protocol):
    """What seals them: `gateway.store.envelope.Vault`."""

    def key(self) -> str: ...
    def is_under(self, key: str, sealed: str, place: Place) -> bool: ...
    def seal(self, secret: Secret, place: Place) -> str: ...


@dataclass
class Rotated:
    """What came of it."""

    key: str
    """The id of the key that now seals."""
    resealed: int = 0
    """Secrets that were sealed anew."""
    current: int = 0
    """Secrets that were under this key before."""
    failed: dict[str, str] = field(default_factory=dict)
    """Providers whose secrets are as they were, and why."""


def rotate(store: Store, vault: Reseals, actor: Actor, now: Callable[[], float]) -> Rotated:
    """Seals all secrets under the present key. Raises Locked where that key cannot be used; blocks."""
    done = Rotated(vault.key())
    for row in store.list():
        try:
            fresh = _resealed(row, vault, done.key)
            if fresh:
                what = tuple(Change(field, "sealed", f"sealed under {done.key}") for field in fresh)
                secrets = {**row.secrets, **fresh}
                store.reseal(replace(row, secrets=secrets), Deed(now(), actor, "secrets.rotate", row.name, what))
        except Locked as error:
            done.failed[row.name] = str(error)
        except Outdated:
            done.failed[row.name] = AGAIN
        else:
            done.resealed += len(fresh)
            done.current += len(row.secrets) - len(fresh)
    return done


def _resealed(row: MadeProvider, vault: Reseals, key: str) -> Mapping[str, str]:
    """New envelopes for what is not under the key."""
    places = {field: place(row, field) for field in row.secrets}
    old = [field for field, sealed in row.secrets.items() if not vault.is_under(key, sealed, places[field])]
    return {field: vault.seal(vault.open(row.secrets[field], places[field]), places[field]) for field in old}
