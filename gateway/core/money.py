"""Money as whole numbers: micro-dollars for what calls cost and budgets hold, pico-dollars for the price of one token.

Sums of floats drift, and no database or Redis adds them exactly. A price of one US dollar per million tokens is one
micro-dollar per token, so a price with up to six decimals is a whole number of pico-dollars.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

MICROS_PER_DOLLAR = 1_000_000

PICOS_PER_MICRO = 1_000_000


def picos(dollars_per_million: float) -> int:
    """Pico-dollars per token, for a price in US dollars per million tokens.

    More than six decimals are rounded, half up. Only quotients have them: a twelfth of a dollar for an hour's caching.
    """
    return _whole(Decimal(repr(dollars_per_million)) * PICOS_PER_MICRO)


def micros(dollars: Decimal) -> int:
    """Micro-dollars. More than six decimals are rounded, half up."""
    return _whole(dollars * MICROS_PER_DOLLAR)


def rounded(picos: int) -> int:
    """Micro-dollars, half up. For amounts that are not negative."""
    return (picos + PICOS_PER_MICRO // 2) // PICOS_PER_MICRO


def dollars(micros: int) -> float:
    """US dollars, for people and for metrics. Nothing is added up in these."""
    return micros / MICROS_PER_DOLLAR


def _whole(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_HALF_UP))
