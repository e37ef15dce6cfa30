"""`gateway usage`, as people and scripts run it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.core.record import Record
from gateway.core.secret import Secret
from gateway.store.database import Database
from gateway.store.ledger import Ledger
from tests.house.commands import Done, command
from tests.house.valkey import free_port
from tests.stores.books import call

DAY = 86400
NOON = "2027-01-15T12:00Z"

CALLS = [
    call("1", key="web-app", model="small", cost_micros=1_234_567_890),
    call("2", key="web-app", model="small", outcome="truncated", cost_micros=1),
    call("3", key="ci", model="=own", provider="here", cost_micros=None),
    call("4", key="ci", model="small", after=DAY, cost_micros=10, usage_source="estimated"),
    call("5", key="ci", model="", provider="", outcome="client_error", after=DAY, input_tokens=0, output_tokens=0,
         cache_read_tokens=0, reasoning_tokens=0, cost_micros=None),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    configured(tmp_path, "sqlite:///gateway.db")
    write(tmp_path, CALLS)
    return tmp_path


def configured(folder: Path, database: str) -> None:
    (folder / "gateway.yaml").write_text(
        f'state: {{database: "{database}"}}\nproviders: {{here: {{type: echo, models: [echo]}}}}\n'
    )


def write(folder: Path, records: Iterable[Record]) -> None:
    ledger = Ledger(Database(Secret(f"sqlite:///{folder}/gateway.db")))
    ledger.prepare()
    ledger.write(list(records))
    ledger.close()


async def usage(folder: Path, *arguments: str, since: str = NOON) -> Done:
    return await command(folder, "usage", "--config", "gateway.yaml", "--since", since, *arguments)


async def test_the_table_ends_with_the_sum_and_says_what_is_not_known(folder: Path) -> None:
    done = await usage(folder)
    assert (done.status, done.err) == (0, "")
    assert done.lines == [
        "key calls errors input output cached reasoning cost",
        "web-app 2 1 200 40 80 10 $1,234.567891",
        "ci 3 1 200 40 80 10 $0.000010+",
        "total 5 2 400 80 160 20 $1,234.567901+",
        "",
        "Since 2027-01-15 12:00 UTC.",
        "+ It cost more: no price is known for 1 call. Write `price` at their targets.",
        "The tokens of 1 call are estimated: the provider did not report them.",
    ]


async def test_a_cost_of_which_nothing_is_known_is_no_zero(folder: Path) -> None:
    lines = (await usage(folder, "--by", "model")).lines
    assert lines[2] == "=own 1 0 100 20 40 5 ?+"
    assert lines[3] == "- 1 1 0 0 0 0 $0.000000"


async def test_days_are_those_of_utc_in_their_order(folder: Path) -> None:
    done = await usage(folder, "--by", "day")
    assert [line.split()[0] for line in done.lines[:4]] == ["day", "2027-01-15", "2027-01-16", "total"]


async def test_csv_is_as_spreadsheets_read_it_and_exact(folder: Path) -> None:
    done = await usage(folder, "--by", "model", "--csv")
    assert done.out.count("\r\n") == done.out.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == [
        *("model", "calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("reasoning_tokens", "cost_micros", "unpriced_calls", "estimated_calls", "cost_usd"),
    ]
    assert [(row["model"], row["cost_micros"], row["cost_usd"], row["unpriced_calls"]) for row in rows] == [
        ("small", "1234567901", "1234.567901", "0"),
        ("=own", "", "", "1"),
        ("", "0", "0.000000", "0"),
    ]


async def test_json_is_exact_and_has_the_sum(folder: Path) -> None:
    told = (await usage(folder, "--by", "hour", "--until", "2027-01-16T12:01Z", "--json")).json
    assert (told["ok"], told["by"], told["since"], told["until"]) == (
        *(True, "hour", "2027-01-15T12:00:00Z", "2027-01-16T13:00:00Z"),
    )
    assert [line["hour"] for line in told["lines"]] == ["2027-01-15T12:00Z", "2027-01-16T12:00Z"]
    assert told["lines"][1] == {
        "hour": "2027-01-16T12:00Z",
        "calls": 2,
        "errors": 1,
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_tokens": 40,
        "cache_write_tokens": 20,
        "reasoning_tokens": 5,
        "cost_micros": 10,
        "cost_usd": "0.000010",
        "unpriced_calls": 0,
        "estimated_calls": 1,
    }
    assert (told["total"]["calls"], told["total"]["cost_usd"]) == (5, "1234.567901")


async def test_one_key_and_one_model_can_be_looked_at_alone(folder: Path) -> None:
    ours, none = await asyncio.gather(
        usage(folder, "--key", "ci", "--model", "small", "--json"), usage(folder, "--key", "nobody")
    )
    assert ours.json["total"]["calls"] == 1
    assert (none.status, none.out) == (0, "No calls. Since 2027-01-15 12:00 UTC.\n")


async def test_what_cannot_be_understood_is_named_as_an_option(folder: Path) -> None:
    done, both = await asyncio.gather(
        usage(folder, "--by", "colour", since="recently"), usage(folder, "--csv", "--json")
    )
    assert (done.status, both.status) == (2, 2)
    dates = "(2027-01-01, 2027-01-01T12:00Z)"
    assert done.err.splitlines() == [
        "gateway: --by: `colour` must be key, model, provider, outcome, day or hour",
        f"gateway: --since: `recently` is neither a date {dates} nor how long ago it was (7d, 24h)",
    ]
    assert "choose one" in both.err


async def test_a_database_that_is_away_or_newer_or_not_there_is_told_in_plain_words(folder: Path) -> None:
    database = Database(Secret(f"sqlite:///{folder}/gateway.db"))
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    newer = await usage(folder)
    assert "gateway: The database is of version 9999, which is newer than this program knows" in newer.err
    configured(folder, f"postgresql://gateway:hunter2@127.0.0.1:{free_port()}/gateway")
    away = await usage(folder, "--json")
    assert away.json["error"].startswith("The database cannot be asked now: ")
    assert "hunter2" not in away.out + away.err
    configured(folder, "sqlite:///elsewhere.db")
    missing = await usage(folder)
    assert f"gateway: There is no database {folder}/elsewhere.db." in missing.err
    assert not (folder / "elsewhere.db").exists()
    assert [done.status for done in (newer, away, missing)] == [1, 1, 1]
