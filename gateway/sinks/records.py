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
    return Record(
        id=entry.record_id or entry.id,
        time=int(entry.time * 1000),
        key=entry.key,
        end_user=str(call.body.get("user") or "")[:TEXT] if call else "",
        endpoint=entry.endpoint,
        model=entry.model,
        provider=entry.provider,
        upstream_model=entry.target.model[:TEXT] if entry.target else "",
        status=entry.status,
        outcome=entry.outcome,
        stream=call.stream if call else False,
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        reasoning_tokens=usage.reasoning,
        usage_source=entry.usage_source,
        cost_micros=entry.cost,
        latency_ms=_ms(entry.ended - began),
        first_token_ms=None if entry.first_token is None else _ms(entry.first_token - began),
        overhead_ms=_ms(entry.overhead(entry.ended)),
        attempts=tuple([_attempt(each) for each in entry.tried]),
    )


def _attempt(tried: Tried) -> Attempt:
    return Attempt(tried.provider, tried.model[:TEXT], tried.outcome, int(tried.ms * 100) / 100)


def _ms(seconds: float) -> float:
    """To the hundredth; `round` would take three times as long."""
    return int(seconds * 100_000) / 100
