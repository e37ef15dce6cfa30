"""The ledger, whichever database it is in."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import delete, text

from gateway.core.ledger import Chosen, Spent
from gateway.core.record import FIELDS, MOST_COST, MOST_TOKENS, Record
from gateway.core.secret import Secret
from gateway.store.database import Database, metadata, records, usage_daily, usage_hourly
from gateway.store.errors import DatabaseRefused, DatabaseUnfit
from gateway.store.ledger import Ledger
from tests.stores.books import NOON, ONE, added_up, call, calls, opened, told

HOUR = 3600
DAY = 24 * HOUR

some_calls = st.builds(
    call,
    st.sampled_from([f"id-{number}" for number in range(12)]),
    after=st.sampled_from([0, 1, HOUR, DAY]),
    key=st.sampled_from(["a", "b"]),
    usage_source=st.sampled_from(["reported", "estimated", "none"]),
    outcome=st.sampled_from(["ok", "limited"]),
    input_tokens=st.sampled_from([0, 7, MOST_TOKENS]),
    output_tokens=st.sampled_from([0, 3]),
    cost_micros=st.sampled_from([None, 0, 5, MOST_COST]),
)


def test_a_record_is_kept_as_it_is(ledger: Ledger) -> None:
    unusual = replace(ONE, id="two", end_user="ünï 'x' \"y\" {$.z}", cost_micros=None, first_token_ms=None, attempts=())
    ledger.write([ONE, unusual])
    assert ledger.newest().records == [unusual, ONE]


def test_a_record_that_comes_again_is_not_counted_again(ledger: Ledger) -> None:
    assert ledger.write([ONE, ONE]) == 1
    assert ledger.write([ONE, call("two")]) == 1
    assert ledger.usage("key")[0].calls == 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(some_calls, max_size=8), max_size=5))
def test_sums_are_those_of_the_distinct_records(ledger: Ledger, batches: list[list[Record]]) -> None:
    _empty(ledger)
    first: dict[str, Record] = {}
    for batch in batches:
        ledger.write(batch)
        first = {**{record.id: record for record in reversed(batch)}, **first}
    assert told(ledger.usage("key")) == added_up(first.values(), lambda record: record.key)
    assert told(ledger.usage("outcome")) == added_up(first.values(), lambda record: record.outcome)
    assert told(ledger.usage("day")) == added_up(first.values(), _day)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_a_batch_of_any_size_is_kept_and_added_up_though_some_of_it_is_known(ledger: Ledger, count: int) -> None:
    batch = [call(f"id-{number}", key=f"key-{number % 150}", input_tokens=number) for number in range(count)]
    known = batch[::3]
    assert ledger.write(known) == len(known)
    assert ledger.write([*batch, *batch[:5]]) == count - len(known)
    assert {record.id: record for record in ledger.newest(limit=1000).records} == {each.id: each for each in batch}
    for by in ("hour", "day"):
        assert [spent.input_tokens for spent in ledger.usage(by)] == [sum(range(count))]
    assert told(ledger.usage("key")) == added_up(batch, lambda record: record.key)


def test_of_a_line_that_a_later_version_wrote_all_is_kept_that_this_one_knows(ledger: Ledger) -> None:
    later = orjson.dumps([2, *orjson.loads(ONE.line())[1:], "more", {"and": [None]}])
    assert ledger.write_lines([later, call("two").line()]) == 2
    assert ledger.newest().records == [call("two"), ONE]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x01",
        b"\xff",
        b"{}",
        b"[1]",
        ONE.line()[:-2],
        ONE.line().replace(b"812.5", b'"long"'),
        ONE.line().replace(b"1800014400000", b"1" * 30),
        ONE.line().replace(b'"ok",true', b'"ok",null'),
    ],
)
def test_a_batch_with_a_line_that_is_no_record_is_refused_whole(ledger: Ledger, line: bytes) -> None:
    with pytest.raises(DatabaseUnfit):
        ledger.write_lines([call("two").line(), line], "journal/1", 500)
    assert (ledger.newest().records, ledger.usage("key"), ledger.mark("journal/1")) == ([], [], 0)


@pytest.mark.parametrize("value", [b'["web-app"]', b'{"a": 1}', b"7", b"null"])
def test_what_is_no_text_is_not_taken_for_a_name(tmp_path: Path, value: bytes) -> None:
    """By SQLite, which itself would take it."""
    ledger = opened(f"sqlite:///{tmp_path}/gateway.db")
    ledger.prepare()
    with pytest.raises(DatabaseUnfit):
        ledger.write_lines([ONE.line().replace(b'"web-app"', value)])
    ledger.close()


def test_two_writers_at_once_count_each_record_once(ledger: Ledger, url: str) -> None:
    batches = [
        [call(f"id-{(start + number) % 60}", key=f"key-{number % 7}") for number in range(40)] for start in range(20)
    ]
    other = opened(url)
    with ThreadPoolExecutor(4) as pool:
        new = sum(
            pool.map(lambda job: job[1].write(job[0]), [(batch, each) for batch in batches for each in (ledger, other)])
        )
    other.close()
    assert new == 59
    assert sum(spent.calls for spent in ledger.usage("key")) == 59


def test_a_call_without_a_known_price_is_told_apart_from_one_that_cost_nothing(ledger: Ledger) -> None:
    ledger.write([call("free", cost_micros=0), call("unpriced", cost_micros=None)])
    ledger.write([call("unanswered", cost_micros=None, input_tokens=0, output_tokens=0)])
    assert (ledger.usage("key")[0].cost_micros, ledger.usage("key")[0].unpriced_calls) == (0, 1)


def test_a_call_whose_usage_was_estimated_is_told_apart(ledger: Ledger) -> None:
    ledger.write([call("reported"), call("estimated", usage_source="estimated"), call("none", usage_source="none")])
    assert (ledger.usage("key")[0].calls, ledger.usage("key")[0].estimated_calls) == (3, 1)


def test_usage_is_told_by_key_model_provider_day_and_hour(ledger: Ledger) -> None:
    ledger.write([call("a", key="x", cost_micros=1), call("b", after=HOUR, key="y", model="m", provider="p")])
    ledger.write([call("c", after=DAY)])
    assert [spent.by for spent in ledger.usage("key")] == ["web-app", "y", "x"]
    assert {spent.by for spent in ledger.usage("model")} == {"gpt-4o-mini", "m"}
    assert {spent.by for spent in ledger.usage("provider")} == {"openai", "p"}
    assert [(spent.by, spent.calls) for spent in ledger.usage("day")] == [("2027-01-15", 2), ("2027-01-16", 1)]
    assert [spent.by for spent in ledger.usage("hour")][:2] == ["2027-01-15T12:00Z", "2027-01-15T13:00Z"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*(st.none() | st.integers(-50, 120) for _ in range(2))))
def test_whatever_the_time_asked_for_its_sums_are_those_of_its_hours(
    ledger: Ledger, asked: tuple[int | None, int | None]
) -> None:
    """Times are in hours, a quarter past each, for calls in every seventh hour of four days."""
    held = [call(f"id-{hour}", after=hour * HOUR + 1) for hour in range(0, 96, 7)]
    ledger.write(held)
    since, until = (None if hour is None else NOON + hour * HOUR + 900 for hour in asked)
    meant = [
        record
        for hour, record in zip(range(0, 96, 7), held, strict=True)
        if (asked[0] is None or hour >= asked[0]) and (asked[1] is None or hour <= asked[1])
    ]
    for by in ("key", "day", "hour"):
        assert sum(spent.calls for spent in ledger.usage(by, Chosen(since=since, until=until))) == len(meant)


def test_usage_can_be_that_of_some_calls(ledger: Ledger) -> None:
    ledger.write([call("a"), call("b", after=HOUR, key="y"), call("c", after=2 * HOUR, outcome="limited")])
    assert [spent.calls for spent in ledger.usage("day", Chosen(key="y"))] == [1]
    assert [spent.calls for spent in ledger.usage("day", Chosen(outcome="limited", model="gpt-4o-mini"))] == [1]
    assert [spent.calls for spent in ledger.usage("day", Chosen(since=NOON + HOUR))] == [2]
    assert [spent.calls for spent in ledger.usage("day", Chosen(since=NOON + HOUR, until=NOON + 2 * HOUR))] == [1]
    assert [spent.calls for spent in ledger.usage("day", Chosen(since=-1e99, until=1e99))] == [3]
    assert ledger.usage("day", Chosen(key="nobody")) == []


def test_sums_are_exact_however_large_they_become(ledger: Ledger) -> None:
    ledger.write([call(str(number), input_tokens=MOST_TOKENS, cost_micros=MOST_COST) for number in range(1000)])
    spent = ledger.usage("key")[0]
    assert (spent.input_tokens, spent.cost_micros) == (1000 * MOST_TOKENS, 1000 * MOST_COST)


def test_names_that_came_to_nothing_leave_no_sums_of_their_own(ledger: Ledger) -> None:
    ledger.write(
        [
            call(f"id-{number}", upstream_model=f"gpt-made-up-{number}", input_tokens=0, output_tokens=0)
            for number in range(9)
        ]
    )
    with ledger._database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM usage_hourly")).scalar() == 1


def test_the_calls_of_several_hours_are_one_row_of_their_day(ledger: Ledger) -> None:
    ledger.write([call("a"), call("b", after=HOUR), call("c", after=2 * HOUR)])
    with ledger._database.reading() as connection:
        rows = [connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in ("usage_hourly", "usage_daily")]  # noqa: S608
    assert rows == [3, 1]


def test_the_newest_records_come_first(ledger: Ledger) -> None:
    ledger.write([call("b", after=2), call("a", after=1), call("c", after=3)])
    assert [record.id for record in ledger.newest().records] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Chosen(key="other"), ["b"]),
        (Chosen(model="m"), ["c"]),
        (Chosen(provider="p"), ["d"]),
        (Chosen(outcome="limited"), ["e"]),
        (Chosen(outcome="ok", since=NOON + 3), ["d"]),
        (Chosen(since=NOON + 1, until=NOON + 3), ["c", "b"]),
        (Chosen(key="web-app", outcome="limited"), ["e"]),
        (Chosen(since=float("-inf"), until=float("inf"), model="m"), ["c"]),
        (Chosen(key="web-app'; DROP TABLE records --"), []),
    ],
)
def test_records_can_be_chosen(ledger: Ledger, chosen: Chosen, found: list[str]) -> None:
    ledger.write([call("a"), call("b", after=1, key="other"), call("c", after=2, model="m")])
    ledger.write([call("d", after=3, provider="p"), call("e", after=4, outcome="limited")])
    assert [record.id for record in ledger.newest(chosen).records] == found


def test_pages_hold_every_record_once_while_others_are_added(ledger: Ledger) -> None:
    before = [call(f"id-{number:02}", after=number // 4) for number in range(30)]
    ledger.write(before)
    seen: list[str] = []
    cursor: str | None = None
    for page in range(100):
        found = ledger.newest(limit=7, cursor=cursor)
        seen += [record.id for record in found.records]
        ledger.write([call(f"newer-{page}", after=1000 + page)])
        if (cursor := found.cursor) is None:
            break
    assert seen == sorted((record.id for record in before), reverse=True)


@pytest.mark.parametrize(
    "cursor", ["", "x", "MTIz", "ÄÖ", "MS4yLjM", "=", "a" * 5000, "OTk5OTk5OTk5OTk5OTk5OTk5OTkuMQ"]
)
def test_a_cursor_that_is_none_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        ledger.newest(cursor=cursor)


def test_records_are_forgotten_in_small_steps_and_what_they_came_to_stays(ledger: Ledger) -> None:
    ledger.write(calls(10))
    before = ledger.usage("key")
    assert [ledger.forget(NOON + 5, 3), ledger.forget(NOON + 5, 3), ledger.forget(NOON + 5, 3)] == [3, 2, 0]
    assert [record.id for record in ledger.newest().records] == [f"call-{number}" for number in (9, 8, 7, 6, 5)]
    assert ledger.usage("key") == before


def test_how_far_a_journal_has_been_read_is_kept_with_its_records(ledger: Ledger) -> None:
    assert ledger.mark("journal/1") == 0
    ledger.write([ONE], "journal/1", 500)
    ledger.write([], "journal/1", 700)
    assert ledger.mark("journal/1") == 700
    ledger.unmark("journal/1")
    assert ledger.mark("journal/1") == 0


def test_the_steps_make_the_tables_that_the_program_works_with(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_many_replicas_may_start_at_once(url: str) -> None:
    ready = threading.Barrier(4)

    def start(number: int) -> int:
        ledger = opened(url)
        ready.wait(10)
        ledger.prepare()
        new = ledger.write([call(f"id-{number}")])
        ledger.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [1, 1, 1, 1]


def test_a_database_of_a_newer_program_is_refused_with_words(database: Database, url: str) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    older = opened(url)
    with pytest.raises(DatabaseRefused, match="version 9999, which is newer than this program knows"):
        older.prepare()
    older.close()


def test_what_was_kept_is_there_after_a_start_anew(ledger: Ledger, url: str) -> None:
    ledger.write(calls(3))
    again = opened(url)
    again.prepare()
    assert again.usage("key") == ledger.usage("key")
    again.close()


def test_a_new_file_can_be_read_by_its_owner_alone_and_an_old_one_stays_as_it_is(tmp_path: Path) -> None:
    for name, before in (("new", None), ("old", 0o640)):
        file = tmp_path / f"{name}.db"
        if before is not None:
            file.touch(before)
            file.chmod(before)
        database = Database(Secret(f"sqlite:///{file}"))
        database.prepare()
        modes = {each.stat().st_mode & 0o777 for each in tmp_path.glob(f"{name}.db*")}
        database.close()
        assert modes == {before or 0o600}


def test_a_file_that_another_program_writes_to_can_be_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO theirs VALUES (1)")
        database = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
        with database.reading() as connection:
            assert connection.execute(text("SELECT count(*) FROM theirs")).scalar() == 0
        database.close()


@pytest.mark.parametrize("wrong", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "nonsense secret", ""])
def test_a_database_that_is_none_of_ours_is_refused_without_quoting_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a database") as refused:
        Database(Secret(wrong))
    assert "secret" not in str(refused.value)


def test_spent_and_the_table_of_sums_tell_the_same() -> None:
    assert set(Spent._fields[1:]) <= {column.name for column in usage_daily.columns}
    assert set(FIELDS) == {column.name for column in records.columns} - {"seq", "batch"}


def _day(record: Record) -> str:
    return "2027-01-15" if record.time < (NOON + 12 * HOUR) * 1000 else "2027-01-16"


def _empty(ledger: Ledger) -> None:
    with ledger._database.writing() as connection:
        connection.execute(delete(records))
        connection.execute(delete(usage_hourly))
        connection.execute(delete(usage_daily))
