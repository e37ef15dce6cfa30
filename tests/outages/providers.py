"""Providers as they are seen from the gateway: how long they take, and what they say. What ails them is a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.config.snapshot import Timeouts
from gateway.core.call import Target
from gateway.core.errors import Failure, UpstreamError
from tests.outages.world import World

TIMEOUTS = Timeouts(connect=2.0, first_token=5.0)
"""Less than usual: a shorter story tells the same."""

FIRST_TOKEN, REST = 0.4, 0.8
"""Seconds, the median of each. Both are log-normal, with a long tail."""


class Answer(NamedTuple):
    """What comes of one request."""

    failure: UpstreamError | None
    begins: float
    """Seconds to the first token, or to the failure."""
    lasts: float = 0.0
    """Seconds from the first token to the last."""


Mood = Callable[["Provider"], Answer]
"""How a provider answers for a while."""


class Episode(NamedTuple):
    """From one second to another it is in some other mood."""

    start: float
    end: float
    mood: Mood


@dataclass(slots=True)
class Provider:
    """One target."""

    name: str
    world: World
    episodes: tuple[Episode, ...] = ()
    usual: Mood = field(default_factory=lambda: well)
    room: float = 0.0
    """Requests that it would take right now, where it counts them."""
    counted_at: float = 0.0
    asked_until: float = 0.0
    """When the gateway may come again, by what it has been told."""

    @property
    def target(self) -> Target:
        return Target(self.name, "m", {"chat": "https://test/"})

    def answer(self) -> Answer:
        """What a request that comes now will get."""
        now = self.world.now
        for episode in self.episodes:
            if episode.start <= now < episode.end:
                return episode.mood(self)
        return self.usual(self)


# Moods


def well(provider: Provider) -> Answer:
    chance = provider.world.chance.lognormvariate
    return Answer(None, FIRST_TOKEN * chance(0, 0.4), REST * chance(0, 0.6))


def sluggish(provider: Provider) -> Answer:
    """All is well, but ten times as slow to begin."""
    answer = well(provider)
    return answer._replace(begins=10 * answer.begins)


def refusing(provider: Provider) -> Answer:
    return Answer(UpstreamError(Failure.UNREACHABLE, "connection refused"), 0.001)


def unreachable(provider: Provider) -> Answer:
    return Answer(UpstreamError(Failure.CONNECT_TIMEOUT, "no connection"), TIMEOUTS.connect)


def silent(provider: Provider) -> Answer:
    return Answer(UpstreamError(Failure.FIRST_TOKEN_TIMEOUT, "nothing came"), TIMEOUTS.first_token)


def failing(share: float) -> Mood:
    """An error instead of so many of the answers."""

    def mood(provider: Provider) -> Answer:
        if provider.world.chance.random() >= share:
            return well(provider)
        return Answer(UpstreamError(Failure.SERVER_ERROR, "oops", status=500), 0.2)

    return mood


def limiting(retry_after: float | None) -> Mood:
    """429, with or without a word of when to come again."""

    def mood(provider: Provider) -> Answer:
        return Answer(UpstreamError(Failure.RATE_LIMITED, "slow down", status=429, retry_after=retry_after), 0.05)

    return mood


def capped(rate: float, failure: Failure = Failure.RATE_LIMITED, retry_after: float | None = None) -> Mood:
    """So many requests a second and no more. What comes above that is told to come again."""

    def mood(provider: Provider) -> Answer:
        now = provider.world.now
        provider.room = min(rate, provider.room + rate * (now - provider.counted_at))
        provider.counted_at = now
        if provider.room >= 1:
            provider.room -= 1
            return well(provider)
        return Answer(UpstreamError(failure, "full", status=429, retry_after=retry_after), 0.05)

    return mood
