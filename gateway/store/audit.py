"""
The audit log: who changed what, when, and from where. Entries are only ever added.

Whatever changes something in the database notes it in the same transaction, so there is no change without its entry.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, select

from gateway.core.deed import Actor, Change, Deed, Deeds, Told
from gateway.store.database import Database, audit

MOST_LISTED = 1000
"""Entries in one page."""

COLUMNS = {"who": audit.c.who, "action": audit.c.action, "subject": audit.c.subject}


class Audit:
    """The audit log in one database, for any number of threads. Every method blocks, and raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, deed: Deed) -> None:
        """Adds an entry, for what changes nothing in the database itself."""
        with self._database.writing() as connection:
            note(connection, deed)

    def newest(self, told: Told, limit: int = 100, cursor: str | None = None) -> Deeds:
        """The newest first. Raises ValueError for a cursor that is not one of ours."""
        limit = min(max(limit, 1), MOST_LISTED)
        asked = select(audit).where(*_of(told)).order_by(audit.c.seq.desc()).limit(limit + 1)
        if cursor is not None:
            asked = asked.where(audit.c.seq < _decoded(cursor))
        with self._database.reading() as connection:
            rows = connection.execute(asked).all()
        more = len(rows) > limit
        return Deeds([_deed(row) for row in rows[:limit]], str(rows[limit - 1].seq) if more else None)


def note(connection: Connection, deed: Deed) -> None:
    """Adds an entry in the transaction of what it tells of."""
    row = {
        "time": deed.time,
        "via": deed.actor.via,
        "who": deed.actor.name,
        "address": deed.actor.address,
        "action": deed.action,
        "subject": deed.subject,
        "changes": orjson.dumps([tuple(change) for change in deed.changes]).decode(),
    }
    connection.execute(audit.insert(), row)


def _of(told: Told) -> list[ColumnElement[bool]]:
    found = [column == value for name, column in COLUMNS.items() if (value := getattr(told, name)) is not None]
    if told.since is not None:
        found.append(audit.c.time >= told.since)
    if told.until is not None:
        found.append(audit.c.time < told.until)
    return found


def _deed(row: Row[Any]) -> Deed:
    changes = tuple(Change(*each) for each in orjson.loads(row.changes))
    return Deed(row.time, Actor(row.via, row.who, row.address), row.action, row.subject, changes)


def _decoded(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError("not a cursor")
    return int(cursor)
