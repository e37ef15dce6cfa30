"""
Providers made at run time, as the database keeps them, and what the last test of each provider has shown.

As with keys, every change takes a new number from one counter, the version of the row too. A test is no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, select, update

from gateway.core.deed import Deed
from gateway.core.made_provider import KeptTest, MadeProvider
from gateway.store.audit import note
from gateway.store.database import Database, next_version, present_version, provider_tests, providers, versions
from gateway.store.errors import DatabaseUnfit, NameTaken, Outdated

COUNTER = "providers"


class Providers:
    """The providers in one database, for any number of threads. Every method blocks, and raises DatabaseAway.

    A change comes with the `Deed` that the audit log has of it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """Another number than before means that a provider has changed. Cheap: one row."""
        with self._database.reading() as connection:
            return present_version(connection, COUNTER)

    def list(self) -> list[MadeProvider]:
        """All of them by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(providers).order_by(providers.c.name)).all()
        return [_provider(row) for row in rows]

    def insert(self, provider: MadeProvider, deed: Deed | None = None) -> MadeProvider:
        """Adds one, and gives it with its version. Raises NameTaken."""
        try:
            with self._database.writing() as connection:
                row = {**_row(provider), "version": next_version(connection, COUNTER)}
                connection.execute(providers.insert(), row)
                _changed(connection, provider.name, deed)
        except DatabaseUnfit as error:
            raise NameTaken(provider.name) from error
        return _provider_of(row)

    def update(self, provider: MadeProvider, deed: Deed | None = None) -> MadeProvider:
        """Replaces the version that `provider` names. Gives it with its new one. Raises Outdated."""
        with self._database.writing() as connection:
            row = _replaced(connection, provider)
            _changed(connection, provider.name, deed)
        return _provider_of(row)

    def reseal(self, provider: MadeProvider, deed: Deed) -> None:
        """The same for one that is as it was, but sealed anew. Raises Outdated."""
        with self._database.writing() as connection:
            _replaced(connection, provider)
            note(connection, deed)

    def delete(self, provider: MadeProvider, deed: Deed | None = None) -> None:
        """Deletes the version that `provider` names. Raises Outdated."""
        with self._database.writing() as connection:
            next_version(connection, COUNTER)
            if connection.execute(delete(providers).where(_same(provider))).rowcount != 1:
                raise Outdated(provider.name)
            _changed(connection, provider.name, deed)

    def keep_test(self, name: str, test: KeptTest, version: int | None = None) -> None:
        """Keeps what a test of a provider, made or declared, has shown, in the place of the one before.

        Of one that was made, if it still has the version that was tested: a test takes seconds.
        """
        row = {"name": name, "at": test.at, "found": orjson.dumps(dict(test.found)).decode()}
        with self._database.writing() as connection:
            # Locks, so that of two tests which end at once one waits for the other instead of failing.
            connection.execute(select(versions).where(versions.c.name == COUNTER).with_for_update())
            tested = (providers.c.name == name) & (providers.c.version == version)
            if version is None or connection.execute(select(providers.c.name).where(tested)).first():
                _forget_test(connection, name)
                connection.execute(provider_tests.insert(), row)

    def tests(self) -> dict[str, KeptTest]:
        """The last test of each provider that was tested since it was changed."""
        with self._database.reading() as connection:
            rows = connection.execute(select(provider_tests)).all()
        return {row.name: KeptTest(row.at, orjson.loads(row.found)) for row in rows}


def _replaced(connection: Connection, provider: MadeProvider) -> dict[str, Any]:
    row = {**_row(provider), "version": next_version(connection, COUNTER)}
    if connection.execute(update(providers).where(_same(provider)).values(row)).rowcount != 1:
        raise Outdated(provider.name)
    return row


def _changed(connection: Connection, name: str, deed: Deed | None) -> None:
    """What was seen of it before says nothing of it now."""
    _forget_test(connection, name)
    if deed is not None:
        note(connection, deed)


def _forget_test(connection: Connection, name: str) -> None:
    connection.execute(delete(provider_tests).where(provider_tests.c.name == name))


def _same(provider: MadeProvider) -> Any:
    return (providers.c.name == provider.name) & (providers.c.version == provider.version)


def _row(provider: MadeProvider) -> dict[str, Any]:
    row = {column.name: getattr(provider, column.name) for column in providers.columns}
    return {**row, "settings": _json(provider.settings), "secrets": _json(provider.secrets)}


def _json(content: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(content)).decode()


def _provider(row: Row[Any]) -> MadeProvider:
    return _provider_of(row._asdict())


def _provider_of(row: dict[str, Any]) -> MadeProvider:
    return MadeProvider(**{**row, "settings": orjson.loads(row["settings"]), "secrets": orjson.loads(row["secrets"])})
