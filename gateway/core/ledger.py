"""What is asked of the ledger, and what it answers. Plain values: the ledger itself is `gateway.store.ledger`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from gateway.core.record import Record

HOUR = 3600
DAY = 24 * HOUR

By = Literal["key", "model", "provider", "outcome", "day", "hour"]


class Chosen(NamedTuple):
    """Which calls are meant; None: whichever. Times are in seconds since 1970: `since` is included, `until` is not."""

    key: str | None = None
    model: str | None = None
    provider: str | None = None
    outcome: str | None = None
    status: int | None = None
    """What the client was told. Only of records: sums do not know it."""
    since: float | None = None
    until: float | None = None
    id: str | None = None
    """What the client was told as `x-request-id`, unless it had chosen that itself. Only of records, too."""


ALL = Chosen()


class Spent(NamedTuple):
    """What calls came to. `input_tokens` includes cached tokens, `output_tokens` includes reasoning tokens."""

    by: str
    """The name; of a day or an hour when it began, as ISO 8601 in UTC."""
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_micros: int
    """Millionths of a US dollar, of the calls whose cost is known."""
    unpriced_calls: int
    """Calls that used tokens and have no cost, because no price is known. Where there are any, they cost more."""
    estimated_calls: int
    """Calls whose tokens, and so their cost, the provider did not report: they are the gateway's estimate."""


SUMS = Spent._fields[1:]


class Page(NamedTuple):
    """Records, the newest first, and where the next page begins; None after the last."""

    records: list[Record]
    cursor: str | None
