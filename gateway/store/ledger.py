"""
The ledger: the record of every call, and what calls come to by the hour and by the day.

Records are inserted a batch at a time, each once however often it comes. What is new is added to the sums of its hour
and its day in the same transaction, so the sums are exact, and stay when the records themselves are deleted.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Table,
    and_,
    delete,
    func,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from gateway.core.ledger import ALL, DAY, HOUR, SUMS, By, Chosen, Page, Spent
from gateway.core.record import FIELDS, Attempt, Record
from gateway.store.database import Database, marks, records, usage_daily, usage_hourly
from gateway.store.posting import post_rows, post_text

TIMES = {"day": DAY, "hour": HOUR}

FAR = 10**8 * DAY
"""Seconds since 1970 that no call will see."""

MOST_LISTED = 1000
"""Records in one page."""

CHOSEN = ("key", "model", "provider", "outcome")


class Ledger:
    """The ledger in one database, for any number of threads. Every method blocks.

    Each raises DatabaseAway when the database cannot be asked now. Usage and records lag behind the calls by what the
    `Carrier` has not carried yet: mostly less than a second.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = sqlite if database.is_sqlite else postgresql
        self._post = post_rows if database.is_sqlite else post_text
        self._mark = _upsert_mark(dialect)

    def prepare(self) -> None:
        """Brings the tables up to date. Raises DatabaseRefused."""
        self._database.prepare()

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()

    def write(self, batch: Sequence[Record], segment: str = "", until: int = 0) -> int:
        """Inserts the records that are not there yet, and says how many those were.

        `segment` of a journal is read up to `until` then. Raises DatabaseUnfit if one record cannot be held: then none
        is inserted.
        """
        return self.write_lines([record.line() for record in batch], segment, until)

    def write_lines(self, lines: Sequence[bytes], segment: str = "", until: int = 0) -> int:
        """As `write`, for records as they stand in a journal. What is no record makes the batch unfit, too."""
        with self._database.writing() as connection:
            new = self._post(connection, lines) if lines else 0
            if segment:
                connection.execute(self._mark, {"segment": segment, "bytes": until})
        return new

    def mark(self, segment: str) -> int:
        """How many bytes of a segment are in here already."""
        with self._database.reading() as connection:
            return connection.scalar(select(marks.c.bytes).where(marks.c.segment == segment)) or 0

    def unmark(self, segment: str) -> None:
        """The segment is gone."""
        with self._database.writing() as connection:
            connection.execute(delete(marks).where(marks.c.segment == segment))

    def forget(self, before: float, most: int) -> int:
        """Deletes records that are older, `most` of them, and says how many. What they came to stays."""
        old = select(records.c.seq).where(records.c.time < int(before * 1000)).order_by(records.c.time).limit(most)
        with self._database.writing() as connection:
            return connection.execute(delete(records).where(records.c.seq.in_(old.scalar_subquery()))).rowcount

    def usage(self, by: By, chosen: Chosen = ALL) -> list[Spent]:
        """What the chosen calls came to: by time rising, by anything else with the dearest first.

        Sums are of whole hours: `since` is that of its hour's beginning, `until` that of its hour's end. Times are UTC.
        """
        sums: dict[Any, Counter[str]] = {}
        with self._database.reading() as connection:
            for table, start, end in spans(by, chosen):
                for name, *found in connection.execute(_told(table, by, chosen).where(_within(table, start, end))):
                    sums.setdefault(name, Counter()).update(dict(zip(SUMS, map(int, found), strict=True)))
        spent = [Spent(_name(by, name), *(sums[name][each] for each in SUMS)) for name in sorted(sums)]
        return spent if by in TIMES else sorted(spent, key=lambda each: (-each.cost_micros, -each.input_tokens))

    def newest(self, chosen: Chosen = ALL, limit: int = 100, cursor: str | None = None) -> Page:
        """The chosen records, the newest first. Pages neither repeat nor leave out a record, whatever is added.

        Raises ValueError for a cursor that is not one of ours.
        """
        limit = min(max(limit, 1), MOST_LISTED)
        place = (records.c.time, records.c.seq)
        asked = select(records).where(*_of_records(chosen)).order_by(*(each.desc() for each in place)).limit(limit + 1)
        if cursor is not None:
            asked = asked.where(tuple_(*place) < tuple_(*(literal(each, BigInteger) for each in _decoded(cursor))))
        with self._database.reading() as connection:
            rows = connection.execute(asked).all()
        more = len(rows) > limit
        return Page([_record(row) for row in rows[:limit]], _cursor(rows[limit - 1]) if more else None)


def spans(by: By, chosen: Chosen) -> list[tuple[Table, int, int]]:
    """Where the sums of a time are: whole days in one row for each, what is left at both ends by the hour."""
    start = int(_bounded(chosen.since or 0) // HOUR) * HOUR
    end = FAR if chosen.until is None else -int(-_bounded(chosen.until) // HOUR) * HOUR
    first, last = -(-start // DAY) * DAY, end // DAY * DAY
    if by == "hour" or first >= last:
        return [(usage_hourly, start, end)]
    return [(usage_hourly, start, first), (usage_daily, first, last), (usage_hourly, last, end)]


def _told(table: Table, by: By, chosen: Chosen) -> Select[Any]:
    group = table.c.start - table.c.start % TIMES[by] if by in TIMES else table.c[by]
    return select(group, *(func.sum(table.c[name]) for name in SUMS)).where(*_named(table.c, chosen)).group_by(group)


def _within(table: Table, start: int, end: int) -> ColumnElement[bool]:
    return and_(table.c.start >= start, table.c.start < end)


def _upsert_mark(dialect: Any) -> Any:
    inserted = dialect.insert(marks)
    return inserted.on_conflict_do_update(index_elements=["segment"], set_={"bytes": inserted.excluded.bytes})


def _of_records(chosen: Chosen) -> list[ColumnElement[bool]]:
    found = _named(records.c, chosen)
    if chosen.status is not None:
        found.append(records.c.status == chosen.status)
    if chosen.id is not None:
        found.append(records.c.id == chosen.id)
    # What the partial indexes want to hear.
    if chosen.outcome not in (None, "ok"):
        found.append(text("outcome <> 'ok'"))  # type: ignore[arg-type]
    if chosen.status not in (None, 200):
        found.append(text("status <> 200"))  # type: ignore[arg-type]
    if chosen.since is not None:
        found.append(records.c.time >= int(_bounded(chosen.since) * 1000))
    if chosen.until is not None:
        found.append(records.c.time < int(_bounded(chosen.until) * 1000))
    return found


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0), FAR)


def _named(columns: Any, chosen: Chosen) -> list[ColumnElement[bool]]:
    return [columns[name] == value for name in CHOSEN if (value := getattr(chosen, name)) is not None]


def _name(by: str, said: Any) -> str:
    if by not in TIMES:
        return str(said)
    moment = datetime.fromtimestamp(int(said), UTC)
    return moment.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%dT%H:00Z")


def _record(row: Row[Any]) -> Record:
    said = row._asdict()
    said["attempts"] = tuple(Attempt(*each) for each in orjson.loads(said["attempts"]))
    return Record(**{name: said[name] for name in FIELDS})


def _cursor(row: Row[Any]) -> str:
    return urlsafe_b64encode(f"{row.time}.{row.seq}".encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[int, int]:
    try:
        time, seq = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").split(".")
        place = int(time), int(seq)
    except (ValueError, binascii.Error):
        raise ValueError("not a cursor") from None
    if not all(0 <= each < 2**63 for each in place):
        raise ValueError("not a cursor")
    return place
