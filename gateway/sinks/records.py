"""The usage record of a settled call."""

from __future__ import annotations

from math import floor

from gateway.core.call import Target
from gateway.core.events import Usage
from gateway.core.record import TEXT, Attempt, Record
from gateway.engine.entry import Entry, Tried

NO_TARGET = Target("", "", {})
NO_USAGE = Usage()


def record(entry: Entry) -> Record:
    """What is kept of a settled call: never a prompt, an answer or a secret. Made once, for the books and for the log.

    What clients choose is cut here: neither has room for megabytes.
    """
    if entry.record is None:
        entry.record = _record(entry)
    return entry.record


def _record(entry: Entry) -> Record:
    call, target, usage, began = entry.call, entry.target or NO_TARGET, entry.usage or NO_USAGE, entry.started
    return Record(  # in the order of its fields: by their names it would take twice as long
        entry.record_id or entry.id,
        floor(entry.time * 1000),
        entry.key,
        str(call.body.get("user") or "")[:TEXT] if call else "",
        entry.endpoint,
        entry.model,
        target.provider,
        target.model[:TEXT],
        entry.status,
        entry.outcome,
        call.stream if call else False,
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write,
        usage.reasoning,
        entry.usage_source,
        entry.cost,
        _ms(entry.ended - began),
        None if entry.first_token is None else _ms(entry.first_token - began),
        _ms(entry.overhead(entry.ended)),
        tuple(map(_attempt, entry.tried)),
    )


def _attempt(tried: Tried) -> Attempt:
    return Attempt(tried.provider, tried.model[:TEXT], tried.outcome, floor(tried.ms * 100) / 100)


def _ms(seconds: float) -> float:
    """To the hundredth; `round` would take four times as long."""
    return floor(seconds * 100_000) / 100
