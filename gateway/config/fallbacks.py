"""Models that stand in for others: which name which, and that no call can go round in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gateway.config.complaints import Review, Steps
from gateway.config.snapshot import Model
from gateway.config.spec import Spec

KINDS = ("fallbacks", "context_fallbacks", "content_fallbacks")


class Edge(NamedTuple):
    """One model naming another."""

    path: Steps
    model: str
    kind: str
    to: str


def edges(spec: Spec) -> Iterator[Edge]:
    """Every name that stands in a list of fallbacks, as it is written."""
    for name, model in spec.models.items():
        for kind in KINDS:
            for index, other in enumerate(getattr(model, kind)):
                yield Edge(("models", name, kind, index), name, kind, other)


def check_fallbacks(spec: Spec, lookup: Callable[[str], Model | None], review: Review) -> None:
    """Notes fallbacks that lead back to where they came from, through whatever lists, aliases and patterns.

    `lookup` gives the model behind a public name.
    """
    leading: dict[str, list[Edge]] = {name: [] for name in spec.models}
    for edge in edges(spec):
        found = lookup(edge.to)
        leading[edge.model].append(edge._replace(to=found.name if found else edge.to))
    seen: set[str] = set()
    for name in leading:
        for circle in _circles(name, leading, seen):
            path = circle[0].path[:-1]
            if review.read_well(path):
                review.complain(path, f"goes round in a circle: {_told(circle)}")


def _circles(start: str, leading: Mapping[str, list[Edge]], seen: set[str]) -> Iterator[list[Edge]]:
    """The way round for each edge that closes one. Depth first, and not by recursion: chains may be long."""
    way: dict[str, Edge] = {}
    left = [iter([Edge((), "", "", start)])]
    while left:
        edge = next(left[-1], None)
        if edge is None:
            left.pop()
            if way:
                way.popitem()
        elif edge.to in way:
            yield [*list(way.values())[list(way).index(edge.to) + 1 :], edge]
        elif edge.to in leading and edge.to not in seen:
            seen.add(edge.to)
            way[edge.to] = edge
            left.append(iter(leading[edge.to]))


def _told(circle: list[Edge]) -> str:
    """`a -> b -> a`, with the lists where they are of several kinds."""
    mixed = len({edge.kind for edge in circle}) > 1
    return circle[0].model + "".join(f" -> {edge.to}{f' ({edge.kind})' if mixed else ''}" for edge in circle)
