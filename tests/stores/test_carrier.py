"""Carrying records into a database that is locked, stopped, new, too new, or there."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.store.carrier import Carrier
from gateway.store.database import VERSION, Database, metadata
from gateway.store.errors import DatabaseAway
from gateway.store.journal import Journal
from gateway.store.ledger import Ledger
from tests.house.postgres import Postgres
from tests.stores.books import NOON, Log, call, calls, eventually, left_behind, lines, opened

Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(root: Path, log: Log) -> Journal:
    return Journal(root, now=lambda: NOON, event=log, segment=2000)


@pytest.fixture
def outage(url: str, request: pytest.FixtureRequest) -> Outage:
    """A time in which the database cannot be written to."""

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    @contextmanager
    def stopped() -> Iterator[None]:
        server: Postgres = request.getfixturevalue("server")
        server.stop()
        yield
        server.start()

    return locked if url.startswith("sqlite") else stopped


@contextmanager
def carrying(journal: Journal, url: str, log: Log, keep: float | None = None) -> Iterator[Carrier]:
    """A gateway's way from its journal into the ledger."""
    carrier = Carrier(journal, lambda: opened(url), now=lambda: NOON + 1000, event=log, keep=keep)
    carrier.start()
    try:
        yield carrier
    finally:
        carrier.close(20)


def test_what_is_appended_comes_into_the_database(journal: Journal, url: str, log: Log, ledger: Ledger) -> None:
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(30)))
        assert carrier.backlog == 30
        eventually(lambda: carrier.backlog == 0)
        assert [record.id for record in reversed(ledger.newest().records)] == [record.id for record in calls(30)]
        journal.append(lines([call("last")]))
        eventually(lambda: ledger.usage("key")[0].calls == 31)


def test_a_database_with_nothing_in_it_is_made_ready(journal: Journal, url: str, log: Log) -> None:
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(3)))
        eventually(lambda: carrier.backlog == 0)
    assert log.events == []


def test_closing_carries_the_last_and_leaves_nothing_behind(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger
) -> None:
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(30)))
    assert carrier.backlog == 0
    assert ledger.usage("key")[0].calls == 30
    assert list(root.iterdir()) == []


def test_segments_that_are_carried_are_removed(journal: Journal, url: str, log: Log) -> None:
    with carrying(journal, url, log):
        for record in calls(30):
            journal.append(lines([record]))
        assert journal.current is not None
        folder = journal.current.parent
        eventually(lambda: len(list(folder.glob("*.jsonl"))) == 1)


def test_records_wait_on_disk_while_the_database_is_away_and_calls_do_not(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger, outage: Outage
) -> None:
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(3, "before")))
        eventually(lambda: carrier.backlog == 0)
        with outage():
            slowest = max(_seconds(journal, lines(calls(5, f"during-{number}"))) for number in range(10))
            eventually(lambda: "ledger_away" in log.events)
            assert carrier.backlog == 50
            assert sum(path.read_bytes().count(b"\n") for path in root.rglob("*.jsonl")) >= 50
        eventually(lambda: carrier.backlog == 0)
    assert slowest < 1.0
    assert log.events == ["ledger_away", "ledger_back"]
    assert _calls(ledger) == 53


def test_what_could_not_be_carried_is_for_the_next_process(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger, outage: Outage
) -> None:
    with outage():
        carrier = Carrier(journal, lambda: opened(url), now=lambda: NOON, event=log)
        carrier.start()
        journal.append(lines(calls(4)))
        carrier.close(15)
        assert carrier.backlog == 4
    with carrying(Journal(root, now=lambda: NOON + 1, event=log), url, log):
        eventually(lambda: _calls(ledger) == 4)
    assert list(root.iterdir()) == []


def test_the_journal_of_a_dead_process_is_carried_before_our_own(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger
) -> None:
    left_behind(root, lines(calls(3, "old")))
    journal.append(lines(calls(2, "new")))
    with carrying(journal, url, log):
        eventually(lambda: _calls(ledger) == 5)
        with ledger._database.reading() as connection:
            order = [row.id for row in connection.execute(text("SELECT id FROM records ORDER BY seq"))]
    assert order == ["old-0", "old-1", "old-2", "new-0", "new-1"]
    assert list(root.iterdir()) == []


def test_lines_that_are_torn_or_none_of_ours_are_skipped_and_counted(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger
) -> None:
    good = lines(calls(3))
    left_behind(root, good + b"\x01\x01\n{}\n" + lines([call("after")]) + lines([call("torn")])[:-9])
    with carrying(journal, url, log) as carrier:
        eventually(lambda: carrier.skipped == 3)
        eventually(lambda: carrier.backlog == 0)
    assert {record.id for record in ledger.newest().records} == {"call-0", "call-1", "call-2", "after"}
    assert "torn" in log.words


def test_lines_read_before_a_crash_are_not_counted_again_though_their_records_are_gone(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger
) -> None:
    segment = left_behind(root, lines(calls(5)))
    ledger.write(calls(3), f"{segment.parent.name}/{segment.name}", len(lines(calls(3))))
    assert ledger.forget(NOON + 100, 10) == 3
    with carrying(journal, url, log) as carrier:
        eventually(lambda: not segment.exists())
        assert carrier.backlog == 0
    assert _calls(ledger) == 5
    assert len(ledger.newest().records) == 2


def test_a_record_that_no_database_wants_does_not_keep_the_others_from_it(
    journal: Journal, url: str, log: Log, ledger: Ledger
) -> None:
    with ledger._database.writing() as connection:
        connection.execute(text("CREATE UNIQUE INDEX once ON records (end_user) WHERE end_user <> ''"))
    with carrying(journal, url, log) as carrier:
        journal.append(lines([call("a"), call("b", end_user="x"), call("c", end_user="x"), call("d")]))
        eventually(lambda: carrier.backlog == 0)
    assert [record.id for record in ledger.newest().records] == ["d", "b", "a"]
    assert (carrier.skipped, log.events) == (1, ["journal_line_skipped"])


def test_a_database_of_a_newer_program_is_left_alone_and_records_wait(
    journal: Journal, url: str, log: Log, database: Database
) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(3)))
        eventually(lambda: "ledger_away" in log.events)
        assert carrier.backlog == 3
        assert "newer than this program knows" in log.words
        with database.writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": VERSION})
        eventually(lambda: carrier.backlog == 0)


def test_a_database_that_is_replaced_by_an_empty_one_is_made_ready(
    journal: Journal, url: str, log: Log, ledger: Ledger
) -> None:
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(3, "before")))
        eventually(lambda: carrier.backlog == 0)
        with ledger._database.writing() as connection:
            metadata.drop_all(connection)
            connection.execute(text("DROP TABLE alembic_version"))
        journal.append(lines(calls(2, "after")))
        eventually(lambda: carrier.backlog == 0)
    assert _calls(ledger) == 2


def test_old_records_are_forgotten_and_what_they_came_to_is_not(
    journal: Journal, url: str, log: Log, ledger: Ledger
) -> None:
    ledger.write([*calls(500, "old"), call("recent", after=999)])
    ledger.write(calls(600, "older"))
    with carrying(journal, url, log, keep=100):
        eventually(lambda: len(ledger.newest().records) == 1)
    assert _calls(ledger) == 1101


def test_a_journal_that_somebody_removed_costs_only_what_was_in_it(
    journal: Journal, root: Path, url: str, log: Log, ledger: Ledger
) -> None:
    with carrying(journal, url, log) as carrier:
        journal.append(lines(calls(3, "kept")))
        eventually(lambda: carrier.backlog == 0)
        assert journal.current is not None
        journal.current.unlink()
        eventually(lambda: "journal_removed" in log.events)
        journal.append(lines(calls(2, "later")))
        eventually(lambda: _calls(ledger) == 5)
        assert carrier.backlog == 0


def test_an_outage_tells_no_password(url: str, tmp_path: Path) -> None:
    away = opened(url.replace(str(tmp_path), str(tmp_path / "nowhere")).replace("@127.0.0.1:", "@127.0.0.1:1"))
    with pytest.raises(DatabaseAway) as error:
        away.prepare()
    assert "secret" not in str(error.value)


def _seconds(journal: Journal, batch: bytes) -> float:
    began = time.monotonic()
    journal.append(batch)
    return time.monotonic() - began


def _calls(ledger: Ledger) -> int:
    try:
        return sum(spent.calls for spent in ledger.usage("key"))
    except DatabaseAway:  # just started again
        return 0
