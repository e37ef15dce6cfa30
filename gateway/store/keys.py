"""
Virtual keys: those made at run time, as the database keeps them. The keys themselves are not in it, only their SHA-256.

Every change takes a new number from one counter, so a replica that reads the counter every few seconds knows at once
whether anything has changed. The same number is the version of the row: a change that was made to an older version is
refused rather than undoing somebody else's.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, Row, select
from sqlalchemy import update as updating

from gateway.core.deed import Deed
from gateway.core.virtual_key import VirtualKey
from gateway.store.audit import note
from gateway.store.database import Database, next_version, present_version, virtual_keys
from gateway.store.errors import DatabaseUnfit, NameTaken, Outdated

COUNTER = "virtual_keys"


class Keys:
    """The keys in one database, for any number of threads. Every method blocks, and raises DatabaseAway.

    A change comes with the `Deed` that the audit log has of it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """Another number than before means that a key has changed. Cheap: one row."""
        with self._database.reading() as connection:
            return present_version(connection, COUNTER)

    def list(self) -> list[VirtualKey]:
        """All keys by name, those that are revoked or have expired too."""
        with self._database.reading() as connection:
            rows = connection.execute(select(virtual_keys).order_by(virtual_keys.c.name)).all()
        return [_key(row) for row in rows]

    def insert(self, key: VirtualKey, deed: Deed | None = None) -> VirtualKey:
        """Adds a key, and gives it with its version. Raises NameTaken."""
        try:
            with self._database.writing() as connection:
                row = {**_row(key), "version": next_version(connection, COUNTER)}
                connection.execute(virtual_keys.insert(), row)
                _note(connection, deed)
        except DatabaseUnfit as error:
            raise NameTaken(key.name) from error
        return _key_of(row)

    def update(self, key: VirtualKey, deed: Deed | None = None) -> VirtualKey:
        """Replaces the version that `key` names. Gives the key with its new one. Raises Outdated."""
        with self._database.writing() as connection:
            row = {**_row(key), "version": next_version(connection, COUNTER)}
            same = (virtual_keys.c.name == key.name) & (virtual_keys.c.version == key.version)
            if connection.execute(updating(virtual_keys).where(same).values(row)).rowcount != 1:
                raise Outdated(key.name)
            _note(connection, deed)
        return _key_of(row)

    def revoke(self, name: str, at: float, deed: Deed | None = None) -> bool:
        """Ends a key and the one it replaced, whatever its version. Whether it was still valid."""
        valid = (virtual_keys.c.name == name) & virtual_keys.c.revoked.is_(None)
        with self._database.writing() as connection:
            version = next_version(connection, COUNTER)
            ended = updating(virtual_keys).where(valid).values(revoked=at, replaced_until=None, version=version)
            found = connection.execute(ended).rowcount == 1
            _note(connection, deed if found else None)
        return found


def _note(connection: Connection, deed: Deed | None) -> None:
    if deed is not None:
        note(connection, deed)


def _row(key: VirtualKey) -> dict[str, Any]:
    row = {column.name: getattr(key, column.name) for column in virtual_keys.columns}
    return {**row, "settings": orjson.dumps(dict(key.settings)).decode()}


def _key(row: Row[Any]) -> VirtualKey:
    return _key_of(row._asdict())


def _key_of(row: dict[str, Any]) -> VirtualKey:
    return VirtualKey(**{**row, "settings": orjson.loads(row["settings"])})
