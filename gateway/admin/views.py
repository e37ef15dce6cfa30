"""What may leave the house, as JSON: the command line prints it, and the HTTP API answers with it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from gateway.admin.moments import iso
from gateway.admin.wanted import settings
from gateway.core.call import Json
from gateway.core.money import MICROS_PER_DOLLAR

if TYPE_CHECKING:
    from gateway.admin.service import Line, Listed, Made, Usage


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
    }


def of_made(made: Made) -> Json:
    """A key that has just been made, the key itself included: this once."""
    return {**of_key(made.listed), "key": made.key.reveal()}


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


def is_known(line: Line) -> bool:
    """Whether at least a part of the cost is known."""
    return line.spent.cost_micros > 0 or not line.spent.unpriced_calls


def dollars(micros: int) -> str:
    """US dollars to the millionth, exactly: `12.345678`."""
    return f"{Decimal(micros) / MICROS_PER_DOLLAR:.6f}"


def _maybe(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)
