"""
What can be done with keys, for the command line and for the HTTP API alike. No HTTP and no SQL: the keys' store is an
argument, and every method blocks for as long as it does. Every change leaves an entry in the audit log.

What cannot be done is an error with words for whoever asked:

NotDone
* Missing      there is none of that name
* Declared     the configuration declares it, so that it is changed there
* Taken        the name belongs to another one, of today or of yesterday
* Over         it was revoked, has expired, or cannot be read
* Changed      somebody else was quicker
* Stale        it is not what whoever asked has seen of it
* NoDatabase   there is nowhere to keep it
* NoFile       there is nothing to read once more

`Unreadable`, which says what is to be mended field by field, comes from `gateway.admin.wanted`; DatabaseAway and its
kind from the store.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

from gateway.admin.moments import iso, told
from gateway.admin.overlay import key_of
from gateway.admin.wanted import Fault, Unreadable, settings, wanted
from gateway.config.complaints import did_you_mean, quoted
from gateway.config.snapshot import Key, Snapshot
from gateway.core.deed import Actor, Change, Deed, changes
from gateway.core.secret import Secret
from gateway.core.virtual_key import VirtualKey
from gateway.store.errors import NameTaken, Outdated

PREFIX = "sk-"
"""What clients expect a key to begin with."""

ALPHABET = string.ascii_letters + string.digits
"""Characters of a key: a double click marks all of it, and no shell or URL minds any."""

LENGTH = 43
"""So many of them are 256 bits of chance."""

SHOWN = len(PREFIX) + 6
"""Characters of a key that are kept to know it by."""

Seen = Collection[int] | None
"""The versions of a key that whoever asks has in mind; None: whichever it has."""

State = Literal["valid", "expired", "revoked", "shadowed", "unreadable"]
"""`shadowed`: the configuration declares a key of that name, which counts instead."""


class NotDone(Exception):
    """The message is a whole sentence, for whoever asked."""


class Missing(NotDone):
    """There is none of that name."""


class Declared(NotDone):
    """It stands in the configuration."""


class Taken(NotDone):
    """The name cannot be given to another one."""


class Over(NotDone):
    """It is not valid any more."""


class Changed(NotDone):
    """Somebody else has changed it in this moment."""


class Stale(NotDone):
    """It has changed since it was looked at."""


class NoFile(NotDone):
    """There is nothing to read once more."""

    def __init__(self) -> None:
        super().__init__("This gateway runs without a configuration file: there is nothing to read once more.")


class NoDatabase(NotDone):
    """There is nowhere to keep or to look for it."""

    def __init__(self) -> None:
        super().__init__(
            "This needs a database, and the configuration names none: write "
            'state: {database: "sqlite:///gateway.db"}, or name one of PostgreSQL.'
        )


class KeyStore(Protocol):
    """Where keys are kept, and the audit log of them: `gateway.store.keys.Keys`."""

    def list(self) -> list[VirtualKey]: ...
    def insert(self, key: VirtualKey, deed: Deed) -> VirtualKey: ...
    def update(self, key: VirtualKey, deed: Deed) -> VirtualKey: ...
    def revoke(self, name: str, at: float, deed: Deed) -> bool: ...


class Nowhere:
    """In the place of the store where there is no database: it holds no key, and takes none."""

    def list(self) -> list[VirtualKey]:
        return []

    def insert(self, key: VirtualKey, deed: Deed) -> NoReturn:
        raise NoDatabase

    def update(self, key: VirtualKey, deed: Deed) -> NoReturn:
        raise NoDatabase

    def revoke(self, name: str, at: float, deed: Deed) -> NoReturn:
        raise NoDatabase


@dataclass(frozen=True, slots=True)
class Listed:
    """One key, as it may be shown. Times are in seconds since 1970."""

    name: str
    state: State
    key: Key | None
    """None where it cannot be read."""
    place: str | None = None
    """`FILE:LINE` of the configuration that declares it; None: it was made at run time."""
    shown: str | None = None
    """How it begins. Unknown of those that the configuration declares."""
    created: float | None = None
    revoked: float | None = None
    previous_until: float | None = None
    """How long the key that this one has replaced is still valid."""
    version: int | None = None
    """Of those that were made at run time: another one with each change."""


class Made(NamedTuple):
    """A key that has just been made, and the only copy of it."""

    listed: Listed
    key: Secret


class Keyring:
    """The keys of a gateway, in the hands of one person: those that the configuration declares, and those of a store.

    For any number of threads. `noted` is told of each change once it is made.
    """

    def __init__(
        self,
        store: KeyStore,
        snapshot: Snapshot,
        now: Callable[[], float],
        actor: Actor,
        noted: Callable[[Deed], None] = lambda deed: None,
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._declared = {key.name: key for key in snapshot.keys.values() if key.place}
        self._now = now
        self._actor = actor
        self._noted = noted

    def list(self) -> list[Listed]:
        """All keys: those of the configuration in its order, then the others by name."""
        now = self._now()
        declared = [
            Listed(name, "expired" if _is_past(key.expires, now) else "valid", key, key.place)
            for name, key in self._declared.items()
        ]
        return [*declared, *map(self._listed, self._store.list())]

    def get(self, name: str) -> Listed:
        """One of them. Raises Missing."""
        found = self.list()
        for each in found:
            if each.name == name:
                return each
        raise _missing(name, [each.name for each in found])

    def create(self, written: Mapping[str, Any]) -> Made:
        """Makes a key. `written` is an entry of `keys`, as JSON. Raises Unreadable and Taken."""
        secret, now = _new(), self._now()
        key = wanted(written, _digest(secret), self._snapshot, now)
        if declared := self._declared.get(key.name):
            raise Taken(f"There is a key {quoted(key.name)} already, declared in {declared.place}.")
        made = VirtualKey(
            name=key.name,
            sha256=key.digest.hex(),
            shown=secret[:SHOWN],
            created=now,
            expires=key.expires,
            settings=settings(key),
        )
        deed = self._deed("key.create", key.name, changes({}, _said(key)))
        try:
            made = self._store.insert(made, deed)
        except NameTaken:
            raise Taken(
                f"There is a key {quoted(key.name)} already, or was: the ledger knows keys by name, "
                "so no name is given twice."
            ) from None
        self._noted(deed)
        return Made(self._listed(made), Secret(secret))

    def edit(self, name: str, patch: Mapping[str, Any], seen: Seen = None) -> Listed:
        """Changes what a key may do. `patch` is a JSON merge patch (RFC 7396) to its entry: null takes a field out.

        Raises Unreadable, Declared, Missing, Over, Changed and Stale.
        """
        if "name" in patch:
            raise Unreadable([Fault("name", "cannot be changed: the ledger knows keys by name")])
        made = self._found(name, seen)
        if made.revoked is not None:
            raise Over(f"The key {quoted(name)} was revoked on {told(made.revoked)}.")
        before = self._readable(made)
        written = {**patched(settings(before), patch), "name": name}
        key = wanted(written, before.digest, self._snapshot, self._now())
        if "expires" not in patch:
            key = replace(key, expires=made.expires)
        new = replace(made, expires=key.expires, settings=settings(key))
        return self._replace(new, self._deed("key.edit", name, changes(_said(before), _said(key))), seen)

    def rotate(self, name: str, overlap: float, seen: Seen = None) -> Made:
        """Makes a new key in the place of an old one, which stays valid for so many seconds.

        If it was rotated before and that overlap is not over, it ends now.
        Raises Declared, Missing, Over, Changed and Stale.
        """
        made, now, secret = self._found(name, seen), self._now(), _new()
        if made.revoked is not None:
            raise Over(f"The key {quoted(name)} was revoked on {told(made.revoked)}.")
        if made.expires is not None and made.expires <= now:
            raise Over(f"The key {quoted(name)} expired on {told(made.expires)}.")
        until = min(now + overlap, inf if made.expires is None else made.expires)
        new = replace(
            made,
            sha256=_digest(secret).hex(),
            shown=secret[:SHOWN],
            replaced_sha256=made.sha256,
            replaced_until=until,
        )
        what = (Change("shown", made.shown, new.shown), Change("previous_until", None, iso(until)))
        return Made(self._replace(new, self._deed("key.rotate", name, what), seen), Secret(secret))

    def revoke(self, name: str, seen: Seen = None) -> Listed:
        """Ends a key for good, and the one it has replaced. Raises Declared, Missing, Over and Stale.

        Whoever changes it in the same moment does not stand in the way.
        """
        made, now = self._found(name, seen), self._now()
        deed = self._deed("key.revoke", name, (Change("revoked", None, iso(now)),))
        if not self._store.revoke(name, now, deed):
            since = self._found(name).revoked or now
            raise Over(f"The key {quoted(name)} was revoked on {told(since)} already.")
        self._noted(deed)
        return self._listed(replace(made, revoked=now, replaced_until=None))

    def _found(self, name: str, seen: Seen = None) -> VirtualKey:
        if declared := self._declared.get(name):
            raise Declared(f"The key {quoted(name)} is declared in {declared.place}: change it there.")
        made = {each.name: each for each in self._store.list()}
        if name not in made:
            raise _missing(name, [*made, *self._declared])
        if seen is not None and made[name].version not in seen:
            raise _stale(name)
        return made[name]

    def _readable(self, made: VirtualKey) -> Key:
        try:
            return key_of(made)
        except Unreadable as error:
            raise Over(f"The key {quoted(made.name)} cannot be read by this program: {error}.") from None

    def _replace(self, new: VirtualKey, deed: Deed, seen: Seen) -> Listed:
        try:
            made = self._store.update(new, deed)
        except Outdated:
            if seen is not None:
                raise _stale(new.name) from None
            raise Changed(f"Somebody else has changed the key {quoted(new.name)} just now; look at it again.") from None
        self._noted(deed)
        return self._listed(made)

    def _deed(self, action: str, name: str, what: tuple[Change, ...]) -> Deed:
        return Deed(self._now(), self._actor, action, name, what)

    def _listed(self, made: VirtualKey) -> Listed:
        try:
            key = key_of(made)
        except Unreadable:
            key = None
        return Listed(
            name=made.name,
            state=self._state(made, key),
            key=key,
            shown=made.shown,
            created=made.created,
            revoked=made.revoked,
            previous_until=None if _is_past(made.replaced_until, self._now()) else made.replaced_until,
            version=made.version,
        )

    def _state(self, made: VirtualKey, key: Key | None) -> State:
        if made.name in self._declared:
            return "shadowed"
        if made.revoked is not None:
            return "revoked"
        if key is None:
            return "unreadable"
        return "expired" if _is_past(key.expires, self._now()) else "valid"


def patched(said: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON merge patch makes of an object: https://www.rfc-editor.org/rfc/rfc7396#section-2."""
    found = dict(said)
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            old = found.get(name)
            found[name] = patched(old if isinstance(old, dict) else {}, value)
        else:
            found[name] = value
    return found


def _said(key: Key) -> dict[str, Any]:
    """All that may be changed of a key, as JSON."""
    return settings(key) | ({} if key.expires is None else {"expires": iso(key.expires)})


def _missing(name: str, known: Iterable[str]) -> Missing:
    return Missing(f"There is no key {quoted(name)}{did_you_mean(name, known)}.")


def _stale(name: str) -> Stale:
    return Stale(f"The key {quoted(name)} has changed since you looked at it; look again.")


def _new() -> str:
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _is_past(moment: float | None, now: float) -> bool:
    return moment is not None and moment <= now
