"""A planner driven by hand: targets, models, and a world in which attempts fail as they are told to."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.config.snapshot import Model, Strategy
from gateway.core.call import Call, Json, Need, Target
from gateway.core.errors import Failure, UpstreamError
from gateway.ports import Notice
from gateway.routing.board import Board
from gateway.routing.plan import Attempt, Plan, Route, attempts

HELLO: Json = {"messages": [{"role": "user", "content": "Hello"}]}

IMAGE: Json = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]}

LONG: Json = {"messages": [{"role": "user", "content": "word " * 10_000}]}


def target(
    name: str, *, context: int | None = None, lacks: Iterable[Need] = (), concurrent: int | None = None
) -> Target:
    return Target(name, "m", {"chat": "https://test/"}, context=context, lacks=frozenset(lacks), concurrent=concurrent)


def model(
    *targets: str | Target,
    fallbacks: tuple[str, ...] = (),
    context: tuple[str, ...] = (),
    content: tuple[str, ...] = (),
    limit: int = 10,
    strategy: Strategy = "ordered",
) -> Model:
    """Of targets by name, that are like any other, or made on purpose."""
    made = tuple(each if isinstance(each, Target) else target(each) for each in targets)
    name = "+".join(each.provider for each in made)
    return Model(name, made, (1.0,) * len(made), strategy, fallbacks, context, content, attempts=limit)


MODELS = {
    "two": model("a", "b"),
    "back": model("c"),
    "both": model("b", "c"),
    "chained": model("c", fallbacks=("last",)),
    "last": model("d"),
    "long": model(target("l", context=1_000_000)),
}


class World:
    """The time, a board, and calls whose attempts fail as they are told to."""

    def __init__(self, chance: float = 0.5) -> None:
        self.now = 1000.0
        self.chance = chance
        self.board = Board(self.clock, lambda: self.chance)
        self.delays: list[float] = []

    def clock(self) -> float:
        return self.now

    def plan(self, start: Model, *, body: Json = HELLO, within: float = 600.0) -> Plan:
        call = Call("id", "chat", "m", True, False, body, size=len(str(body)))
        return attempts(Route(call, start, MODELS.get, self.board, self.clock, lambda: self.chance, self.now + within))

    def drive(
        self, start: Model, *failures: Failure | UpstreamError, body: Json = HELLO, within: float = 600.0
    ) -> list[Attempt]:
        """The attempts made when they fail like this, one after the other, each a tenth of a second after it began."""
        plan = self.plan(start, body=body, within=within)
        made, attempt = [], self.waited(plan, next(plan))
        for failure in failures:
            made.append(attempt)
            error = failure if isinstance(failure, UpstreamError) else UpstreamError(failure, "no", status=500)
            self.fail(attempt, error)
            try:
                attempt = self.waited(plan, plan.send(error))
            except StopIteration:
                return made
        return [*made, attempt]

    def waited(self, plan: Plan, attempt: Attempt) -> Attempt:
        """The attempt, when its delay is over."""
        self.delays.append(attempt.delay)
        while attempt.delay:
            self.now += attempt.delay
            attempt = next(plan)
        return attempt

    def fail(self, attempt: Attempt, error: UpstreamError) -> None:
        since = self.now
        probe = self.board.begin(attempt.target, again=attempt.again)
        self.now += 0.1
        self.board.failed(attempt.target, since, attempt.model, error)
        self.board.end(attempt.target, probe=probe)

    def eject(self, name: str, seconds: float = 30.0) -> None:
        self.board.heard(Notice(name, "m", "ejected", seconds, 1))

    def cool(self, name: str, seconds: float, why: str = "rate_limited", *, asked: bool = True) -> None:
        self.board.heard(Notice(name, "m", why, seconds, asked=asked))


def names(made: list[Attempt]) -> str:
    return "".join(attempt.target.provider for attempt in made)


def full(retry_after: float | None = None) -> UpstreamError:
    return UpstreamError(Failure.RATE_LIMITED, "slow down", status=429, retry_after=retry_after)
