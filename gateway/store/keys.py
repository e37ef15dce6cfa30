"""
Virtual keys: those made at run time, as the database keeps them. The keys themselves are not in it, only their SHA-256.

Every change takes a new number from one counter, so a replica that reads the counter every few seconds knows at once
whether anything has changed. The same number is the version of the row: a change that was made to an older version is
refused rather than undoing somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select
from sqlalchemy import update as updating

from gateway.store.database import Database, versions, virtual_keys
from gateway.store.errors import DatabaseUnfit

COUNTER = "virtual_keys"


class NameTaken(Exception):
    """There is a key of that name, or was: the ledger knows keys by name, so a name is never given twice."""


class Outdated(Exception):
    """Somebody has changed the key in the meantime, or there is none of that name."""


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """One key. Times are in seconds since 1970."""

    name: str
    sha256: str = field(repr=False)
    """Of the key, in hex."""
    shown: str
    """How the key begins: enough to know it by."""
    created: float
    expires: float | None = None
    revoked: float | None = None
    """Since when it is not valid any more."""
    replaced_sha256: str | None = field(default=None, repr=False)
    """Of the key that was there before this one."""
    replaced_until: float | None = None
    """How long that one is still valid."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Models, limits, budget, priority: whatever JSON holds."""
    version: int = 0
    """Given by the database."""


class Keys:
    """The keys in one database, for any number of threads. Every method blocks, and raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """Another number than before means that a key has changed. Cheap: one row."""
        with self._database.reading() as connection:
            counter = select(versions.c.version).where(versions.c.name == COUNTER)
            return int(connection.execute(counter).scalar_one())

    def list(self) -> list[VirtualKey]:
        """All keys by name, those that are revoked or have expired too."""
        with self._database.reading() as connection:
            rows = connection.execute(select(virtual_keys).order_by(virtual_keys.c.name)).all()
        return [_key(row) for row in rows]

    def insert(self, key: VirtualKey) -> VirtualKey:
        """Adds a key, and gives it with its version. Raises NameTaken."""
        try:
            with self._database.writing() as connection:
                row = {**_row(key), "version": _next_version(connection)}
                connection.execute(virtual_keys.insert(), row)
        except DatabaseUnfit as error:
            raise NameTaken(key.name) from error
        return _key_of(row)

    def update(self, key: VirtualKey) -> VirtualKey:
        """Replaces the version that `key` names. Gives the key with its new one. Raises Outdated."""
        with self._database.writing() as connection:
            row = {**_row(key), "version": _next_version(connection)}
            same = (virtual_keys.c.name == key.name) & (virtual_keys.c.version == key.version)
            if connection.execute(updating(virtual_keys).where(same).values(row)).rowcount != 1:
                raise Outdated(key.name)
        return _key_of(row)

    def revoke(self, name: str, at: float) -> bool:
        """Ends a key and the one it replaced, whatever its version. Whether it was still valid."""
        valid = (virtual_keys.c.name == name) & virtual_keys.c.revoked.is_(None)
        with self._database.writing() as connection:
            version = _next_version(connection)
            ended = updating(virtual_keys).where(valid).values(revoked=at, replaced_until=None, version=version)
            return connection.execute(ended).rowcount == 1


def _next_version(connection: Connection) -> int:
    """Locks the counter until the transaction ends, so that whoever sees a number sees what it stands for."""
    counter = updating(versions).where(versions.c.name == COUNTER).values(version=versions.c.version + 1)
    return int(connection.execute(counter.returning(versions.c.version)).scalar_one())


def _row(key: VirtualKey) -> dict[str, Any]:
    row = {column.name: getattr(key, column.name) for column in virtual_keys.columns}
    return {**row, "settings": orjson.dumps(dict(key.settings)).decode()}


def _key(row: Row[Any]) -> VirtualKey:
    return _key_of(row._asdict())


def _key_of(row: dict[str, Any]) -> VirtualKey:
    return VirtualKey(**{**row, "settings": orjson.loads(row["settings"])})
