"""
What can be asked of the ledger and done with keys, for the command line and for the HTTP API alike. No HTTP and no SQL:
the ledger and the keys' store are arguments, and every method blocks for as long as they do.

What cannot be done is an error with words for whoever asked:

NotDone
* Missing    there is no key of that name
* Declared   the configuration declares it, so that it is changed there
* Taken      the name belongs to another key, of today or of yesterday
* Over       the key was revoked, or has expired
* Changed    somebody else was quicker

`Unreadable`, which says what is to be mended field by field, comes from `gateway.admin.wanted`; DatabaseAway and its
kind from the store.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args

from gateway.admin.moments import asked, told
from gateway.admin.overlay import key_of
from gateway.admin.wanted import Fault, Unreadable, settings, wanted
from gateway.config.complaints import did_you_mean, one_of, quoted
from gateway.config.resolve import Loaded
from gateway.config.snapshot import Key, Snapshot
from gateway.core.secret import Secret
from gateway.store.keys import NameTaken, Outdated, VirtualKey
from gateway.store.ledger import HOUR, By, Chosen, Spent

PREFIX = "sk-"
"""What clients expect a key to begin with."""

ALPHABET = string.ascii_letters + string.digits
"""Characters of a key: a double click marks all of it, and no shell or URL minds any."""

LENGTH = 43
"""So many of them are 256 bits of chance."""

SHOWN = len(PREFIX) + 6
"""Characters of a key that are kept to know it by."""

State = Literal["valid", "expired", "revoked", "shadowed", "unreadable"]
"""`shadowed`: the configuration declares a key of that name, which counts instead."""


class NotDone(Exception):
    """The message is a whole sentence, for whoever asked."""


class Missing(NotDone):
    """There is no such key."""


class Declared(NotDone):
    """The key stands in the configuration."""


class Taken(NotDone):
    """The name cannot be given to another key."""


class Over(NotDone):
    """The key is not valid any more."""


class Changed(NotDone):
    """Somebody else has changed the key in the meantime."""


class KeyStore(Protocol):
    """Where keys are kept: `gateway.store.keys.Keys`."""

    def list(self) -> list[VirtualKey]: ...
    def insert(self, key: VirtualKey) -> VirtualKey: ...
    def update(self, key: VirtualKey) -> VirtualKey: ...
    def revoke(self, name: str, at: float) -> bool: ...


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


class Made(NamedTuple):
    """A key that has just been made, and the only copy of it."""

    listed: Listed
    key: Secret


class Keyring:
    """The keys of one configuration: those that it declares, and those in its database. For any number of threads."""

    def __init__(
        self, store: KeyStore, snapshot: Snapshot, places: Mapping[str, str], now: Callable[[], float]
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._declared = {key.name: key for key in snapshot.keys.values() if key.name in places}
        self._places = places
        self._now = now

    def list(self) -> list[Listed]:
        """All keys: those of the configuration in its order, then the others by name."""
        now = self._now()
        declared = [
            Listed(name, "expired" if _is_past(key.expires, now) else "valid", key, self._places[name])
            for name, key in self._declared.items()
        ]
        return [*declared, *(self._listed(made) for made in self._store.list())]

    def create(self, written: Mapping[str, Any]) -> Made:
        """Makes a key. `written` is an entry of `keys`, as JSON. Raises Unreadable and Taken."""
        secret = _new()
        now = self._now()
        key = wanted(written, _digest(secret), self._snapshot, now)
        if place := self._places.get(key.name):
            raise Taken(f"There is a key {quoted(key.name)} already, declared in {place}.")
        made = VirtualKey(
            name=key.name,
            sha256=key.digest.hex(),
            shown=secret[:SHOWN],
            created=now,
            expires=key.expires,
            settings=settings(key),
        )
        try:
            return Made(self._listed(self._store.insert(made)), Secret(secret))
        except NameTaken:
            raise Taken(
                f"There is a key {quoted(key.name)} already, or was: the ledger knows keys by name, "
                "so no name is given twice."
            ) from None

    def rotate(self, name: str, overlap: float) -> Made:
        """Makes a new key in the place of an old one, which stays valid for so many seconds.

        If it was rotated before and that overlap is not over, it ends now. Raises Declared, Missing, Over and Changed.
        """
        made, now, secret = self._found(name), self._now(), _new()
        if made.revoked is not None:
            raise Over(f"The key {quoted(name)} was revoked on {told(made.revoked)}.")
        if made.expires is not None and made.expires <= now:
            raise Over(f"The key {quoted(name)} expired on {told(made.expires)}.")
        new = replace(
            made,
            sha256=_digest(secret).hex(),
            shown=secret[:SHOWN],
            replaced_sha256=made.sha256,
            replaced_until=min(now + overlap, inf if made.expires is None else made.expires),
        )
        try:
            return Made(self._listed(self._store.update(new)), Secret(secret))
        except Outdated:
            raise Changed(f"Somebody else has changed the key {quoted(name)} just now; look at it again.") from None

    def revoke(self, name: str) -> Listed:
        """Ends a key for good, and the one it has replaced. Raises Declared, Missing and Over."""
        made, now = self._found(name), self._now()
        if not self._store.revoke(name, now):
            since = self._found(name).revoked or now
            raise Over(f"The key {quoted(name)} was revoked on {told(since)} already.")
        return self._listed(replace(made, revoked=now, replaced_until=None))

    def _found(self, name: str) -> VirtualKey:
        if place := self._places.get(name):
            raise Declared(f"The key {quoted(name)} is declared in {place}: change it there.")
        made = {each.name: each for each in self._store.list()}
        if name not in made:
            raise Missing(f"There is no key {quoted(name)}{did_you_mean(name, [*made, *self._places])}.")
        return made[name]

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
        )

    def _state(self, made: VirtualKey, key: Key | None) -> State:
        if made.name in self._places:
            return "shadowed"
        if made.revoked is not None:
            return "revoked"
        if key is None:
            return "unreadable"
        return "expired" if _is_past(key.expires, self._now()) else "valid"


def places(loaded: Loaded) -> dict[str, str]:
    """Where a configuration declares its keys, by their names."""
    review = loaded.review
    return {each.name: f"{review.file}:{review.line(('keys', at))}" for at, each in enumerate(loaded.spec.keys)}


class Sums(Protocol):
    """What calls came to: `gateway.store.ledger.Ledger`."""

    def usage(self, by: By, chosen: Chosen) -> list[Spent]: ...


class Line(NamedTuple):
    """What some calls came to."""

    spent: Spent
    errors: int
    """Calls that did not end well, whoever is to blame: refused, failed, cut short, or left by their client."""


class Usage(NamedTuple):
    """What was used in a time. `since` and `until` are whole hours: sums are of these."""

    by: By
    since: float | None
    until: float | None
    lines: list[Line]
    total: Line


def usage(ledger: Sums, by: By, chosen: Chosen) -> Usage:
    """What the chosen calls came to: by time rising, by anything else with the dearest first."""
    # First all, then the good ones: a call that is entered in between can hide an error for a moment, but make none.
    spent = ledger.usage(by, chosen)
    well = {each.by: each.calls for each in ledger.usage(by, chosen._replace(outcome="ok"))}
    lines = [Line(each, max(0, each.calls - well.get(each.by, 0))) for each in spent]
    start = None if chosen.since is None else chosen.since // HOUR * HOUR
    end = None if chosen.until is None else -(-chosen.until // HOUR) * HOUR
    return Usage(by, start, end, lines, _total(lines))


def question(
    by: str,
    now: float,
    *,
    since: str | None = None,
    until: str | None = None,
    key: str | None = None,
    model: str | None = None,
    provider: str | None = None,
) -> tuple[By, Chosen]:
    """What somebody wants to know of the ledger, as it was written. Raises Unreadable."""
    faults = [] if by in get_args(By) else [Fault("by", f"{quoted(by)} must be {one_of(get_args(By))}")]
    found: dict[str, float | None] = {}
    for name, text in (("since", since), ("until", until)):
        try:
            found[name] = None if text is None else asked(text, now)
        except ValueError as error:
            faults.append(Fault(name, f"{quoted(text or '')} {error}"))
    first, last = found.get("since"), found.get("until")
    if first is not None and last is not None and last <= first:
        faults.append(Fault("until", f"{quoted(until or '')} is not after {quoted(since or '')}"))
    if faults:
        raise Unreadable(faults)
    return cast(By, by), Chosen(key, model, provider, since=first, until=last)


def _total(lines: list[Line]) -> Line:
    sums = (sum(amounts) for amounts in zip(*(line.spent[1:] for line in lines), strict=True))
    return Line(Spent("", *(sums if lines else [0] * (len(Spent._fields) - 1))), sum(line.errors for line in lines))


def _new() -> str:
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _is_past(moment: float | None, now: float) -> bool:
    return moment is not None and moment <= now
