"""What a call costs: the usage that its provider reported, or that was estimated, at the price of its target. Pure.

There is no other function of cost: the ledger, the budgets and the metrics all take what this one gives.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct
from msgspec.structs import astuple

from gateway.core.call import Price
from gateway.core.events import Usage
from gateway.core.money import picos, rounded

MOST_TOKENS = 10**9
"""Of one kind in one call. A hundred times the largest context there is: a bound for what a broken server counts, so
that the cost of any call, and the sum of very many, fits into the 64 bits of a database."""


class Rates(Struct, frozen=True):
    """A price in whole pico-dollars per token."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    above: tuple[tuple[int, Rates], ...]


def cost(usage: Usage, price: Price | None) -> int | None:
    """Micro-dollars, exact until it is rounded once, half up; None where no price is known.

    It is never negative, whatever the usage says: see `credible`.
    """
    if price is None:
        return None
    rates = _rates(price)
    usage = credible(usage)
    prompt, output, read, written = usage.input, usage.output, usage.cache_read, usage.cache_write
    for tokens, longer in rates.above:
        if prompt > tokens:
            rates = longer
    total = (prompt - read - written) * rates.input + output * rates.output
    if read or written:
        total += read * rates.cache_read + written * rates.cache_write
    return rounded(total)


def credible(usage: Usage) -> Usage:
    """The usage as it is where it can be true, which it nearly always can; else `bounded`."""
    read, written = usage.cache_read, usage.cache_write
    if (
        read < 0
        or written < 0
        or not 0 <= usage.reasoning <= usage.output <= MOST_TOKENS
        or not read + written <= usage.input <= MOST_TOKENS
    ):
        return bounded(usage)
    return usage


def bounded(usage: Usage) -> Usage:
    """The same usage as far as it can be true: no count below 0 or above `MOST_TOKENS`, no part above its whole.

    Where more was cached than there is, what was written to the cache counts first: it is the dearest.
    """
    prompt, output, read, written, thought = (min(max(count, 0), MOST_TOKENS) for count in astuple(usage))
    written = min(written, prompt)
    return Usage(prompt, output, min(read, prompt - written), written, min(thought, output))


@lru_cache(maxsize=4096)
def _rates(price: Price) -> Rates:
    """The whole numbers of a price, made once: the same few prices come with every call."""
    plain = picos(price.input)
    return Rates(
        input=plain,
        output=picos(price.output),
        cache_read=plain if price.cache_read is None else picos(price.cache_read),
        cache_write=plain if price.cache_write is None else picos(price.cache_write),
        above=tuple((tokens, _rates(longer)) for tokens, longer in price.above),
    )
