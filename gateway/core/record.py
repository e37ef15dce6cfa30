"""The usage record: what is kept of every call, exactly one for each. Never a prompt, never an answer.

A record is written as one line of JSON, a list that begins with the version, and read back by whichever version of the
gateway comes next: a later one only ever adds fields at the end, so that each leaves out what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson
from msgspec import Struct, json, to_builtins

Outcome = Literal["ok", "client_error", "limited", "upstream_error", "truncated", "cancelled"]
UsageSource = Literal["reported", "estimated", "none"]

VERSION = 1

MOST_TOKENS = 2**31 - 1
"""Of one kind in one call. Whoever reports more is mistaken, and a sum must not overflow for it."""
MOST_COST = 10**13
"""Micro-dollars of one call: ten million dollars."""
LONGEST = 10**9
"""Milliseconds that a call may have taken: eleven days."""
LATEST = 10**14
"""Milliseconds since 1970: the year 5138."""

TEXT = 256
"""Characters of a name, or of whatever a client calls its user."""
MOST_ATTEMPTS = 32


class Attempt(Struct, frozen=True, array_like=True):
    """One try at one provider."""

    provider: str
    model: str
    outcome: str
    """`ok`, `cancelled`, or what the provider did wrong."""
    ms: float


class Record(Struct, frozen=True, array_like=True, tag=VERSION):
    """One call. `input_tokens` includes cached tokens, `output_tokens` includes reasoning tokens."""

    id: str
    time: int
    """When it began, in milliseconds since 1970."""
    key: str
    end_user: str
    """What the client calls its own user; empty where it does not say."""
    endpoint: str
    model: str
    """The public name as configured; empty where it is none."""
    provider: str
    upstream_model: str
    status: int
    outcome: str
    """An `Outcome`; a later version of the gateway may know more of them."""
    stream: bool
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    usage_source: str
    """A `UsageSource`."""
    cost_micros: int | None
    """Millionths of a US dollar; None where no price is known."""
    latency_ms: float
    first_token_ms: float | None
    """None where no output came."""
    overhead_ms: float
    attempts: tuple[Attempt, ...]

    def line(self) -> bytes:
        """The record as a line of JSON, its newline included. Never raises: what JSON cannot hold is made sound."""
        try:
            return _spelt(self) + b"\n"
        except UnicodeEncodeError:  # half of a surrogate pair
            return _spelt(sound(to_builtins(self)[1:])) + b"\n"


FIELDS = Record.__struct_fields__

_spelt = json.Encoder().encode


def read(line: bytes) -> Record:
    """The record of a line, made sound. Raises ValueError: this is no line of ours."""
    return sound(fields(line))


def fields(line: bytes) -> list[Any]:
    """What stands in a line for each field of a record, in their order, as it is. Raises ValueError as `read`."""
    said = orjson.loads(line)
    if not isinstance(said, list) or not isinstance(said[0] if said else None, int) or len(said) <= len(FIELDS):
        raise ValueError("not a record")
    return said[1 : len(FIELDS) + 1]


def sound(said: Sequence[Any]) -> Record:
    """A record that every database can hold and every sum can bear: numbers bounded, text cut to length.

    Raises ValueError for a record without an id or a time, and for text and numbers that are neither.
    """
    try:
        record = Record(*[bound(value) for bound, value in zip(_BOUNDS, said, strict=True)])
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a record: {type(error).__name__}") from error
    if not record.id:
        raise ValueError("a record without an id")
    return record


def _text(said: str) -> str:
    # PostgreSQL holds no NUL in a text, and no database holds half of a surrogate pair.
    return said.replace("\0", "")[:TEXT].encode(errors="replace").decode()


def _whole(most: int) -> Callable[[float], int]:
    return lambda said: int(min(max(said, 0), most))


def _ms(said: float | None) -> float:
    # JSON has no infinity: orjson writes null for it.
    return 0.0 if said is None else float(min(max(said, 0), LONGEST))


def _maybe_ms(said: float | None) -> float | None:
    return None if said is None else _ms(said)


def _cost(said: float | None) -> int | None:
    return None if said is None else int(min(max(said, 0), MOST_COST))


def _attempts(said: list[Any] | tuple[Any, ...]) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(_text(provider), _text(model), _text(outcome), _ms(ms))
        for provider, model, outcome, ms, *_ in said[:MOST_ATTEMPTS]
    )


_tokens = _whole(MOST_TOKENS)

_BOUNDS: tuple[Callable[[Any], Any], ...] = (
    _text,  # id
    _whole(LATEST),  # time
    _text,  # key
    _text,  # end_user
    _text,  # endpoint
    _text,  # model
    _text,  # provider
    _text,  # upstream_model
    _whole(999),  # status
    _text,  # outcome
    bool,  # stream
    _tokens,  # input_tokens
    _tokens,  # output_tokens
    _tokens,  # cache_read_tokens
    _tokens,  # cache_write_tokens
    _tokens,  # reasoning_tokens
    _text,  # usage_source
    _cost,  # cost_micros
    _ms,  # latency_ms
    _maybe_ms,  # first_token_ms
    _ms,  # overhead_ms
    _attempts,  # attempts
)
