"""
Posting: how lines of a journal become records of the ledger, and what those add to the sums of their hour and day.

Each record is inserted once, however often it comes, and what is new is added up in the same transaction. PostgreSQL is
given the lines as one text, takes them apart and adds them up itself. SQLite would do both in our process, at several
times the cost of doing it here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from secrets import randbits
from typing import Any, get_type_hints

from msgspec import Raw, defstruct
from msgspec.json import Decoder
from msgspec.structs import astuple
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from gateway.core.ledger import DAY, HOUR, SUMS
from gateway.core.record import FIELDS, Record
from gateway.store.database import records, usage_daily, usage_hourly
from gateway.store.errors import DatabaseUnfit

# SQLite

AT_ONCE = 128
"""Rows in a statement, at most: a power of two."""


def post_rows(connection: Connection, lines: Sequence[bytes]) -> int:
    """Posts those of the lines that are new, and says how many they are. Raises DatabaseUnfit if one is no record."""
    new = 0
    hours = _Adding(list)
    try:
        for first in range(0, len(lines), AT_ONCE):
            calls = [_CALL.decode(line) for line in lines[first : first + AT_ONCE]]
            count = _insert(connection, records, _values(calls))
            _add(calls if count == len(calls) else _newest(connection, calls, count), hours)
            new += count
        sums = _summed(hours)
        _insert(connection, usage_hourly, _flat(sums))
        _insert(connection, usage_daily, _flat(_by_day(sums)))
    except (ValueError, OverflowError) as error:
        raise DatabaseUnfit(f"not a record: {error}") from None
    return new


_TYPES = {"version": int, **get_type_hints(Record), "attempts": Raw}

_CALL: Decoder[Any] = Decoder(defstruct("_Call", list(_TYPES.items()), array_like=True))
"""Reads a line: its attempts as they are spelt, and nothing of what a later version has added. SQLite would take any
value into any column, so that it is here that each is seen to be of its type."""


def _values(calls: Iterable[Any]) -> list[object]:
    values: list[object] = []
    for call in calls:
        values += astuple(call)[1:-1]
        values.append(str(call.attempts, "utf-8"))
    return values


def _newest(connection: Connection, calls: Sequence[Any], count: int) -> list[Any]:
    """Those that were inserted just now. Of two with one id it was the first."""
    first = {call.id: call for call in reversed(calls)}
    newest = select(records.c.id).order_by(records.c.seq.desc()).limit(count)
    return [first[id] for id in connection.scalars(newest)]


_Group = tuple[int, str, str, str, str, str]
"""The key of a row of sums: when it began, and the names."""

_Sums = dict[_Group, tuple[int, ...]]
"""What is to be added to each, in the order of `SUMS`."""

_Adding = defaultdict[_Group, list[tuple[int, ...]]]
"""The same, not added up yet."""


def _add(calls: Sequence[Any], hours: _Adding) -> None:
    for call in calls:
        used = call.input_tokens > 0 or call.output_tokens > 0
        hour = call.time // (HOUR * 1000) * HOUR
        # A pattern of models lets clients make up names. Those that came to nothing leave no row behind for ever.
        upstream_model = call.upstream_model if used else ""
        hours[hour, call.key, call.model, call.provider, upstream_model, call.outcome].append(
            (
                1,
                call.input_tokens,
                call.output_tokens,
                call.cache_read_tokens,
                call.cache_write_tokens,
                call.reasoning_tokens,
                call.cost_micros or 0,
                used and call.cost_micros is None,
                call.usage_source == "estimated",
            )
        )


def _summed(adding: _Adding) -> _Sums:
    return {group: tuple(map(sum, zip(*each, strict=True))) for group, each in adding.items()}


def _by_day(hours: _Sums) -> _Sums:
    days = _Adding(list)
    for (start, *names), sums in hours.items():
        days[start // DAY * DAY, *names].append(sums)  # type: ignore[index]
    return _summed(days)


def _flat(sums: _Sums) -> list[object]:
    return [value for group, added in sums.items() for value in (*group, *added)]


def _insert(connection: Connection, table: Table, values: Sequence[object]) -> int:
    """Many rows with each statement, one row's values behind the other's. Gives how many made a difference.

    For each statement the driver hands the interpreter to the event loop and waits to have it back: of one row each,
    those waits are most of the work. Preparing one takes longer than running it, and so they come in few sizes.
    """
    width = _INTO[table][1].count("?")
    done = changed = 0
    while left := (len(values) - done) // width:
        count = min(AT_ONCE, 1 << left.bit_length() - 1)
        end = done + count * width
        changed += connection.exec_driver_sql(_statement(table, count), tuple(values[done:end])).rowcount
        done = end
    return changed


@lru_cache
def _statement(table: Table, count: int) -> str:
    into, row, then = _INTO[table]
    return f"INSERT INTO {into} VALUES {', '.join([row] * count)} ON CONFLICT {then}"  # noqa: S608  # names of ours


def _sums_into(table: Table) -> tuple[str, str, str]:
    keys = ", ".join(key.name for key in table.primary_key)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    return table.name, f"({', '.join('?' * len(table.columns))})", f"({keys}) DO UPDATE SET {added}"


_INTO = {
    # Nobody else writes meanwhile: what is new are the last rows, and needs no number to be known by.
    records: (f"records (batch, {', '.join(FIELDS)})", f"(0, {', '.join('?' * len(FIELDS))})", "(id) DO NOTHING"),
    usage_hourly: _sums_into(usage_hourly),
    usage_daily: _sums_into(usage_daily),
}


# PostgreSQL


def post_text(connection: Connection, lines: Sequence[bytes]) -> int:
    """As `post_rows`."""
    try:
        text = (b"[" + b",".join(lines) + b"]").decode()
    except UnicodeDecodeError as error:
        raise DatabaseUnfit(f"not a record: {error}") from None
    number = randbits(62)
    before = connection.scalar(select(func.coalesce(func.max(records.c.seq), 0)))
    new = connection.execute(_TEXT, {"lines": text, "batch": number}).rowcount
    for gather in _GATHER if new else ():
        connection.execute(gather, {"before": before, "batch": number})
    return new


def _from_text() -> Any:
    line = func.jsonb_array_elements(cast(bindparam("lines", type_=Text), JSONB)).table_valued(column("value", JSONB))
    said = [cast(line.c.value[place].astext, records.c[name].type) for place, name in enumerate(FIELDS, 1)]
    rows = select(bindparam("batch", type_=BigInteger), *said)
    inserted = postgresql.insert(records).from_select(["batch", *FIELDS], rows)
    return inserted.on_conflict_do_nothing(index_elements=["id"]).execution_options(preserve_rowcount=True)


_TEXT = _from_text()


def _gather(table: Table, seconds: int) -> Any:
    """Adds what is new to the sums of its hour or day."""
    new = and_(records.c.seq > bindparam("before", type_=BigInteger), records.c.batch == bindparam("batch"))
    used = or_(records.c.input_tokens > 0, records.c.output_tokens > 0)
    unpriced = and_(used, records.c.cost_micros.is_(None))
    said: dict[str, ColumnElement[Any]] = {
        "start": records.c.time // (seconds * 1000) * seconds,
        "key": records.c.key,
        "model": records.c.model,
        "provider": records.c.provider,
        # A pattern of models lets clients make up names. Those that came to nothing leave no row behind for ever.
        "upstream_model": case((used, records.c.upstream_model), else_=literal("", String)),
        "outcome": records.c.outcome,
        "calls": func.count(),
        **{name: func.sum(records.c[name]) for name in SUMS if name.endswith("_tokens")},
        "cost_micros": func.coalesce(func.sum(records.c.cost_micros), 0),
        "unpriced_calls": func.sum(case((unpriced, 1), else_=0)),
        "estimated_calls": func.sum(case((records.c.usage_source == "estimated", 1), else_=0)),
    }
    keys = [key.name for key in table.primary_key]
    grouped = [said[name] for name in keys]
    # In one order, so that two replicas that add to the same rows never wait for each other.
    sums = select(*(value.label(name) for name, value in said.items())).where(new).group_by(*grouped).order_by(*grouped)
    inserted = postgresql.insert(table).from_select(list(said), sums)
    added = {name: table.c[name] + inserted.excluded[name] for name in SUMS}
    return inserted.on_conflict_do_update(index_elements=keys, set_=added)


_GATHER = (_gather(usage_hourly, HOUR), _gather(usage_daily, DAY))
