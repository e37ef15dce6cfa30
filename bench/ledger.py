"""
How the ledger bears its own weight: `python -m bench.ledger [--rows 10M] [--database sqlite:///FILE | postgresql://...]`.

Fills an empty database with calls of three months, by 200 keys that use two models each, and then measures what the
gateway asks of it. The file of ten million rows takes 5 GB and some minutes to make.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace
from sqlalchemy import text

from gateway.core.ledger import DAY, HOUR, SUMS, Chosen
from gateway.core.record import Attempt, Record
from gateway.core.secret import Secret
from gateway.store.database import Database, records, usage_daily, usage_hourly
from gateway.store.ledger import Ledger

START = 1_790_000_000 // DAY * DAY
DAYS = 90
ONE = Record(
    id="",
    time=0,
    key="",
    end_user="",
    endpoint="chat",
    model="",
    provider="provider-1",
    upstream_model="model-of-provider",
    status=200,
    outcome="ok",
    stream=True,
    input_tokens=1200,
    output_tokens=300,
    cache_read_tokens=800,
    cache_write_tokens=0,
    reasoning_tokens=100,
    usage_source="reported",
    cost_micros=330,
    latency_ms=1500.5,
    first_token_ms=420.25,
    overhead_ms=0.5,
    attempts=(Attempt("provider-1", "model-of-provider", "ok", 1499.5),),
)

BATCH = 150
"""Records in a transaction, as the carrier makes them."""

FILL = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
INSERT INTO records ({columns})
SELECT 0, 'call-' || CAST(CAST(i AS BIGINT) * 7919 % {rows} AS TEXT),
  CAST({start} AS BIGINT) * 1000 + i * CAST({span} AS BIGINT) / {rows},
  'key-' || CAST(i * 31 % 200 AS TEXT), '', 'chat', 'model-' || CAST((i * 31 % 200 + i % 2) % 10 AS TEXT),
  'provider-' || CAST((i * 31 % 200 + i % 2) % 4 AS TEXT), 'model-of-provider', 200,
  CASE WHEN i % 50 = 0 THEN 'limited' ELSE 'ok' END, i % 2 = 0, 1200, 300, 800, 0, 100, 'reported', 330, 1500.5, 420.25,
  0.5, '[["provider-1","model-of-provider","ok",1499.5]]'
FROM n
"""

GATHER = """
INSERT INTO {table}
  (start, key, model, provider, upstream_model, outcome, calls, {tokens}, cost_micros, unpriced_calls, estimated_calls)
SELECT time / 1000 / {seconds} * {seconds}, key, model, provider, upstream_model, outcome,
  count(*), {sums}, sum(cost_micros), 0, 0
FROM records GROUP BY 1, 2, 3, 4, 5, 6
"""


def fill(database: Database, rows: int) -> None:
    """Makes so many records, and what they come to."""
    columns = ", ".join(column.name for column in records.columns if column.name != "seq")
    tokens = [name for name in SUMS if name.endswith("_tokens")]
    sums = ", ".join(f"sum({name})" for name in tokens)
    with database.writing() as connection:
        span = DAYS * DAY * 1000
        connection.execute(text(FILL.format(rows=rows, columns=columns, start=START, span=span)))
        for table, seconds in ((usage_hourly, HOUR), (usage_daily, DAY)):
            gather = GATHER.format(table=table.name, seconds=seconds, tokens=", ".join(tokens), sums=sums)
            connection.execute(text(gather))
    with database.reading() as connection:
        for table in (records, usage_hourly, usage_daily):
            print(f"{connection.scalar(text(f'SELECT count(*) FROM {table.name}')):>12,} rows of {table.name}")  # noqa: S608


def batch(number: int) -> list[Record]:
    """New records, as they come."""
    return [
        replace(
            ONE,
            id=f"new-{number}-{each}",
            time=(START + DAYS * DAY + number) * 1000,
            key=f"key-{each % 200}",
            model=f"model-{each % 10}",
        )
        for each in range(BATCH)
    ]


def measure(ledger: Ledger) -> None:
    """What each question takes, the first time and at best."""
    since = START + DAYS * DAY
    counter = iter(range(10**9))
    asked: dict[str, Callable[[], object]] = {
        f"write {BATCH} records": lambda: ledger.write(batch(next(counter)), "segment", 1),
        "usage by day, 90 days": lambda: ledger.usage("day"),
        "usage by day, since an hour of 80 days ago": lambda: ledger.usage(
            "day", Chosen(since=since - 80 * DAY + HOUR)
        ),
        "usage by hour, 7 days": lambda: ledger.usage("hour", Chosen(since=since - 7 * DAY)),
        "usage by key, 90 days": lambda: ledger.usage("key"),
        "usage of a key by day": lambda: ledger.usage("day", Chosen(key="key-7")),
        "newest 100": lambda: ledger.newest(),
        "newest 100 of a key": lambda: ledger.newest(Chosen(key="key-7")),
        "newest 100 of a key there is none of": lambda: ledger.newest(Chosen(key="nobody")),
        "newest 100 of a model": lambda: ledger.newest(Chosen(model="model-3")),
        "newest 100 that were limited": lambda: ledger.newest(Chosen(outcome="limited")),
        "newest 100 of a key that were limited": lambda: ledger.newest(Chosen(key="key-7", outcome="limited")),
        "newest 100 of a key that were limited, none": lambda: ledger.newest(Chosen(key="key-31", outcome="limited")),
        "newest 100 of a month ago": lambda: ledger.newest(Chosen(until=since - 30 * DAY)),
        "forget 500": lambda: ledger.forget(START + DAY, 500),
    }
    for what, ask in asked.items():
        seconds = [_seconds(ask) for _ in range(5)]
        print(f"{what:<45}{seconds[0] * 1000:>10.1f} ms first{min(seconds) * 1000:>10.1f} ms best")


def main() -> None:
    """Fills, and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--database", default="")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        database = Database(Secret(arguments.database or f"sqlite:///{Path(folder)}/gateway.db"))
        database.prepare()
        print(f"filled in {_seconds(lambda: fill(database, arguments.rows)):.0f} s")
        measure(Ledger(database))
        database.close()


def _seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
