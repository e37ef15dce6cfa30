"""Looking for single calls in the ledger, whichever database it is in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from gateway.core.ledger import ALL, Chosen
from gateway.core.secret import Secret
from gateway.store.database import Database
from gateway.store.ledger import Ledger
from tests.stores.books import NOON, call

EACH = {
    ALL: "time",
    Chosen(key="web-app"): "key",
    Chosen(model="gpt-4o-mini"): "model",
    Chosen(provider="openai"): "provider",
    Chosen(outcome="limited"): "outcome",
    Chosen(outcome="ok"): "time",
    Chosen(status=429): "status",
    Chosen(status=200): "time",
    Chosen(since=NOON): "time",
    Chosen(until=NOON): "time",
    Chosen(key="web-app", since=NOON - 60.0, until=NOON + 60.0): "key",
}
"""Each thing that can be asked for, and the index that has it. Nearly all calls are `ok` and 200: those have none."""


def test_a_call_is_found_by_its_id(ledger: Ledger) -> None:
    ledger.write([call("a"), call("ab", after=1)])
    for id, found in (("a", ["a"]), ("ab", ["ab"]), ("b", [])):
        assert [record.id for record in ledger.newest(Chosen(id=id)).records] == found


def test_calls_are_found_by_what_their_client_was_told(ledger: Ledger) -> None:
    ledger.write(
        [
            call("a"),
            call("b", after=1, key="ci", status=429, outcome="upstream_error"),
            call("c", after=2, status=429, outcome="limited"),
            call("d", after=3, outcome="truncated"),
        ]
    )
    for chosen, found in (
        (Chosen(status=429), ["c", "b"]),
        (Chosen(status=200), ["d", "a"]),
        (Chosen(status=500), []),
        (Chosen(status=429, key="web-app"), ["c"]),
        (Chosen(status=429, outcome="limited"), ["c"]),
        (Chosen(status=200, outcome="truncated"), ["d"]),
        (Chosen(status=429, until=NOON + 2.0), ["b"]),
    ):
        assert [record.id for record in ledger.newest(chosen).records] == found, chosen


def test_whatever_is_asked_for_is_found_by_an_index_and_in_its_order(tmp_path: Path) -> None:
    """So that a page of ten million rows takes as long as one of ten thousand."""
    database = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    database.prepare()
    with statements() as asked:
        for chosen in EACH:
            page = Ledger(database).newest(chosen, cursor="MS4x")
            assert page.records == []
    database.close()
    assert len(asked) == len(EACH)
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
        for (chosen, index), (statement, values) in zip(EACH.items(), asked, strict=True):
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
            assert plan.startswith(f"SEARCH records USING INDEX records_{index} "), (chosen, plan)
            assert "TEMP B-TREE" not in plan, (chosen, plan)


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """The questions that are put to databases meanwhile."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *others: Any) -> None:
        if statement.startswith("SELECT records."):
            asked.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)
