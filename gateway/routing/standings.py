"""Where every target of a configuration stands, as metrics and people see it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.snapshot import Model, Snapshot
from gateway.core.errors import Failure
from gateway.routing.board import Board
from gateway.routing.health import Health, Standing

Row = tuple[tuple[str, str, str], Standing]
"""Public model, provider and upstream model; where that target stands."""


def standings(snapshot: Snapshot, board: Board, now: float) -> Iterator[Row]:
    """One row for each target of each model, aliases not repeated."""
    models = {model.name: model for model in (*snapshot.models.values(), *(row[2] for row in snapshot.patterns))}
    for model in models.values():
        found = {target: _standing(target, board, now) for target in _places(model)}
        if all(standing is Standing.EJECTED for standing in found.values()):
            last = max(found, key=lambda target: _ejected_at(target, board, now))
            found[last] = Standing.READY  # calls go there all the same: see `Candidates.least_bad`
        for (provider, target), standing in found.items():
            yield (model.name, provider, target), standing


def _places(model: Model) -> Iterator[tuple[str, str]]:
    for target in model.targets:
        yield target.provider, target.model


def _standing(place: tuple[str, str], board: Board, now: float) -> Standing:
    """Of a pattern, the worst of those it stood for."""
    return max((health.standing(now) for health in _healths(place, board, now)), default=Standing.READY)


def _ejected_at(place: tuple[str, str], board: Board, now: float) -> float:
    return max(health.ejected_at for health in _healths(place, board, now))


def _healths(place: tuple[str, str], board: Board, now: float) -> Iterator[Health]:
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
