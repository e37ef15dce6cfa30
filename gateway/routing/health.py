"""
How one target is, and whether calls may go there now. Pure: the time and chance are arguments.

    ready --- five failures in a row, or half of ten ---> ejected --- its time is over ---> one probe
      ^                                                      ^                                |
      |                                                      +------------- fails ------------+
      +--- its share of the calls grows ------------------------------------ answers ---------+

Besides, a target cools down: because it is full, and said for how long; or because of something that only a person can
mend. That is no illness, so it is kept apart. Modelled on Envoy's outlier detection, of one target and with one probe:
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
"""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum
from typing import NamedTuple

from gateway.config.snapshot import Breaker
from gateway.core.errors import LONG_COOLDOWN, RULES, Failure, UpstreamError
from gateway.ports import Random
from gateway.routing.window import Window

ENOUGH = 10
"""Answers within the window from which on a share of them is a judgement."""

SHARE = 0.5
"""Of them so many failures eject."""

JITTER = 0.1
"""By this part an ejection is longer or shorter, so that targets ejected together do not come back together."""

HALF_LIFE = 60.0
"""Seconds after which a measured speed counts half. A target that was slow once is so tried again after a while."""

SMOOTHING = 0.2
"""How much of the newest measurement is in a speed."""

SAMPLES = 128
"""First tokens from which the 95th percentile is taken."""

FEW = 20
"""With fewer of them there is none."""


class Standing(IntEnum):
    """Where a target stands. The numbers are those of the metric `gateway_target_state`."""

    READY = 0
    COOLING_DOWN = 1
    EJECTED = 2


class Cooldown(NamedTuple):
    """A target is left alone."""

    until: float
    why: Failure
    asked: bool
    """Whether the provider itself asked for it. If not, its end is a guess, and gives way when nothing else is left."""
    since: float


class Health:
    """One target's health. Mutable, and changed by what happens to calls alone."""

    __slots__ = (
        *("_failures", "_probing", "_samples", "_speed", "_speed_at", "_window"),
        *("asked_until", "cooldown", "ejected_at", "ejected_until", "in_flight", "times", "well_since"),
    )

    def __init__(self) -> None:
        self.in_flight = 0
        """Calls under way there."""
        self.cooldown: Cooldown | None = None
        self.asked_until = 0.0
        """Until then the provider has asked not to be called, whatever else was guessed since."""
        self.ejected_until = 0.0
        """Zero: it is not ejected. In the past: it waits for a probe, or for what that brings."""
        self.ejected_at = 0.0
        self.times = 0
        """Ejections in a row, the present one included, but for those that a success has ended before their time."""
        self.well_since = 0.0
        """When it last came back."""
        self._failures = 0.0
        self._probing = False
        self._window: Window | None = None
        self._speed = 0.0
        self._speed_at = 0.0
        self._samples: deque[float] | None = None

    # What may be asked of it

    def standing(self, now: float) -> Standing:
        """Whether calls may go there. The one that comes when its ejection is over is the probe."""
        if self.ejected_until and (now < self.ejected_until or self._probing):
            return Standing.EJECTED
        return Standing.COOLING_DOWN if self.cooling(now) else Standing.READY

    def cooling(self, now: float) -> Cooldown | None:
        """The cooldown that holds now."""
        return self.cooldown if self.cooldown is not None and now < self.cooldown.until else None

    def asked(self, now: float) -> float:
        """Seconds for which the provider has asked to be left alone from now on."""
        return max(0.0, self.asked_until - now)

    def share(self, now: float, breaker: Breaker) -> float:
        """The part of its calls that it may have: less than 1 for a while after it came back."""
        back = now - self.well_since
        return 1.0 if not self.times or back >= breaker.ejection else max(0.05, back / breaker.ejection)

    def speed(self, now: float) -> float:
        """Seconds to the first token as it was lately; zero where nothing is known, or not any more."""
        return self._speed * math.exp2((self._speed_at - now) / HALF_LIFE)

    def slow(self) -> float | None:
        """Seconds by which 95 % of its streams have begun; None while there were too few."""
        if self._samples is None or len(self._samples) < FEW:
            return None
        return sorted(self._samples)[int(len(self._samples) * 0.95)]

    # What happens to it

    def begin(self) -> bool:
        """A call goes there. Returns whether it is the probe."""
        self.in_flight += 1
        if not self.ejected_until or self._probing:
            return False
        self._probing = True
        return True

    def end(self, *, probe: bool) -> None:
        """A call has ended, whatever came of it."""
        self.in_flight -= 1
        if probe:
            self._probing = False

    def spoke(self, now: float, seconds: float) -> None:
        """A stream has begun to say something, `seconds` after it was asked for."""
        old = self._speed or seconds
        self._speed, self._speed_at = old + SMOOTHING * (seconds - old), now
        if self._samples is None:
            self._samples = deque(maxlen=SAMPLES)
        self._samples.append(seconds)

    def succeeded(self, now: float, since: float, breaker: Breaker) -> bool:
        """A call that began at `since` was answered well. Returns whether this brings the target back."""
        self._failures = 0.0
        self._counts(breaker).add(now)
        back = self.answered(now, since)
        if self.cooldown is None or since <= self.cooldown.since:
            return back
        cooling = now < self.cooldown.until
        self.cooldown, self.asked_until = None, 0.0
        return back or cooling

    def answered(self, now: float, since: float) -> bool:
        """It has said something to a call that began at `since`, so it is not ill. Returns whether it was ejected."""
        if not self.ejected_until or since < self.ejected_at:
            return False
        self._come_back(now)
        return True

    def failed(self, now: float, since: float, ill: float, breaker: Breaker, random: Random) -> bool:
        """A call that began at `since` has failed, and counts `ill` against it. Returns whether that ejects it."""
        if since < self.ejected_at:  # that is known: a minute's worth of calls may still run into the same timeout
            return False
        counts = self._counts(breaker)
        counts.add(now, part=ill)
        self._failures += ill
        if now < self.ejected_until:  # it was asked for want of anything better
            return False
        many = counts.all >= ENOUGH and counts.part >= SHARE * counts.all
        if self.ejected_until or self._failures >= breaker.failures or many:
            self._eject(now, breaker, random)
            return True
        return False

    def cool_down(self, now: float, error: UpstreamError) -> float:
        """It asked to be left alone, or has to be. Returns for how many seconds. A longer time is never shortened."""
        asked = error.retry_after is not None
        seconds = min(error.retry_after if error.retry_after is not None else RULES[error.failure].cool, LONG_COOLDOWN)
        return self.cool_until(now, Cooldown(now + seconds, error.failure, asked, now)) if seconds > 0 else 0.0

    def cool_until(self, now: float, cooldown: Cooldown) -> float:
        """The same, for what is known already."""
        if cooldown.asked:
            self.asked_until = max(self.asked_until, cooldown.until)
        if self.cooldown is not None and self.cooldown.until >= cooldown.until:
            self.cooldown = self.cooldown._replace(since=cooldown.since)
            return 0.0
        self.cooldown = cooldown
        return cooldown.until - now

    def eject_until(self, now: float, until: float, times: int) -> None:
        """Another replica has found it ill."""
        if until > self.ejected_until:
            self.ejected_at, self.ejected_until, self.times = now, until, max(times, self.times)

    def release(self, now: float) -> None:
        """Another replica has found it well."""
        self.cooldown, self.asked_until = None, 0.0
        if self.ejected_until:
            self._come_back(now)

    def _eject(self, now: float, breaker: Breaker, random: Random) -> None:
        well = 0.0 if self.ejected_until else now - self.well_since
        self.times = max(0, self.times - int(well / breaker.ejection)) + 1
        seconds = min(breaker.ejection * self.times, breaker.max_ejection)
        self.ejected_at = now
        self.ejected_until = now + seconds * (1 + JITTER * (2 * random() - 1))
        self._failures, self._window = 0.0, None

    def _come_back(self, now: float) -> None:
        if now < self.ejected_until:  # it was the last one, and so asked all the same: that time was not spent
            self.times -= 1
        self.ejected_until, self.well_since = 0.0, now
        self._failures, self._window, self._probing = 0.0, None, False

    def _counts(self, breaker: Breaker) -> Window:
        if self._window is None or self._window.seconds != breaker.window:
            self._window = Window(breaker.window)
        return self._window
