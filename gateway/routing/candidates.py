"""The targets that a call may go to, in the order in which they are worth it. Pure, and made anew for each call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from gateway.config.snapshot import Model
from gateway.core.call import Call, Target
from gateway.core.errors import Failure
from gateway.policy.needs import can_serve, least_tokens
from gateway.ports import Clock, Random
from gateway.routing.balance import Choice, View, order
from gateway.routing.board import Board
from gateway.routing.health import Health, Standing

FULL = frozenset({Failure.RATE_LIMITED, Failure.OVERLOADED})
"""Cooldowns that pass by themselves."""


class Candidate(Struct, frozen=True):
    """A target, and the model it stands in."""

    model: Model
    target: Target


class Candidates:
    """Each target once: those of the model, then those of its fallbacks, and after all these those of theirs.

    Targets that cannot serve the call are left out, and so are those that are ejected or cooling down; those with as
    many calls as they may have come behind all others.
    """

    __slots__ = (
        *("_board", "_busy", "_call", "_clock", "_left_out", "_lookup", "_models", "_queue", "_random", "_seen"),
        *("_taken", "_twice", "_unable"),
    )

    def __init__(
        self,
        call: Call,
        model: Model,
        lookup: Callable[[str], Model | None],
        board: Board,
        clock: Clock,
        random: Random,
    ) -> None:
        self._call, self._lookup, self._board, self._clock, self._random = call, lookup, board, clock, random
        self._models: deque[Model | str] = deque((model,))
        self._queue: deque[Candidate] = deque()
        self._busy: deque[Candidate] = deque()
        self._left_out: list[Candidate] = []
        self._unable: list[Candidate] = []
        self._taken: list[Candidate] = []
        self._seen: set[tuple[str, str]] = set()
        self._twice: set[tuple[str, str]] = set()

    def next(self) -> Candidate | None:
        """The next one that is well and has room, or else one that has no room at the moment."""
        while self._queue or self._more():
            candidate = self._queue.popleft()
            health = self._health(candidate)
            if health.standing(self._clock()) is not Standing.READY:  # since it was put here
                self._left_out.append(candidate)
            elif is_busy(candidate.target, health):
                self._busy.append(candidate)
            else:
                return self._take(candidate)
        return self._take(self._busy.popleft()) if self._busy else None

    def begin_with(self, candidate: Candidate) -> None:
        """The only target of the call's model was taken without asking here."""
        self._models = deque(candidate.model.fallbacks)
        self._seen.add((candidate.target.provider, candidate.target.model))
        self._take(candidate)

    def once_more(self, target: Target) -> None:
        """It is about to be tried a second time. There is no third."""
        self._twice.add((target.provider, target.model))

    def only(self, names: Iterable[str]) -> None:
        """From now on, these models alone."""
        for forgotten in (self._queue, self._busy, self._left_out, self._unable, self._taken):
            forgotten.clear()
        self._models = deque(names)

    def untried(self) -> int:
        """How many are still to come, those of fallbacks' fallbacks not counted."""
        models = (self._found(model) for model in self._models)
        return len(self._queue) + len(self._busy) + sum(len(model.targets) for model in models if model)

    def least_bad(self) -> Candidate | None:
        """One that was left out, but for those that asked for it. There is no second."""
        now = self._clock()
        guessed = [each for each in self._left_out if not self._health(each).asked(now)]
        if guessed:
            chosen = min(guessed, key=lambda each: _badness(self._health(each), now))
        elif self._unable and not self._taken and not self._left_out:
            chosen = self._unable[0]  # its provider knows best what it cannot do
        else:
            return None
        self._left_out = [each for each in self._left_out if each not in guessed]
        self._unable.clear()
        return self._take(chosen)

    def soonest(self, *, to_try: bool = False) -> tuple[Candidate, float] | None:
        """The one that is full for the shortest time from now, with the seconds. `to_try`: that was not tried twice."""
        waits = [
            (each, wait)
            for each, wait in self._waits()
            if wait is not None and not (to_try and (each.target.provider, each.target.model) in self._twice)
        ]
        return min(waits, key=lambda each: each[1]) if waits else None

    def _waits(self) -> Iterator[tuple[Candidate, float | None]]:
        now = self._clock()
        for each in (*self._taken, *self._left_out):
            health = self._health(each)
            cooldown = health.cooling(now)
            guessed = cooldown.until - now if cooldown is not None and cooldown.why in FULL else None
            yield each, health.asked(now) or guessed

    def _more(self) -> bool:
        """Puts the targets of the next model into the queue. False when there is none."""
        while self._models:
            model = self._found(self._models.popleft())
            if model is not None and self._enter(model):
                return True
        return False

    def _enter(self, model: Model) -> bool:
        now, choices, unable = self._clock(), [], 0
        for target, weight in zip(model.targets, model.weights, strict=True):
            if (target.provider, target.model) in self._seen:
                continue
            self._seen.add((target.provider, target.model))
            health = self._board.of(target)
            if not can_serve(target, self._call):
                self._unable.append(Candidate(model, target))
                unable += 1
            elif health.standing(now) is not Standing.READY:
                self._left_out.append(Candidate(model, target))
            else:
                choices.append(Choice(target, weight, health))
        self._models.extend(model.fallbacks)
        if unable and unable == len(model.targets) and self._is_too_long_for(model):
            self._models.extendleft(reversed(model.context_fallbacks))
        if len(choices) > 1:
            choices = order(choices, View(self._call, model, now, self._random))
        self._queue.extend(Candidate(model, choice.target) for choice in choices)
        return bool(choices)

    def _is_too_long_for(self, model: Model) -> bool:
        windows = [target.context for target in model.targets]
        return None not in windows and max(filter(None, windows)) < least_tokens(self._call)

    def _found(self, model: Model | str) -> Model | None:
        return self._lookup(model) if isinstance(model, str) else model

    def _health(self, candidate: Candidate) -> Health:
        return self._board.of(candidate.target)

    def _take(self, candidate: Candidate) -> Candidate:
        self._taken.append(candidate)
        return candidate


def is_busy(target: Target, health: Health) -> bool:
    """Whether a target has as many calls as it may have."""
    return target.concurrent is not None and health.in_flight >= target.concurrent


def _badness(health: Health, now: float) -> tuple[int, float]:
    """Full before ejected, and last what a person has to mend. What ends first comes before what lasts.

    Of the ejected it is the last one. That would not have been ejected if the last target of a model were not: the
    others had failed before it did.
    """
    cooldown = health.cooling(now)
    if cooldown is not None and cooldown.why not in FULL:
        return 2, cooldown.until
    if cooldown is None or health.standing(now) is Standing.EJECTED:
        return 1, -health.ejected_at
    return 0, cooldown.until
