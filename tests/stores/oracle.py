"""What counters ought to say, worked out another way: with fractions, with whole histories, and with a calendar."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, inf

from gateway.ports import Limit, Use


@dataclass
class Held:
    """A call under way."""

    limits: tuple[Limit, ...]
    use: Use
    at: int


@dataclass
class Counted:
    """All that was ever counted of one limit."""

    limit: Limit
    level: Fraction = Fraction(0)
    """Of a rate: what is in the bucket."""
    time: int = 0
    full: int = 0
    """When a bucket was last full."""
    spent: dict[datetime, int] = field(default_factory=dict)
    """Of a budget, by window."""


class Oracle:
    """Counters that know everything and forget nothing."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.counted: dict[str, Counted] = {}
        self.calls: list[Held] = []

    def reserve(self, limits: tuple[Limit, ...], use: Use) -> Held | tuple[Limit, float]:
        """What is granted; or the limit that refuses, and after how many milliseconds it would not."""
        waits = [(self._wait(limit, use[limit.unit]), limit) for limit in limits]
        longest = max(wait for wait, _ in waits)
        if longest:
            return next(limit for wait, limit in waits if wait == longest), longest
        held = Held(limits, use, self.now)
        self.calls.append(held)
        for limit in limits:
            if limit.kind == "rate":
                self._pour(limit, -Fraction(min(use[limit.unit], limit.most)))
        return held

    def settle(self, held: Held, used: Use) -> None:
        self.calls.remove(held)
        for limit in held.limits:
            counted, amount = self._counted(limit), used[limit.unit]
            if limit.kind == "rate":
                more = min(held.use[limit.unit], limit.most) - amount
                if more < 0 or held.at >= counted.full:
                    self._pour(limit, Fraction(more))
            elif limit.kind == "budget":
                window = self.window(limit, held.at)[0]
                counted.spent[window] = counted.spent.get(window, 0) + amount

    def used(self, limit: Limit) -> int:
        """How much is used of a limit."""
        if limit.kind == "rate":
            return ceil(limit.most - self._counted(limit).level)
        if limit.kind == "slots":
            return sum(limit in held.limits for held in self.calls)
        return self._spent(limit) + self._reserved(limit)

    def reset(self, limit: Limit) -> int:
        """In how many milliseconds that is over."""
        if limit.kind == "rate":
            return ceil((limit.most - self._counted(limit).level) * 60_000 / limit.most)
        return 0 if limit.kind == "slots" else self._left(limit)

    def _wait(self, limit: Limit, amount: int) -> float:
        if limit.kind == "rate":
            missing = min(amount, limit.most) - self._counted(limit).level
            return max(0, ceil(missing * 60_000 / limit.most))
        if limit.kind == "slots":
            return 0 if self.used(limit) < limit.most else 1000
        if not amount or self.used(limit) + amount <= limit.most:
            return 0
        if self._spent(limit) + amount <= limit.most:
            return 1000
        return inf if amount > limit.most else self._left(limit)

    def _counted(self, limit: Limit) -> Counted:
        """Up to date."""
        counted = self.counted.get(limit.name)
        if counted is None:
            counted = self.counted[limit.name] = Counted(limit, Fraction(limit.most), self.now, self.now)
        gone = self.now - counted.time
        counted.level = min(Fraction(limit.most), counted.level + Fraction(gone * limit.most, 60_000))
        counted.time = self.now
        if counted.level == limit.most:
            counted.full = self.now
        return counted

    def _pour(self, limit: Limit, amount: Fraction) -> None:
        counted = self._counted(limit)
        counted.level = min(Fraction(limit.most), counted.level + amount)

    def _spent(self, limit: Limit) -> int:
        return self._counted(limit).spent.get(self.window(limit, self.now)[0], 0)

    def _reserved(self, limit: Limit) -> int:
        window = self.window(limit, self.now)
        mine = [held for held in self.calls if limit in held.limits and self.window(limit, held.at) == window]
        return sum(held.use[limit.unit] for held in mine)

    def _left(self, limit: Limit) -> int:
        return int(self.window(limit, self.now)[1].timestamp() * 1000) - self.now

    @staticmethod
    def window(limit: Limit, now: int) -> tuple[datetime, datetime]:
        """By the calendar."""
        hour = datetime.fromtimestamp(now // 1000, UTC).replace(minute=0, second=0)
        day = hour.replace(hour=0)
        monday = day - timedelta(days=day.weekday())
        first = day.replace(day=1)
        return {
            "hour": (hour, hour + timedelta(hours=1)),
            "day": (day, day + timedelta(days=1)),
            "week": (monday, monday + timedelta(days=7)),
            "month": (first, (first + timedelta(days=32)).replace(day=1)),
        }[limit.every]
