"""The databases that every test of what is kept in one runs with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.secret import Secret
from gateway.store.database import Database
from gateway.store.ledger import Ledger
from tests.house.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """One server for all tests of a process; each has databases of its own."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gateway.db"
    running: Postgres = request.getfixturevalue("server")
    return running.new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An empty database that is up to date."""
    found = Database(Secret(url))
    found.prepare()
    yield found
    found.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """A ledger with nothing in it."""
    return Ledger(database)
