"""Where every target of a configuration stands, as metrics and people see it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateway.config.snapshot import Model, Snapshot
from gateway.core.errors import Failure
from gateway.routing.board import EJECTED, Board
from gateway.routing.health import Health, Standing

Place = tuple[str, str]
"""Provider and upstream model, as configured."""

Row = tuple[tuple[str, str, str], Standing]
"""Public model, provider and upstream model; where that target stands."""


class State(NamedTuple):
    """How one target is."""

    standing: Standing
    seconds: float = 0.0
    """For how much longer, if nothing happens before that. Zero of one that is ejected: it waits for its probe."""
    why: str | None = None
    """After which `Failure` it cools down, or `ejected`: it failed too often."""
    in_flight: int = 0
    """Calls of this process that are under way there."""


READY = State(Standing.READY)


def standings(snapshot: Snapshot, board: Board, now: float) -> Iterator[Row]:
    """One row for each target of each model, aliases not repeated."""
    for model in models(snapshot).values():
        for (provider, target), state in states(model, board, now).items():
            yield (model.name, provider, target), state.standing


def models(snapshot: Snapshot) -> dict[str, Model]:
    """By their own names, patterns too, in the order of the configuration."""
    return {model.name: model for model in (*snapshot.models.values(), *(row[2] for row in snapshot.patterns))}


def states(model: Model, board: Board, now: float) -> dict[Place, State]:
    """How each target of a model is."""
    found = {place: _state(place, board, now) for place in _places(model)}
    if all(state.standing is Standing.EJECTED for state in found.values()):
        last = max(found, key=lambda place: _ejected_at(place, board, now))
        # Calls go there all the same: see `Candidates.least_bad`.
        found[last] = READY._replace(in_flight=found[last].in_flight)
    return found


def _places(model: Model) -> Iterator[Place]:
    for target in model.targets:
        yield target.provider, target.model


def _state(place: Place, board: Board, now: float) -> State:
    """Of a pattern, the worst of those it stood for."""
    found = [_state_of(health, now) for health in _healths(place, board, now)]
    worst = max(found, key=lambda state: (state.standing, state.seconds), default=READY)
    return worst._replace(in_flight=sum(state.in_flight for state in found))


def _state_of(health: Health, now: float) -> State:
    standing = health.standing(now)
    if standing is Standing.EJECTED:
        return State(standing, max(0.0, health.ejected_until - now), EJECTED, health.in_flight)
    if cooldown := health.cooling(now):
        return State(standing, cooldown.until - now, cooldown.why, health.in_flight)
    return State(standing, in_flight=health.in_flight)


def _ejected_at(place: Place, board: Board, now: float) -> float:
    return max(health.ejected_at for health in _healths(place, board, now))


def _healths(place: Place, board: Board, now: float) -> Iterator[Health]:
    provider, name = place
    prefix, star, suffix = name.partition("*")
    if not star:
        if (health := board.known().get(place)) is not None:
            yield health
        return
    for (at, model), health in board.known().items():
        if at == provider and model.startswith(prefix) and model.endswith(suffix) and not _is_made_up(health, now):
            yield health


def _is_made_up(health: Health, now: float) -> bool:
    """Whether it is a name that a client had an idea of: that it does not exist says nothing about the others."""
    cooldown = health.cooling(now)
    return cooldown is not None and cooldown.why is Failure.MODEL_MISSING
