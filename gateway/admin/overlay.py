"""
The keys that were made at run time, laid over those of the configuration. Pure: the time is an argument.

It is called again whenever one of the two changes. Between that, a key that expires, or whose overlap ends, is refused
by `gateway.policy.access`: what is merged knows until when each is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.admin.wanted import Unreadable, kept
from gateway.config.snapshot import Key, Snapshot

if TYPE_CHECKING:
    from gateway.core.virtual_key import VirtualKey

OVER = 0.0
"""When a key expired that was revoked, or cannot be read: on every replica, whatever its clock says."""


def merged(snapshot: Snapshot, made: Iterable[VirtualKey], now: float) -> Snapshot:
    """The snapshot of a configuration with the valid ones of these keys. `now` is in seconds since 1970.

    A key of the configuration wins over one of the same name. A key that was rotated is there twice until its overlap
    is over, under one name, so that both count against the same limits. One that cannot be read is left out: see
    `unreadable`.
    """
    declared = {key.name for key in snapshot.keys.values()}
    found = {key.digest: key for each in made if each.name not in declared for key in _keys(each)}
    valid = {digest: key for digest, key in found.items() if key.expires is None or now < key.expires}
    # Without any key everyone may call. Whoever revokes the last one wants nobody to: then those that are over, and are
    # refused as such, keep the door shut.
    return replace(snapshot, keys={**(valid if valid or snapshot.keys else found), **snapshot.keys})


def key_of(made: VirtualKey) -> Key:
    """One of these keys as the configuration would have it, but that it may be revoked. Raises Unreadable."""
    return replace(kept(made.name, made.settings, bytes.fromhex(made.sha256)), expires=made.expires)


def unreadable(made: Iterable[VirtualKey]) -> dict[str, str]:
    """The keys that are refused because their settings cannot be read, and why: for the log."""
    found = {}
    for each in made:
        try:
            key_of(each)
        except Unreadable as error:
            found[each.name] = str(error)
    return found


def _keys(made: VirtualKey) -> Iterator[Key]:
    """The key, and the one that it has replaced."""
    try:
        key = key_of(made)
    except Unreadable:
        key = Key(made.name, bytes.fromhex(made.sha256), expires=OVER)
    yield replace(key, expires=OVER) if made.revoked is not None else key
    if made.revoked is None and made.replaced_sha256 is not None and made.replaced_until is not None:
        until = made.replaced_until if key.expires is None else min(key.expires, made.replaced_until)
        yield replace(key, digest=bytes.fromhex(made.replaced_sha256), expires=until)
