"""
What can be done with providers, for the command line and for the HTTP API alike. No HTTP and no SQL: the store, the
vault and the look at a provider are arguments. Every change leaves an entry in the audit log.

`list`, `get`, `create`, `edit` and `delete` block; `test`, `models` and `discover` are awaited, and do what blocks in a
thread.

What cannot be done is one of the errors of `gateway.admin.service`, Unreadable, one of `gateway.store.sealed`'s, or

NotDone
* InUse    models that clients can ask for lead there
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NoReturn, Protocol, TypeVar

from gateway.admin.provider_list import Checks, Listed, declared, made, place_of
from gateway.admin.provider_overlay import Opens, closed, laid_over, opened
from gateway.admin.reach import Resolve, addresses, host_of, resolves_to_refused
from gateway.admin.service import Changed, Declared, Missing, NoDatabase, NotDone, Seen, Stale, Taken, patched
from gateway.admin.wanted import Fault, Unreadable
from gateway.admin.wanted_provider import (
    MOVES,
    alone,
    check_name,
    entry,
    given,
    normal,
    place,
    secrets_of,
    settings_of,
    urls_of,
    with_provider,
)
from gateway.config.complaints import did_you_mean, quoted
from gateway.config.resolve import Loaded
from gateway.config.snapshot import Provider
from gateway.config.spec import ProviderSpec
from gateway.core.addresses import REFUSED
from gateway.core.deed import Actor, Change, Deed, changes
from gateway.core.made_provider import KeptTest, MadeProvider
from gateway.core.secret import Secret
from gateway.store.errors import NameTaken, Outdated
from gateway.store.sealed import Place
from gateway.upstream.diagnosis import Check

Kept = TypeVar("Kept")

CANDIDATE = "candidate"
"""How a provider is called that is only asked what it lists, and has no name yet."""

Look = Callable[[Provider, str | None], Awaitable[Check]]
"""One look at a provider, by a call to a model if one is named: `gateway.upstream.discovery.check`."""


class InUse(NotDone):
    """Clients can ask for models that lead there."""


class ProviderStore(Protocol):
    """Where providers are kept, and the audit log of them: `gateway.store.providers.Providers`."""

    def list(self) -> list[MadeProvider]: ...
    def insert(self, provider: MadeProvider, deed: Deed) -> MadeProvider: ...
    def update(self, provider: MadeProvider, deed: Deed) -> MadeProvider: ...
    def delete(self, provider: MadeProvider, deed: Deed) -> None: ...
    def keep_test(self, name: str, test: KeptTest, version: int | None) -> None: ...
    def tests(self) -> dict[str, KeptTest]: ...


class Nowhere:
    """In the place of the store where there is no database: it holds no provider, takes none, and forgets tests."""

    def list(self) -> list[MadeProvider]:
        return []

    def insert(self, provider: MadeProvider, deed: Deed) -> NoReturn:
        raise NoDatabase

    def update(self, provider: MadeProvider, deed: Deed) -> NoReturn:
        raise NoDatabase

    def delete(self, provider: MadeProvider, deed: Deed) -> NoReturn:
        raise NoDatabase

    def keep_test(self, name: str, test: KeptTest, version: int | None) -> None:
        pass

    def tests(self) -> dict[str, KeptTest]:
        return {}


class Seals(Opens, Checks, Protocol):
    """What keeps secrets: `gateway.store.envelope.Vault`."""

    def seal(self, secret: Secret, place: Place) -> str: ...


class Apart(Protocol):
    """Does what blocks in a thread, such as `asyncio.to_thread`."""

    def __call__(self, work: Callable[[], Kept], /) -> Awaitable[Kept]: ...


class Roster:
    """The providers of a gateway, in the hands of one person: those that the configuration declares, and a store's.

    `noted` is told of each change once it is made.
    """

    def __init__(
        self,
        store: ProviderStore,
        vault: Seals,
        loaded: Loaded,
        *,
        now: Callable[[], float],
        actor: Actor,
        look: Look,
        noted: Callable[[Deed], None] = lambda deed: None,
        resolve: Resolve = addresses,
        apart: Apart = asyncio.to_thread,
    ) -> None:
        self._store = store
        self._vault = vault
        self._loaded = loaded
        self._now = now
        self._actor = actor
        self._look = look
        self._noted = noted
        self._resolve = resolve
        self._apart = apart

    def list(self) -> list[Listed]:
        """All of them: those of the configuration in its order, then the others by name."""
        tests, loaded = self._store.tests(), self._loaded
        return [
            *(declared(name, loaded, tests.get(name)) for name in loaded.spec.providers),
            *(made(row, loaded, self._vault, tests.get(row.name)) for row in self._store.list()),
        ]

    def get(self, name: str) -> Listed:
        """One of them. Raises Missing."""
        found = self.list()
        for each in found:
            if each.name == name:
                return each
        raise _missing(name, [each.name for each in found])

    def create(self, written: Mapping[str, Any]) -> Listed:
        """Makes a provider. `written` is an entry of `providers` with its name, as JSON.

        Raises Unreadable, Taken and Locked.
        """
        name, now = check_name(written.get("name")), self._now()
        if name in self._loaded.spec.providers:
            raise Taken(f"There is a provider {quoted(name)} already, declared in {place_of(name, self._loaded)}.")
        spec = self._read(name, written)
        new = self._with_secrets(MadeProvider(name, now, now, settings_of(written)), secrets_of(spec))
        deed = self._deed("provider.create", name, changes({}, _told(new)))
        try:
            kept = self._store.insert(new, deed)
        except NameTaken:
            raise Taken(f"There is a provider {quoted(name)} already.") from None
        self._noted(deed)
        return made(kept, self._loaded, self._vault)

    def edit(self, name: str, patch: Mapping[str, Any], seen: Seen = None) -> Listed:
        """Changes a provider. `patch` is a JSON merge patch (RFC 7396) to its entry: what it does not name stays, a
        secret too. Raises Unreadable, Declared, Missing, Changed, Stale and Locked.
        """
        if "name" in patch:
            raise Unreadable([Fault("name", "cannot be changed: the ledger knows providers by name")])
        row, patch = self._found(name, seen), normal(patch)
        before, anew = closed(row), given(patch)
        written = patched(before, patch)
        found = secrets_of(self._read(name, written))
        kept = {field: sealed for field, sealed in row.secrets.items() if field in found and field not in anew}
        _check_moves(kept, [move for move in MOVES if before.get(move) != written.get(move)])
        new = replace(row, changed=self._now(), settings=settings_of(written), secrets=kept)
        new = self._with_secrets(new, {field: found[field] for field in found if field not in kept})
        what = changes(_told(row), _told(new))
        what += tuple(Change(field, "set", "set anew") for field in anew if field in row.secrets)
        deed = self._deed("provider.edit", name, what)
        return made(self._change(lambda: self._store.update(new, deed), deed, seen), self._loaded, self._vault)

    def delete(self, name: str, seen: Seen = None) -> None:
        """Deletes a provider that no model leads to. Raises Declared, Missing, InUse, Changed and Stale."""
        row = self._found(name, seen)
        if uses := _uses(self._loaded, row):
            raise InUse(
                f"The provider {quoted(name)} serves {', '.join(uses)}: take that out of its models, "
                "or set enabled to false, and delete it then."
            )
        deed = self._deed("provider.delete", name, changes(_told(row), {}))
        self._change(lambda: self._store.delete(row, deed), deed, seen)

    async def test(self, name: str, model: str | None = None) -> KeptTest:
        """Looks at a provider, by a call to a model if one is named, and keeps what is seen: reachable, credentials,
        latency, and the models that its API lists. Raises Missing, Unreadable and Locked.
        """
        provider, version = await self._apart(lambda: self._provider(name))
        test = KeptTest(self._now(), asdict(await self._look(provider, model)))
        await self._apart(lambda: self._store.keep_test(name, test, version))
        return test

    async def models(self, name: str) -> KeptTest:
        """Asks a provider what it lists, which tests it as well. Raises Missing, Unreadable and Locked."""
        return await self.test(name)

    async def discover(self, written: Mapping[str, Any]) -> Check:
        """Looks at a provider before it is saved. Keeps nothing. Raises Unreadable."""
        candidate = await self._apart(lambda: self._alone(CANDIDATE, written))
        return await self._look(candidate, None)

    def _provider(self, name: str) -> tuple[Provider, int | None]:
        """One of them as it is now, and of those that were made at run time the version."""
        if known := self._loaded.snapshot.providers.get(name):
            return known, None
        row = self._found(name)
        return self._alone(name, entry(row.settings, opened(row, self._vault))), row.version

    def _alone(self, name: str, written: Mapping[str, Any]) -> Provider:
        """As if there were no others: to a look it does not matter what is published, here or elsewhere."""
        found = with_provider(alone(self._loaded), name, {**written, "models": None})
        self._check_names(found.spec.providers[name])
        return found.snapshot.providers[name]

    def _read(self, name: str, written: Mapping[str, Any]) -> ProviderSpec:
        spec = with_provider(self._with_all(), name, written).spec.providers[name]
        self._check_names(spec)
        return spec

    def _with_all(self) -> Loaded:
        """The configuration with all that were made at run time: what they publish is taken, too."""
        loaded = self._loaded
        for row in self._store.list():
            if row.name not in self._loaded.spec.providers:
                with suppress(Unreadable):
                    loaded, _ = laid_over(loaded, row.name, closed(row))
        return loaded

    def _check_names(self, spec: ProviderSpec) -> None:
        faults = [
            Fault(field, REFUSED)
            for field, url in urls_of(spec).items()
            if resolves_to_refused(host_of(url), self._resolve)
        ]
        if faults:
            raise Unreadable(faults)

    def _found(self, name: str, seen: Seen = None) -> MadeProvider:
        if name in self._loaded.spec.providers:
            where = place_of(name, self._loaded)
            raise Declared(f"The provider {quoted(name)} is declared in {where}: change it there.")
        rows = {each.name: each for each in self._store.list()}
        if name not in rows:
            raise _missing(name, [*rows, *self._loaded.spec.providers])
        if seen is not None and rows[name].version not in seen:
            raise _stale(name)
        return rows[name]

    def _change(self, change: Callable[[], Kept], deed: Deed, seen: Seen) -> Kept:
        name = deed.subject
        try:
            kept = change()
        except Outdated:
            if seen is not None:
                raise _stale(name) from None
            raise Changed(
                f"Somebody else has changed the provider {quoted(name)} just now; look at it again."
            ) from None
        self._noted(deed)
        return kept

    def _with_secrets(self, row: MadeProvider, secrets: Mapping[str, Secret]) -> MadeProvider:
        sealed = {field: self._vault.seal(secret, place(row, field)) for field, secret in secrets.items()}
        return replace(row, secrets={**row.secrets, **sealed})

    def _deed(self, action: str, name: str, what: tuple[Change, ...]) -> Deed:
        return Deed(self._now(), self._actor, action, name, what)


def _check_moves(kept: Collection[str], moved: Collection[str]) -> None:
    """Whoever may edit a provider may not thereby get to see its secrets: they are not sent elsewhere unless given."""
    if kept and moved:
        why = f"must be given again, because {' and '.join(moved)} changes: it is sent nowhere else by itself"
        raise Unreadable([Fault(field, why) for field in kept])


def _uses(loaded: Loaded, row: MadeProvider) -> list[str]:
    """The public names that lead to a provider, as they may stand in a sentence."""
    try:
        snapshot = laid_over(loaded, row.name, closed(row))[0].snapshot
    except Unreadable:
        return []
    found = {**snapshot.models, **{f"{prefix}*{suffix}": model for prefix, suffix, model in snapshot.patterns}}
    named = [quoted(name) for name, model in found.items() if row.name in {each.provider for each in model.targets}]
    return [*named, *(["all that it lists"] if row.name in snapshot.to_discover else [])]


def _told(row: MadeProvider) -> dict[str, Any]:
    """What the audit log may know."""
    return {**row.settings, **dict.fromkeys(row.secrets, "set")}


def _missing(name: str, known: Collection[str]) -> Missing:
    return Missing(f"There is no provider {quoted(name)}{did_you_mean(name, known)}.")


def _stale(name: str) -> Stale:
    return Stale(f"The provider {quoted(name)} has changed since you looked at it; look again.")
