"""
What limits are, and their arithmetic. Pure: the time is an argument.

All numbers are integers: amounts in requests, tokens or millionths of a dollar, times in milliseconds since 1970. So
nothing is ever rounded, and Python and the Lua of `store/counters.lua`, whose numbers are exact up to 2 to the 53rd,
come to the same results. No header tells a wait in anything finer than a millisecond.

Each kind of limit is a small class with the same methods. Those are told the limit each time, so that a counter goes on
when the configuration changes it:

* `wait(limit, amount, now)`: milliseconds until so much would fit; 0: now; `NEVER`: not at all. Consumes nothing.
* `take(limit, amount, now)`: so much is reserved, whether it fits or not. Gives how the limit stands then.
* `settle(limit, reserved, used, at, now)`: what was reserved `at` that time has come to this.
* `standing(limit, now)`: how much is used, and in how many milliseconds that is over.
* `idle(now)`: whether it holds nothing, so that a new one would do as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import ceil, inf, isnan
from typing import Literal, Protocol
from urllib.parse import quote

from gateway.ports import Every, Limit, Standing, Use, What

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
"""Milliseconds."""

MOST = 10**10
"""Of anything in one call or in one minute: ten thousand dollars, or more tokens than anyone has. Products of it with a
minute stay far below 2 to the 53rd."""

DEEPEST = 2**52
"""How deep a bucket can be in debt, in the unit of `Bucket`; and the largest budget."""

SOON = 1000
"""Milliseconds after which to ask again where a call under way has to end first: nobody knows when it will."""

NEVER = inf

NAME_LIMIT = 200
"""Characters of a counter's name: a pattern of models has as long names as clients care to write."""

NOTHING = Use(requests=0)
ALL = Use(MOST, MOST, MOST)


def limit(owner: tuple[str, ...], what: What, most: int, every: Every = "minute") -> Limit:
    """A limit. `every` is for budgets; rates are by the minute. Raises ValueError for less than one."""
    if most < 1:
        raise ValueError("a limit is at least one")
    kind, unit = _COUNTED[what]
    name = ":".join((*(quote(part, safe="", errors="surrogatepass") for part in owner), what, every))
    if len(name) > NAME_LIMIT:
        name = sha256(name.encode()).hexdigest()
    return Limit(owner, what, min(most, MOST if kind == "rate" else DEEPEST), every, kind, unit, name)


def bounded(use: Use, unknown: Use = ALL) -> Use:
    """A use that can be counted: whole, from 0 to `MOST`. What is no number is taken from `unknown`.

    Numbers come from clients and from providers, so the types may lie. None of them ever credits anyone.
    """
    requests, tokens, micros = use
    if type(requests) is type(tokens) is type(micros) is int:
        if 0 <= requests <= MOST and 0 <= tokens <= MOST and 0 <= micros <= MOST:
            return use
    return Use(*map(_bounded, use, unknown))


def _bounded(amount: object, unknown: int) -> int:
    """Fractions count as a whole one."""
    if not isinstance(amount, int | float) or isnan(amount):
        return unknown
    return ceil(max(0, min(amount, MOST)))


def window(every: Every, now: int) -> tuple[int, int]:
    """When the hour, day, week (from Monday) or month in UTC began that is now, and when it ends."""
    if every == "month":
        first = datetime.fromtimestamp(now // 1000, UTC).replace(day=1, hour=0, minute=0, second=0)
        after = (first + timedelta(days=31)).replace(day=1)
        return int(first.timestamp()) * 1000, int(after.timestamp()) * 1000
    length, origin = _WINDOWS[every]
    start = now - (now - origin) % length
    return start, start + length


_WINDOWS: Mapping[Every, tuple[int, int]] = {
    "minute": (MINUTE, 0),
    "hour": (HOUR, 0),
    "day": (DAY, 0),
    "week": (7 * DAY, 4 * DAY),  # 1970-01-05 was the first Monday
}


def standing(limit: Limit, used: int, reset: int) -> Standing:
    """How a limit stands that so much is used of, for so many milliseconds."""
    return Standing(limit, used, max(0, limit.most - used), reset / 1000)


Kind = Literal["rate", "slots", "budget"]

_REQUESTS, _TOKENS, _MICROS = range(3)
_COUNTED: Mapping[What, tuple[Kind, int]] = {
    "requests_per_minute": ("rate", _REQUESTS),
    "tokens_per_minute": ("rate", _TOKENS),
    "concurrent_requests": ("slots", _REQUESTS),
    "usd_budget": ("budget", _MICROS),
    "token_budget": ("budget", _TOKENS),
}
"""How each limit is counted, and which field of `Use` it counts."""


class Counter(Protocol):
    """What each kind of limit is counted by. The module says what the methods do."""

    def wait(self, limit: Limit, amount: int, now: int) -> float: ...

    def take(self, limit: Limit, amount: int, now: int) -> Standing: ...

    def settle(self, limit: Limit, reserved: int, used: int, at: int, now: int) -> None: ...

    def standing(self, limit: Limit, now: int) -> Standing: ...

    def idle(self, now: int) -> bool: ...


class Bucket:
    """A rate: a bucket of one minute's worth, which refills all the time: no window has an edge to burst over.

    What is kept is the debt: what is missing from a full bucket, times the milliseconds of a minute. In this unit a
    limit of n pays back n in a millisecond, and all is whole numbers. (GCRA keeps the same as a point in time, in
    steps of a minute divided by the limit, which would have to be rounded.)

    An amount larger than the bucket takes all of it, once it is full. To refuse it for good, as OpenAI does, would lock
    out a client whose `max_tokens` is only careless; and what it then uses beyond is debited, so that the rate holds.
    To reserve more than a bucket would lock out everyone else for what may never be used.

    What is refunded is at most the present debt, and nothing if the bucket was full since the reservation: time has
    given it back already. So from any moment at which it was full, no more is used than one bucket and what time adds.
    """

    __slots__ = ("_at", "_debt", "_rate", "_since")

    def __init__(self) -> None:
        self._debt = 0
        self._at = 0
        """The time of this debt."""
        self._since = 0
        """When the bucket was full for the last time."""
        self._rate = 1

    def wait(self, limit: Limit, amount: int, now: int) -> float:
        debt = self._paid_back(limit.most, now)
        most = limit.most
        missing = debt + (amount - most) * MINUTE if amount < most else debt
        return -(-missing // most) if missing > 0 else 0

    def take(self, limit: Limit, amount: int, now: int) -> Standing:
        self._paid_back(limit.most, now)
        return self._stands(limit, self._add(limit, amount if amount < limit.most else limit.most, now))

    def settle(self, limit: Limit, reserved: int, used: int, at: int, now: int) -> None:
        debt = self._paid_back(limit.most, now)
        more = used - (reserved if reserved < limit.most else limit.most)
        if more > 0:
            self._add(limit, more, now)
        elif at >= self._since:
            left = debt + more * MINUTE
            self._debt = left if left > 0 else 0

    def standing(self, limit: Limit, now: int) -> Standing:
        return self._stands(limit, self._paid_back(limit.most, now))

    def idle(self, now: int) -> bool:
        return (now - self._at) * self._rate >= self._debt

    def _paid_back(self, rate: int, now: int) -> int:
        """The debt as it is now. A clock that was set back gives nothing and takes nothing: it goes on from there."""
        debt, passed = self._debt, now - self._at
        if passed:
            self._at = now
            if debt and passed > 0:
                debt -= passed * rate
                self._debt = debt = debt if debt > 0 else 0
        return debt

    def _add(self, limit: Limit, amount: int, now: int) -> int:
        """To a debt that is up to date. Gives what it is then."""
        if not self._debt:
            self._since, self._rate = now, limit.most
        debt = self._debt + amount * MINUTE
        self._debt = debt = debt if debt < DEEPEST else DEEPEST
        return debt

    def _stands(self, limit: Limit, debt: int) -> Standing:
        most, used = limit.most, -(-debt // MINUTE)
        return Standing(limit, used, most - used if used < most else 0, -(-debt // most) / 1000)


class Slots:
    """Places for calls under way. In process they end with it; see `store/counters.lua` for those that are shared."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = 0

    def wait(self, limit: Limit, amount: int, now: int) -> float:
        return SOON if self._held >= limit.most else 0

    def take(self, limit: Limit, amount: int, now: int) -> Standing:
        self._held += 1
        return self.standing(limit, now)

    def settle(self, limit: Limit, reserved: int, used: int, at: int, now: int) -> None:
        self._held -= 1

    def standing(self, limit: Limit, now: int) -> Standing:
        most, held = limit.most, self._held
        return Standing(limit, held, most - held if held < most else 0, 0.0)

    def idle(self, now: int) -> bool:
        return not self._held


class Budget:
    """So much in each hour, day, week or month of the calendar, in UTC. What is spent stays spent until that is over.

    What costs nothing is let in always, also where calls have used more than was expected of them.

    A call belongs to the window in which it was reserved, as in the ledger: when it ends in the next, that has seen
    nothing of it. A new window begins at zero.
    """

    __slots__ = ("_end", "_reserved", "_spent", "_start")

    def __init__(self) -> None:
        self._start = self._end = 0
        self._spent = 0
        self._reserved = 0

    def wait(self, limit: Limit, amount: int, now: int) -> float:
        self._turn(limit, now)
        if not amount or self._spent + self._reserved + amount <= limit.most:
            return 0
        if self._spent + amount <= limit.most:
            return SOON  # what is in the way is reserved by calls that may well use less
        return NEVER if amount > limit.most else self._end - now

    def take(self, limit: Limit, amount: int, now: int) -> Standing:
        self._turn(limit, now)
        self._reserved += amount
        return self.standing(limit, now)

    def settle(self, limit: Limit, reserved: int, used: int, at: int, now: int) -> None:
        self._turn(limit, now)
        if at >= self._start:
            self._reserved -= reserved
            self._spent += used

    def preload(self, limit: Limit, spent: int, now: int) -> None:
        """At least so much was spent in this window."""
        self._turn(limit, now)
        self._spent = max(self._spent, spent)

    def standing(self, limit: Limit, now: int) -> Standing:
        self._turn(limit, now)
        most, used = limit.most, self._spent + self._reserved
        return Standing(limit, used, most - used if used < most else 0, (self._end - now) / 1000)

    def idle(self, now: int) -> bool:
        return now >= self._end

    def _turn(self, limit: Limit, now: int) -> None:
        """To the window that is now. A clock that was set back does not bring an old one back."""
        if now >= self._end:
            self._start, self._end = window(limit.every, now)
            self._spent = self._reserved = 0


COUNTERS: Mapping[Kind, Callable[[], Counter]] = {"rate": Bucket, "slots": Slots, "budget": Budget}
"""A new counter for each kind of limit."""
