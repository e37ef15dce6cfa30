"""Clients without number, and for each call what `gateway.engine.serve` does, without bytes."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.snapshot import Model
from gateway.core.call import Call
from gateway.core.errors import UpstreamError
from gateway.ports import Notice
from gateway.routing.board import EJECTED, Board
from gateway.routing.plan import Attempt, Plan, Route, attempts
from tests.outages.figures import Figures
from tests.outages.providers import Answer, Provider
from tests.outages.world import World

SDK_RETRIES = 2
"""Of OpenAI's libraries, which wait for half a second, then twice as long, and up to a quarter less by chance."""


class Traffic:
    """Clients that call independently of each other: together a Poisson process, so none of them has to be kept."""

    def __init__(self, world: World, providers: Mapping[str, Provider], *, impatient: bool = False) -> None:
        self.world = world
        self.providers = providers
        self.figures = Figures()
        self.impatient = impatient
        self.board = Board(world.clock, world.chance.random, self._changed)
        self._talks: dict[int, Call] = {}

    def flow(self, model: Model, clients: int, every: float = 10.0) -> None:
        """So many clients call a model, each of them once in `every` seconds on average."""
        chance, rate = self.world.chance.expovariate, clients / every

        def arrive() -> None:
            self.world.after(chance(rate), arrive)
            _Served(self, self._call(clients), model).start()

        self.world.after(chance(rate), arrive)

    def _call(self, clients: int) -> Call:
        """Each client is in the middle of one conversation."""
        number = self.world.chance.randrange(min(clients, 1000))
        if number not in self._talks:
            body = {"messages": [{"role": "user", "content": f"This is number {number}."}]}
            self._talks[number] = Call("id", "chat", "m", True, False, body)
        return self._talks[number]

    def _changed(self, notice: Notice) -> None:
        if notice.why == EJECTED:
            self.figures.ejections.append((self.world.now, notice))


class _Served:
    """One call, from its arrival to the last token."""

    __slots__ = ("answer", "attempt", "begun", "call", "made", "model", "plan", "probe", "since", "traffic", "tries")

    plan: Plan
    attempt: Attempt
    answer: Answer
    since: float
    probe: bool

    def __init__(self, traffic: Traffic, call: Call, model: Model, tries: int = 0) -> None:
        self.traffic, self.call, self.model, self.tries = traffic, call, model, tries
        self.made = 0
        self.begun = traffic.world.now

    def start(self) -> None:
        traffic, world = self.traffic, self.traffic.world
        traffic.figures.calls[int(world.now)] += 1
        deadline = world.now + self.model.timeouts.total
        route = Route(
            self.call, self.model, lambda name: None, traffic.board, world.clock, world.chance.random, deadline
        )
        self.plan = attempts(route)
        try:
            self._go(next(self.plan))
        except UpstreamError as failure:
            self._refuse(failure)

    def _go(self, attempt: Attempt) -> None:
        self.attempt = attempt
        if attempt.delay:
            self.traffic.world.after(attempt.delay, self._wake)
        else:
            self._ask()

    def _wake(self) -> None:
        try:
            self._go(next(self.plan))
        except UpstreamError as failure:
            self._refuse(failure)

    def _ask(self) -> None:
        traffic, now, target = self.traffic, self.traffic.world.now, self.attempt.target
        provider, figures, second = traffic.providers[target.provider], traffic.figures, int(now)
        self.since = now
        self.probe = traffic.board.begin(target, again=self.attempt.again)
        self.made += 1
        figures.attempts[second] += 1
        figures.reached[target.provider][second] += 1
        figures.most_attempts = max(figures.most_attempts, self.made)
        figures.early += now < provider.asked_until
        self.answer = provider.answer()
        traffic.world.after(self.answer.begins, self._fail if self.answer.failure else self._speak)

    def _fail(self) -> None:
        traffic, target, failure = self.traffic, self.attempt.target, self.answer.failure
        assert failure is not None
        traffic.board.failed(target, self.since, self.attempt.model, failure)
        traffic.board.end(target, probe=self.probe)
        if failure.retry_after:
            provider = traffic.providers[target.provider]
            provider.asked_until = max(provider.asked_until, traffic.world.now + failure.retry_after)
        try:
            self._go(self.plan.send(failure))
        except StopIteration:
            self._refuse(failure)

    def _speak(self) -> None:
        figures, now = self.traffic.figures, self.traffic.world.now
        figures.longest = max(figures.longest, now - self.begun)
        figures.served[self.attempt.target.provider].append(now)
        self.traffic.board.spoke(self.attempt.target, self.since)
        self.traffic.world.after(self.answer.lasts, self._finish)

    def _finish(self) -> None:
        board, target = self.traffic.board, self.attempt.target
        board.succeeded(target, self.since, self.attempt.model)
        board.end(target, probe=self.probe)

    def _refuse(self, failure: UpstreamError) -> None:
        traffic, world = self.traffic, self.traffic.world
        traffic.figures.errors[int(world.now)] += 1
        traffic.figures.longest = max(traffic.figures.longest, world.now - self.begun)
        told_not_to = self.made > 1  # `gateway.engine.serve` says so where more than one attempt was made
        if traffic.impatient and self.tries < SDK_RETRIES and not told_not_to:
            pause = failure.retry_after or 0.5 * 2**self.tries * (1 - 0.25 * world.chance.random())
            world.after(pause, _Served(traffic, self.call, self.model, self.tries + 1).start)
