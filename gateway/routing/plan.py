"""
Which target next? A pure generator: it yields attempts and is told how each one failed.

What may be tried after what is decided by three things alone: the row of the failure (`gateway.core.errors.RULES`), how
the targets are (`gateway.routing.board`), and what is left of the call's attempts and time. Whoever makes the attempts
tells the board of each before it asks for the next. A call that has to wait asks again after that: what was right
before may not be so any more, since all who wait for the same moment find out together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from msgspec import Struct
from msgspec.structs import replace

from gateway.config.snapshot import Model
from gateway.core.call import Call, Target
from gateway.core.errors import RULES, Failure, UpstreamError
from gateway.policy.needs import can_serve
from gateway.ports import Clock, Random
from gateway.routing.board import Board
from gateway.routing.candidates import Candidate, Candidates
from gateway.routing.health import Standing

BACKOFF = 0.5
"""Seconds at most between two tries at one target, which gives it time to recover. Full jitter keeps calls apart that
failed together. There is only one second try, so nothing needs to grow."""

LONGEST_WAIT = 5.0
"""Seconds that a call waits for a target that is full, if there is no other. Longer waits are the client's to make."""

NOT_ASKED = frozenset({Failure.UNSUPPORTED, Failure.SPENT})
"""Failures that take no attempt, because nothing was sent."""

MORE: dict[Failure, Callable[[Model], tuple[str, ...]]] = {
    Failure.CONTEXT_TOO_LONG: lambda model: model.context_fallbacks,
    Failure.CONTENT_FILTERED: lambda model: model.content_fallbacks,
}
"""Failures of the request itself that another model may not have."""


class Route(Struct, frozen=True):
    """What a plan is made from."""

    call: Call
    model: Model
    lookup: Callable[[str], Model | None]
    """The model behind a public name."""
    board: Board
    clock: Clock
    random: Random
    deadline: float
    """No attempt begins after it."""


class Attempt(Struct, frozen=True):
    """One try at one target."""

    model: Model
    target: Target
    delay: float = 0.0
    """Seconds to wait first. The attempt is then not to be made yet: the plan says what is to be done instead."""
    again: bool = False
    """Whether this target had its chance in this call before."""
    others: bool = False
    """Whether another target could be asked if this one stays silent, so that it may not have all the time there is."""


Plan = Generator[Attempt, UpstreamError | None, float | None]


def attempts(route: Route) -> Plan:
    """Attempts for a call: its model's targets, then those of its fallbacks, none of them visited twice without need.

    Send in the failure of each attempt; or nothing, once the `delay` of one is over. The generator returns when nothing
    more may be tried: with the seconds after which a target takes calls again that is full or spent, if that is known.
    Raises UpstreamError if there is nobody to ask, or not any more after a delay.
    """
    left, candidates, patience = route.model.attempts, None, route.clock() + LONGEST_WAIT
    waits: list[float] = []
    attempt: Attempt | None = _plainly(route)
    if attempt is None:
        candidates = _candidates(route)
        attempt = _first(candidates, route, patience)
    while attempt is not None:
        if candidates is not None:
            attempt = replace(attempt, others=left > 1 and candidates.untried() > 0)
        failure = yield attempt
        if failure is None and not attempt.again:  # nobody was asked yet, so all is as at the beginning
            candidates = _candidates(route)
            attempt = _first(candidates, route, patience)
            continue
        candidates = candidates or _candidates(route, taken=attempt)
        if failure is None:
            attempt = _second(attempt, candidates, route)
            continue
        if failure.failure not in NOT_ASKED:
            left -= 1
        elif failure.retry_after is not None:
            waits.append(failure.retry_after)
        if left <= 0:
            break
        attempt = _again(attempt, failure, candidates, route, left) or _elsewhere(attempt, failure, candidates, route)
    if candidates and (full := candidates.soonest()):
        waits.append(full[1])
    return min(waits, default=None)


def _plainly(route: Route) -> Attempt | None:
    """The model's only target, if all is well with it: mostly it is so, and there is nothing to be weighed."""
    model = route.model
    if len(model.targets) != 1:
        return None
    target = model.targets[0]
    health = route.board.of(target)
    well = health.cooldown is None and not health.ejected_until and target.concurrent is None
    if not well or not can_serve(target, route.call):
        return None
    return Attempt(model, target, others=bool(model.fallbacks) and model.attempts > 1)


def _candidates(route: Route, taken: Attempt | None = None) -> Candidates:
    candidates = Candidates(route.call, route.model, route.lookup, route.board, route.clock, route.random)
    if taken is not None:
        candidates.begin_with(Candidate(taken.model, taken.target))
    return candidates


def _first(candidates: Candidates, route: Route, patience: float) -> Attempt:
    """Raises UpstreamError when every target has asked to be left alone for longer than the call waits: `patience`."""
    if candidate := candidates.next() or candidates.least_bad():
        return Attempt(candidate.model, candidate.target)
    full = candidates.soonest()
    if full is None:
        raise UpstreamError(Failure.UNREACHABLE, "there is no target for this call")
    candidate, wait = full
    model, target = candidate.model, candidate.target
    delay = _spread(wait, route)
    if route.clock() + wait <= patience and _is_in_time(delay, route):
        return Attempt(model, target, delay)
    raise _left_alone(target, wait, route)


def _second(attempt: Attempt, candidates: Candidates, route: Route) -> Attempt:
    """The second try that the call has waited for, or another target if that has asked to be left alone meanwhile."""
    wait = route.board.of(attempt.target).asked(route.clock())
    if not wait:
        return replace(attempt, delay=0.0)
    if candidate := candidates.next():
        return Attempt(candidate.model, candidate.target)
    raise _left_alone(attempt.target, wait, route)


def _left_alone(target: Target, wait: float, route: Route) -> UpstreamError:
    cooldown = route.board.of(target).cooldown
    why = cooldown.why if cooldown else Failure.RATE_LIMITED
    return UpstreamError(why, f"{target.provider} has asked to be left alone", retry_after=wait)


def _again(attempt: Attempt, failure: UpstreamError, candidates: Candidates, route: Route, left: int) -> Attempt | None:
    """The same target once more, if its row says so, and no target that was not tried yet needs the attempt."""
    if attempt.again or not RULES[failure.failure].again or failure.retry_after is not None:
        return None
    if left <= candidates.untried() or route.board.of(attempt.target).standing(route.clock()) is Standing.EJECTED:
        return None
    delay = 0.0  # after a connection that was refused: nothing was asked yet, so nothing needs time to recover
    if failure.failure is not Failure.UNREACHABLE:
        delay = route.random() * BACKOFF
    if not _is_in_time(delay, route) or not route.board.may_retry(attempt.target, attempt.model.retry_share):
        return None
    candidates.once_more(attempt.target)
    return replace(attempt, delay=delay, again=True)


def _elsewhere(attempt: Attempt, failure: UpstreamError, candidates: Candidates, route: Route) -> Attempt | None:
    """Another target; or, when there is none, one for which the call has to wait, or that is the least bad."""
    if failure.failure in MORE:
        candidates.only(MORE[failure.failure](attempt.model))
    elif not RULES[failure.failure].elsewhere:
        return None
    if not _is_in_time(0.0, route):
        return None
    if candidate := candidates.next():
        return Attempt(candidate.model, candidate.target)
    return _last_resort(attempt, candidates, route)


def _last_resort(before: Attempt, candidates: Candidates, route: Route) -> Attempt | None:
    """What is only done within the retry budget: if every call did it, an outage would be made worse by that."""
    if before.again:  # one such attempt for each call: else it would be one at each provider
        return None
    candidate, delay = candidates.least_bad(), 0.0
    if candidate is None and (full := candidates.soonest(to_try=True)) is not None:
        candidate, wait = full
        delay = _spread(wait, route)
        if wait > LONGEST_WAIT:
            return None
    if candidate is None or not _is_in_time(delay, route):
        return None
    if not route.board.may_retry(candidate.target, candidate.model.retry_share):
        return None
    return Attempt(candidate.model, candidate.target, delay, again=True)


def _spread(wait: float, route: Route) -> float:
    """Keeps calls apart that wait for the same moment: they come over as long a time as they gathered in."""
    return wait * (1.0 + route.random())


def _is_in_time(delay: float, route: Route) -> bool:
    return route.clock() + delay < route.deadline
