"""
What a call is let in for: reserved before it goes to a target, settled once when it has ended.

All limits of a call, its key's and its target's, are asked at once, and it gets all or nothing. Where it is the target
that has no room the next one is tried; where it is the key, the call is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import cast

from gateway.config.snapshot import Key, Snapshot
from gateway.core.call import Call, Target
from gateway.core.errors import Failure, GatewayError, LimitExceeded, UpstreamError
from gateway.core.events import Usage
from gateway.core.money import MICROS_PER_DOLLAR
from gateway.engine.entry import Entry
from gateway.policy.cost import cost, credible
from gateway.policy.estimate import Estimates
from gateway.policy.limits import NOTHING, limit
from gateway.ports import Counters, Every, Limit, Refused, Standing, Use, What

NO_LIMITS: tuple[Limit, ...] = ()
NO_USAGE = Usage()

MOST_TARGETS = 1024
"""Targets whose limits are kept at hand. A pattern has as many as clients have ideas."""

UNITS = {
    "requests_per_minute": "requests in a minute",
    "tokens_per_minute": "tokens in a minute",
    "concurrent_requests": "calls at once",
    "usd_budget": "US dollars",
    "token_budget": "tokens",
}

WINDOWS = {"minute": "", "hour": " this hour", "day": " today", "week": " this week", "month": " this month"}


class Toll:
    """The limits of one configuration, at counters that outlive it."""

    def __init__(self, snapshot: Snapshot, counters: Counters, estimates: Estimates) -> None:
        self._counters = counters
        self._estimates = estimates
        self._keys = {key.name: _limits_of_key(key) for key in snapshot.keys.values()}
        self._targets: dict[tuple[str, str, int | None, int | None], tuple[Limit, ...]] = {}

    def budgets(self) -> list[Limit]:
        """Those of all keys."""
        return [each for limits in self._keys.values() for each in limits if each.kind == "budget"]

    def limits(self, key: str, target: Target) -> tuple[Limit, ...]:
        """Those that a key's call to a target has to pass, the key's own first."""
        own = self._keys.get(key, NO_LIMITS)
        if target.requests_per_minute is None and target.tokens_per_minute is None:
            return own
        # Models may differ in the limits they give to the same target.
        place = (target.provider, target.model, target.requests_per_minute, target.tokens_per_minute)
        if place not in self._targets:
            if len(self._targets) >= MOST_TARGETS:
                self._targets.clear()
            self._targets[place] = _limits_of_target(target)
        return own + self._targets[place]

    async def reserve(self, limits: tuple[Limit, ...], call: Call, target: Target, entry: Entry) -> None:
        """Lets the call in, or raises LimitExceeded (its key), or UpstreamError (this target). Once for each target."""
        if entry.reservation is not None:
            if entry.reservation.limits == limits:
                return
            self.give_back(entry)
        if not limits:
            return
        expected = self._estimates.ahead(call, target)
        granted = await self._counters.reserve(limits, _use(expected, target))
        if isinstance(granted, Refused):
            entry.standings = (granted.standing,) if granted.standing.limit.owner[0] == "key" else ()
            raise _refusal(granted)
        entry.reservation = granted
        entry.standings = granted.standings[: len(self._keys.get(entry.key, NO_LIMITS))]

    def give_back(self, entry: Entry) -> None:
        """The call goes elsewhere, and has used nothing here."""
        if entry.reservation is not None:
            self._counters.settle(entry.reservation, NOTHING)
            entry.reservation = None

    def adopt(self, entry: Entry, sheet: Entry) -> None:
        """An attempt that ran beside others is now the call's own, with what it has reserved."""
        if entry.reservation is not sheet.reservation:
            self.give_back(entry)
        entry.adopt(sheet)

    def settle(self, entry: Entry) -> None:
        """What the call has really used. Once its entry is settled, whatever became of it."""
        used, micros = entry.lost, 0
        if entry.call is not None and entry.target is not None and entry.usage is not None:
            if entry.usage_source == "reported" and entry.outcome == "ok":  # servers that count as they go may be cut
                self._estimates.learn(entry.call, entry.target, entry.usage, entry.carried)
            used = [*entry.lost, (entry.target, entry.usage)]
        if used:
            entry.usage, entry.cost, micros = _sums(used)
        if entry.reservation is not None:
            usage = entry.usage or NO_USAGE
            # Without an attempt nothing was asked: the call has waited in vain for its turn.
            counted = Use(1, usage.input + usage.output, micros) if entry.tried else NOTHING
            self._counters.settle(entry.reservation, counted)


def _sums(used: Sequence[tuple[Target, Usage]]) -> tuple[Usage, int | None, int]:
    """Usage and cost of all attempts together: those that failed are on the provider's bill as well.

    The cost is None where a part of it is not known; what is known of it, which a budget has to bear, comes last.
    """
    if len(used) == 1:
        [(target, usage)] = used
        micros = cost(usage, target.price)
        return credible(usage), micros, micros or 0
    costs = [cost(usage, target.price) for target, usage in used]
    known = [each for each in costs if each is not None]
    usage = sum((credible(usage) for _, usage in used), NO_USAGE)
    return usage, sum(known) if len(known) == len(costs) else None, sum(known)


def _use(usage: Usage, target: Target) -> Use:
    return Use(1, usage.input + usage.output, cost(usage, target.price) or 0)


def _limits_of_key(key: Key) -> tuple[Limit, ...]:
    owner, (requests, tokens, concurrent) = ("key", key.name), key.limits
    rates = _limits(owner, requests_per_minute=requests, tokens_per_minute=tokens, concurrent_requests=concurrent)
    if key.budget is None:
        return rates
    usd, spent = key.budget.usd_micros, key.budget.tokens
    return rates + _limits(owner, key.budget.every, usd_budget=usd, token_budget=spent)


def _limits_of_target(target: Target) -> tuple[Limit, ...]:
    owner = ("target", target.provider, target.model)
    requests, tokens = target.requests_per_minute, target.tokens_per_minute
    return _limits(owner, requests_per_minute=requests, tokens_per_minute=tokens)


def _limits(owner: tuple[str, ...], every: Every = "minute", **most: int | None) -> tuple[Limit, ...]:
    """Those that are set, by their names."""
    return tuple(limit(owner, cast(What, what), bound, every) for what, bound in most.items() if bound is not None)


def _refusal(refused: Refused) -> GatewayError:
    """Which limit refuses, whose it is, how much of it is used, and when there will be room."""
    standing, wait = refused.standing, refused.wait
    words = _words(standing, wait)
    if standing.limit.owner[0] == "key":
        return LimitExceeded(f"The key `{standing.limit.owner[1]}` {words}", standing.limit.what, wait)
    words = f"The gateway's own limit for this model's provider is reached: {words}"
    return UpstreamError(Failure.SPENT, words, retry_after=None if wait == inf else wait)


def _words(standing: Standing, wait: float) -> str:
    limit, amount = standing.limit, _dollars if standing.limit.what == "usd_budget" else "{:,}".format
    window = WINDOWS[limit.every] if limit.kind == "budget" else ""
    room = "it will never have room for this call" if wait == inf else f"there is room again in {_seconds(wait)} s"
    most, used = amount(limit.most), amount(standing.used)
    return f"may use {most} {UNITS[limit.what]}{window} ({limit.what}), and {used} are used or reserved; {room}."


def _dollars(micros: int) -> str:
    whole, part = divmod(micros, MICROS_PER_DOLLAR)
    return f"{whole:,}.{part:06}".rstrip("0").removesuffix(".")


def _seconds(wait: float) -> str:
    """Never too few: in tenths, and whole where those no longer matter."""
    return f"{ceil(wait):,}" if wait > 10 else f"{ceil(wait * 10) / 10:g}"
