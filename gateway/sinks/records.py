"""The usage record of a settled call."""

from __future__ import annotations

from gateway.core.events import Usage
from gateway.core.record import TEXT, Attempt, Record
from gateway.engine.entry import Entry, Tried

NO_USAGE = Usage()


def record(entry: Entry) -> Record:
    """What is kept of a settled call: never a prompt, an answer or a secret. Made once, for the books and for the log.

    What clients choose is cut here: neither has room for megabytes.
    """
    if entry.record is None:
        entry.record = _record(entry)
    return entry.record


def _record(entry: Entry) -> Record:
    call, usage, began = entry.call, entry.usage or NO_USAGE, entry.started
    return Record(  # in the order of its fields: by their names it would take twice as long
        entry.record_id or entry.id,
        int(entry.time * 1000),
        entry.key,
        str(call.body.get("user") or "")[:TEXT] if call else "",
        entry.endpoint,
        entry.model,
        entry.provider,
        entry.target.model[:TEXT] if entry.target else "",
        entry.status,
        entry.outcome,
        call.stream if call else False,
        *usage,
        entry.usage_source,
        entry.cost,
        _ms(entry.ended - began),
        None if entry.first_token is None else _ms(entry.first_token - began),
        _ms(entry.overhead(entry.ended)),
        tuple(map(_attempt, entry.tried)),
    )


def _attempt(tried: Tried) -> Attempt:
    return Attempt(tried.provider, tried.model[:TEXT], tried.outcome, int(tried.ms * 100) / 100)


def _ms(seconds: float) -> float:
    """To the hundredth; `round` would take three times as long."""
    return int(seconds * 100_000) / 100
