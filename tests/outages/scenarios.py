"""The outages that are played. All times are a third of the usual ones: the story is the same, and told sooner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from gateway.config.snapshot import Breaker, Model, Strategy
from gateway.core.errors import Failure
from tests.outages.figures import Figures
from tests.outages.providers import (
    TIMEOUTS,
    Episode,
    Mood,
    Provider,
    capped,
    failing,
    limiting,
    refusing,
    silent,
    sluggish,
    unreachable,
    well,
)
from tests.outages.traffic import Traffic
from tests.outages.world import World

BREAKER = Breaker(window=10, ejection=10, max_ejection=100)

START, END = 10.0, 25.0
"""Of the outage, where nothing else is said."""

MANY, FEWER = 10_000, 2_000
"""Clients, each of which calls every ten seconds. Fewer are enough where nothing depends on their number."""


@dataclass(frozen=True)
class Scenario:
    """Providers, what ails them and when, and who calls them."""

    ills: Mapping[str, tuple[Episode, ...]]
    """By provider; those that are named nowhere are well."""
    models: tuple[str, ...] = ("abc",)
    """Each a series of providers. The clients are shared out equally."""
    strategy: Strategy = "weighted"
    usual: Mood = well
    clients: int = FEWER
    outage: tuple[float, float] = (START, END)
    seconds: float = 60.0
    impatient: bool = False
    timed: str = "a"
    """The provider whose return is looked at."""

    @property
    def usual_rate(self) -> float:
        """Calls per second that the timed provider gets when all is well."""
        rate = self.clients / 10 / len(self.models)
        if self.strategy == "ordered":
            return rate
        return sum(rate / len(model) for model in self.models if self.timed in model)


def ill(mood: Mood, *, of: str = "a", outage: tuple[float, float] = (START, END)) -> dict[str, tuple[Episode, ...]]:
    return dict.fromkeys(of, (Episode(*outage, mood),))


FLAPPING = {"a": tuple(Episode(start, start + 10, refusing) for start in (10.0, 30.0, 50.0))}

ONE_OF_THREE: dict[str, Scenario] = {
    "refuses connections": Scenario(ill(refusing), clients=MANY),
    "refuses connections, two models share a target": Scenario(ill(refusing), models=("ab", "bc")),
    "connections time out": Scenario(ill(unreachable)),
    "connections time out, ordered": Scenario(ill(unreachable), strategy="ordered", seconds=90.0),
    "never begins to answer, least_busy": Scenario(ill(silent), strategy="least_busy", seconds=90.0),
    "never begins to answer, fastest": Scenario(ill(silent), strategy="fastest"),
    "fails 30 % of its calls": Scenario(ill(failing(0.3))),
    "fails 60 % of its calls": Scenario(ill(failing(0.6))),
    "is ten times as slow, fastest": Scenario(ill(sluggish), strategy="fastest"),
    "goes and comes every 10 s": Scenario(FLAPPING, outage=(10.0, 60.0), seconds=110.0),
    "429, Retry-After 4 s": Scenario(ill(limiting(4.0))),
    "429 without a word": Scenario(ill(limiting(None))),
}
"""One target is ill; the others have room enough for all."""

ALL: dict[str, Scenario] = {
    "the only target refuses connections": Scenario(ill(refusing), models=("a",)),
    "the only target fails 40 % of its calls": Scenario(ill(failing(0.4)), models=("a",)),
    "all refuse connections": Scenario(ill(refusing, of="abc")),
    "all refuse connections, SDKs try again": Scenario(ill(refusing, of="abc"), impatient=True),
    "all 429, Retry-After 4 s": Scenario(ill(limiting(4.0), of="abc"), clients=MANY),
    "all 429, Retry-After 20 s": Scenario(ill(limiting(20.0), of="abc")),
    "all 429 without a word": Scenario(ill(limiting(None), of="abc")),
    "all fail 50 % of their calls": Scenario(ill(failing(0.5), of="abc")),
}
"""Every target is ill."""

TOO_LITTLE: dict[str, Scenario] = {
    "one of two is gone, the other is full: 429": Scenario(
        ill(refusing), models=("ab",), usual=capped(140, retry_after=1.0)
    ),
    "one of two is gone, the other is full: 503": Scenario(
        ill(refusing), models=("ab",), usual=capped(140, Failure.OVERLOADED)
    ),
    "more calls than the only target takes: 429": Scenario({}, models=("a",), usual=capped(140, retry_after=1.0)),
}
"""What is left has not enough room."""

SCENARIOS = ONE_OF_THREE | ALL | TOO_LITTLE


@cache
def played(name: str) -> Figures:
    """What was seen of a scenario. Chance is the same in each run."""
    scenario, world = SCENARIOS[name], World()
    providers = {
        letter: Provider(letter, world, scenario.ills.get(letter, ()), scenario.usual)
        for letter in sorted(set("".join(scenario.models)))
    }
    traffic = Traffic(world, providers, impatient=scenario.impatient)
    for letters in scenario.models:
        targets = tuple(providers[letter].target for letter in letters)
        model = Model(letters, targets, (1.0,) * len(targets), scenario.strategy, timeouts=TIMEOUTS, breaker=BREAKER)
        traffic.flow(model, scenario.clients // len(scenario.models))
    world.run(scenario.seconds)
    return traffic.figures
