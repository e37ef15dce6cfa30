"""The health of every target that calls have gone to, and the retry budget of every provider. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.config.snapshot import Model, Timeouts
from gateway.core.call import Target
from gateway.core.errors import RULES, Failure, UpstreamError
from gateway.ports import Clock, Notice, Random
from gateway.routing.health import Cooldown, Health
from gateway.routing.window import Window

MOST = 4096
"""Targets that are known at once. A pattern of public names has as many as clients have ideas."""

FAILURES = frozenset(failure.value for failure in Failure)

NEWS = 1.0
"""Seconds by which a cooldown must become longer to be told again: calls that are refused together say it each."""

RETRY_WINDOW = 10.0
"""Seconds over which a provider's retries are held against its requests."""

FEWEST_RETRIES = 3
"""So many are always allowed: a share of little traffic is nothing. Envoy's floor, too."""

EJECTED = "ejected"
WELL = "well"
"""In a notice: why a target is left alone, where it is no cooldown, and that it is not any more."""


class Board:
    """What is known of the targets. It outlives configurations: a new file makes no provider well.

    `changed` is told of each target that is to be left alone from now on, or is well again.
    """

    def __init__(self, clock: Clock, random: Random, changed: Callable[[Notice], None] = lambda notice: None) -> None:
        self._clock = clock
        self._random = random
        self._changed = changed
        self._targets: dict[tuple[str, str], Health] = {}
        self._retries: dict[str, Window] = {}
        self._hedges: dict[str, Window] = {}

    def of(self, target: Target) -> Health:
        """The health of a target."""
        health = self._targets.get((target.provider, target.model))
        return self._new((target.provider, target.model)) if health is None else health

    def known(self) -> Mapping[tuple[str, str], Health]:
        """By provider and model: the targets that calls ever went to, and that are not forgotten."""
        return self._targets

    # What happens to calls

    def begin(self, target: Target, *, again: bool) -> bool:
        """An attempt begins, maybe one that is made once more. Returns whether it is the probe of an ejected target."""
        if not again:  # else `may_retry` has counted it
            self._requests(target.provider).add(self._clock())
        return self.of(target).begin()

    def end(self, target: Target, *, probe: bool) -> None:
        """The attempt has ended, whatever came of it."""
        self.of(target).end(probe=probe)

    def succeeded(self, target: Target, since: float, model: Model) -> None:
        """An attempt that began at `since` was answered."""
        if self.of(target).succeeded(self._clock(), since, model.breaker):
            self._well(target)

    def spoke(self, target: Target, since: float) -> None:
        """A stream that was asked for at `since` has begun to say something."""
        now, health = self._clock(), self.of(target)
        health.spoke(now, now - since)
        if health.answered(now, since):
            self._well(target)

    def failed(self, target: Target, since: float, model: Model, error: UpstreamError) -> None:
        """An attempt that began at `since` has failed."""
        now, health = self._clock(), self.of(target)
        ill = RULES[error.failure].ill if now - since >= _enough(error.failure, model.timeouts) else 0.0
        if ill and health.failed(now, since, ill, model.breaker, self._random):
            self._tell(target, EJECTED, health.ejected_until - now, times=health.times)
        elif not ill and error.upstream_status and health.answered(now, since):
            self._well(target)
        before = cooldown.until if (cooldown := health.cooling(now)) else now
        seconds = health.cool_down(now, error)
        if seconds and (before == now or now + seconds - before > NEWS):
            self._tell(target, error.failure, seconds, asked=error.retry_after is not None)

    # What may be done

    def may_retry(self, target: Target, share: float) -> bool:
        """Whether the provider's retry budget has room for one more, which is then taken from it.

        It is taken here and not when the attempt begins: until then, others who wait would all find the same room.
        """
        now, requests = self._clock(), self._requests(target.provider)
        requests.turn(now)
        if requests.part + 1 > max(FEWEST_RETRIES, share * requests.all):
            return False
        requests.add(now, 0.0, 1.0)
        return True

    def may_hedge(self, model: Model) -> bool:
        """Whether one more stream of this model may be asked for twice."""
        hedges = self._hedged(model)
        hedges.turn(self._clock())
        return hedges.part + 1 <= model.hedge * hedges.all

    def streamed(self, model: Model, *, twice: bool) -> None:
        """A stream of a model that may be hedged was asked for: `twice` for the second time."""
        self._hedged(model).add(self._clock(), 0.0 if twice else 1.0, float(twice))

    # From other replicas

    def heard(self, notice: Notice) -> None:
        """Another replica has found out something about a target."""
        now, place = self._clock(), (notice.provider, notice.model)
        health = self._targets.get(place) or self._new(place)
        if notice.seconds <= 0:
            health.release(now)
        elif notice.why == EJECTED:
            health.eject_until(now, now + notice.seconds, notice.times)
        elif notice.why in FAILURES:
            health.cool_until(now, Cooldown(now + notice.seconds, Failure(notice.why), notice.asked, now))

    def _tell(self, target: Target, why: str, seconds: float, *, times: int = 0, asked: bool = False) -> None:
        self._changed(Notice(target.provider, target.model, why, seconds, times, asked))

    def _well(self, target: Target) -> None:
        self._tell(target, WELL, 0.0)

    def _new(self, place: tuple[str, str]) -> Health:
        if len(self._targets) >= MOST:
            self._forget()
        health = self._targets[place] = Health()
        return health

    def _forget(self) -> None:
        """Half of the targets that are at rest: those first of which there is nothing to remember, then the oldest."""
        now = self._clock()
        resting = [
            (_is_worth_knowing(health, now), place) for place, health in self._targets.items() if not health.in_flight
        ]
        for _, place in sorted(resting, key=lambda each: each[0])[: MOST // 2]:
            del self._targets[place]

    def _requests(self, provider: str) -> Window:
        window = self._retries.get(provider)
        if window is None:
            window = self._retries[provider] = Window(RETRY_WINDOW)
        return window

    def _hedged(self, model: Model) -> Window:
        window = self._hedges.get(model.name)
        if window is None:
            window = self._hedges[model.name] = Window(RETRY_WINDOW)
        return window


def _is_worth_knowing(health: Health, now: float) -> bool:
    """Whether it matters that it is left alone. What clients make up and no provider has is not worth much."""
    cooldown = health.cooling(now)
    made_up = cooldown is not None and cooldown.why is Failure.MODEL_MISSING
    return bool(health.ejected_until) or (cooldown is not None and not made_up)


def _enough(failure: Failure, timeouts: Timeouts) -> float:
    """Seconds that a target must have had before it is blamed for being late.

    Otherwise the time was spent elsewhere, or it was the client who gave so little: nobody may eject a target by that.
    """
    if failure is Failure.DEADLINE:
        return timeouts.total / 2
    if failure is Failure.FIRST_TOKEN_TIMEOUT:
        return 0.95 * min(timeouts.first_token, timeouts.total / 2)  # timers may be early
    return 0.0
