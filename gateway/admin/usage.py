"""
What can be asked of the ledger, for the command line and for the HTTP API alike.

Questions come as they were typed, and are read here. The ledger is an argument, and blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar, cast, get_args

from gateway.admin.moments import asked
from gateway.admin.wanted import Fault, Unreadable
from gateway.config import values
from gateway.config.complaints import one_of, quoted
from gateway.core.deed import Told
from gateway.core.ledger import HOUR, By, Chosen, Spent
from gateway.core.record import Outcome

PAGE = 100
"""Entries in a page, where nobody says how many."""

MOST_LISTED = 1000
"""Entries in one page."""

Asked = TypeVar("Asked")
Page = TypeVar("Page")


class Sums(Protocol):
    """What calls came to: `gateway.store.ledger.Ledger`."""

    def usage(self, by: By, chosen: Chosen) -> list[Spent]: ...


class Line(NamedTuple):
    """What some calls came to."""

    spent: Spent
    errors: int
    """Calls that did not end well, whoever is to blame: refused, failed, cut short, or left by their client."""


class Usage(NamedTuple):
    """What was used in a time. `since` and `until` are whole hours: sums are of these."""

    by: By
    since: float | None
    until: float | None
    lines: list[Line]
    total: Line


def usage(ledger: Sums, by: By, chosen: Chosen) -> Usage:
    """What the chosen calls came to: by time rising, by anything else with the dearest first."""
    # First all, then the good ones: a call that is entered in between can hide an error for a moment, but make none.
    spent = ledger.usage(by, chosen)
    well = {each.by: each.calls for each in ledger.usage(by, chosen._replace(outcome="ok"))}
    lines = [Line(each, max(0, each.calls - well.get(each.by, 0))) for each in spent]
    start = None if chosen.since is None else chosen.since // HOUR * HOUR
    end = None if chosen.until is None else -(-chosen.until // HOUR) * HOUR
    return Usage(by, start, end, lines, _total(lines))


def question(
    by: str,
    now: float,
    *,
    since: str | None = None,
    until: str | None = None,
    key: str | None = None,
    model: str | None = None,
    provider: str | None = None,
) -> tuple[By, Chosen]:
    """What somebody wants to know of the ledger's sums. Raises Unreadable."""
    faults = [] if by in get_args(By) else [Fault("by", f"{quoted(by)} must be {one_of(get_args(By))}")]
    first, last = _span(since, until, now, faults)
    _check(faults)
    return cast(By, by), Chosen(key, model, provider, since=first, until=last)


def sought(
    now: float,
    *,
    key: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    outcome: str | None = None,
    status: str | None = None,
    since: str | None = None,
    until: str | None = None,
    id: str | None = None,
) -> Chosen:
    """Which records somebody looks for. Raises Unreadable."""
    faults: list[Fault] = []
    if outcome is not None and outcome not in get_args(Outcome):
        faults.append(Fault("outcome", f"{quoted(outcome)} must be {one_of(get_args(Outcome))}"))
    code = _whole("status", status, 100, 599, faults)
    first, last = _span(since, until, now, faults)
    _check(faults)
    return Chosen(key, model, provider, outcome, code, first, last, id)


def done(
    now: float,
    *,
    who: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Told:
    """Which entries of the audit log somebody looks for. Raises Unreadable."""
    faults: list[Fault] = []
    first, last = _span(since, until, now, faults)
    _check(faults)
    return Told(who, action, subject, first, last)


def page(newest: Callable[[Asked, int, str | None], Page], asked: Asked, limit: str | None, cursor: str | None) -> Page:
    """A page of records, or of the audit log. Raises Unreadable."""
    faults: list[Fault] = []
    most = _whole("limit", limit, 1, MOST_LISTED, faults)
    _check(faults)
    try:
        return newest(asked, PAGE if most is None else most, cursor)
    except ValueError:
        raise Unreadable([Fault("cursor", "is none that was given here; begin again without it")]) from None


def _span(since: str | None, until: str | None, now: float, faults: list[Fault]) -> tuple[float | None, float | None]:
    found: dict[str, float | None] = {}
    for name, text in (("since", since), ("until", until)):
        try:
            found[name] = None if text is None else asked(text, now)
        except ValueError as error:
            faults.append(Fault(name, f"{quoted(text or '')} {error}"))
    first, last = found.get("since"), found.get("until")
    if first is not None and last is not None and last <= first:
        faults.append(Fault("until", f"{quoted(until or '')} is not after {quoted(since or '')}"))
    return first, last


def _whole(name: str, text: str | None, low: int, high: int, faults: list[Fault]) -> int | None:
    try:
        return None if text is None else values.whole(low, high)(text)
    except ValueError as error:
        faults.append(Fault(name, f"{quoted(text or '')} {error}"))
        return None


def _check(faults: list[Fault]) -> None:
    if faults:
        raise Unreadable(faults)


def _total(lines: list[Line]) -> Line:
    sums = (sum(amounts) for amounts in zip(*(line.spent[1:] for line in lines), strict=True))
    return Line(Spent("", *(sums if lines else [0] * (len(Spent._fields) - 1))), sum(line.errors for line in lines))
