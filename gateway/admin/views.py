"""What may leave the house, as JSON: the command line prints it, and the HTTP API answers with it."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from gateway.admin.moments import iso
from gateway.admin.wanted import settings
from gateway.core.call import Json
from gateway.core.money import MICROS_PER_DOLLAR

if TYPE_CHECKING:
    from gateway.admin.service import Listed, Made
    from gateway.admin.spending import Used
    from gateway.admin.usage import Line, Usage
    from gateway.core.deed import Deed
    from gateway.core.record import Record


def of_key(listed: Listed) -> Json:
    """A key, but for itself. Its settings are spelt as in the configuration; null where they cannot be read."""
    said = {"models": [], "limits": {}, **settings(listed.key)} if listed.key else {}
    return {
        "name": listed.name,
        "shown": listed.shown,
        "state": listed.state,
        "declared": listed.place or "database",
        "models": said.get("models"),
        "limits": said.get("limits"),
        "budget": said.get("budget"),
        "priority": said.get("priority"),
        "created": _maybe(listed.created),
        "expires": _maybe(listed.key.expires if listed.key else None),
        "revoked": _maybe(listed.revoked),
        "previous_until": _maybe(listed.previous_until),
        "version": listed.version,
    }


def of_made(made: Made) -> Json:
    """A key that has just been made, the key itself included: this once."""
    return {**of_key(made.listed), "key": made.key.reveal()}


def of_used(used: Used) -> Json:
    """What a budget has used, and when it begins anew."""
    return {"usd": dollars(used.usd_micros), "tokens": used.tokens, "resets": iso(used.resets)}


def of_usage(usage: Usage) -> Json:
    """Sums are exact: whole numbers, and dollars as decimal text."""
    return {
        "by": usage.by,
        "since": _maybe(usage.since),
        "until": _maybe(usage.until),
        "lines": [{usage.by: line.spent.by, **of_line(line)} for line in usage.lines],
        "total": of_line(usage.total),
    }


def of_line(line: Line) -> Json:
    """The sums. A cost of which nothing is known is null, and never 0."""
    said = line.spent._asdict()
    del said["by"]
    known = said["cost_micros"] if is_known(line) else None
    cost = {"cost_micros": known, "cost_usd": None if known is None else dollars(known)}
    return {"calls": said.pop("calls"), "errors": line.errors, **said, **cost}


def csv_of_usage(usage: Usage) -> str:
    """RFC 4180: a header, and CRLF after every line. Without the sums: who reads it can add up."""
    written = StringIO()
    writer = csv.writer(written)
    writer.writerow([usage.by, *of_line(usage.total)])
    writer.writerows(row.values() for row in of_usage(usage)["lines"])
    return written.getvalue()


def of_record(record: Record) -> Json:
    """One call. Its cost is spelt as in `of_line`."""
    said = asdict(record)
    cost = said["cost_micros"]
    return {
        **said,
        "time": _moment(record.time / 1000),
        "end_user": record.end_user or None,
        "cost_usd": None if cost is None else dollars(cost),
        "attempts": [asdict(attempt) for attempt in record.attempts],
    }


def of_deed(deed: Deed) -> Json:
    """One entry of the audit log."""
    return {
        "time": _moment(deed.time),
        "via": deed.actor.via,
        "who": deed.actor.name,
        "address": deed.actor.address,
        "action": deed.action,
        "subject": deed.subject,
        "changes": [change._asdict() for change in deed.changes],
    }


def is_known(line: Line) -> bool:
    """Whether at least a part of the cost is known."""
    return line.spent.cost_micros > 0 or not line.spent.unpriced_calls


def dollars(micros: int) -> str:
    """US dollars to the millionth, exactly: `12.345678`."""
    return f"{Decimal(micros) / MICROS_PER_DOLLAR:.6f}"


def _maybe(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)


def _moment(moment: float) -> str:
    """A time of its own, to the millisecond: as in the log."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
