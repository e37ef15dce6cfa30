"""
The shape that a request must have, and the first place where it has another.

A shape is `str`, `int`, `float` (any number), `bool`, `dict`, `list`, `object` for anything, or one of the classes
below. APIs differ in how they complain, so a `Mismatch` only says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Shape = Any
"""A type, or one of `Each`, `Either`, `Fields`, `Tagged`."""

Kind = Literal["missing", "unknown", "type", "tag", "empty"]


class Mismatch(NamedTuple):
    """What is wrong, where, what would have been right, and what was there instead."""

    kind: Kind
    place: tuple[str | int, ...]
    expected: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Each:
    """A list, every item of this shape."""

    item: Shape
    least: int = 0


@dataclass(frozen=True, slots=True)
class Either:
    """Text, or a list of this shape."""

    parts: Shape


@dataclass(frozen=True, slots=True)
class Fields:
    """An object. A field that is null counts as absent."""

    needed: Mapping[str, Shape] = field(default_factory=dict)
    other: Mapping[str, Shape] = field(default_factory=dict)
    open: bool = False
    """Whether fields that are not named may be there."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object whose shape depends on one of its fields."""

    tag: str
    shapes: Mapping[str, Shape]
    default: str | None = None
    """What the field is taken for where it is missing."""


def without_nulls(value: Any) -> Any:
    """The same with no field that is null: for APIs that take such a field for absent, at whatever depth."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(item) for name, item in value.items() if item is not None}


_NAMES: Mapping[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "string"),
    int: ((int,), "integer"),
    float: ((int, float), "number"),
    bool: ((bool,), "boolean"),
    dict: ((dict,), "object"),
    list: ((list,), "array"),
}


def first_mismatch(value: Any, shape: Shape) -> Mismatch | None:
    """What an API would complain of first, or None."""
    return next(mismatches(value, shape), None)


def mismatches(value: Any, shape: Shape, place: tuple[str | int, ...] = ()) -> Iterator[Mismatch]:
    """All that is wrong, in the order of the shape."""
    match shape:
        case Each(item=item, least=least):
            yield from _list(value, item, least, place)
        case Either(parts=parts):
            if not isinstance(value, str):
                yield from mismatches(value, Each(parts), place)
        case Fields():
            yield from _object(value, shape, place)
        case Tagged():
            yield from _tagged(value, shape, place)
        case _ if shape is not object:
            kinds, name = _NAMES[shape]
            if not isinstance(value, kinds) or (isinstance(value, bool) and shape is not bool):
                yield Mismatch("type", place, name, value)


def _list(value: Any, item: Shape, least: int, place: tuple[str | int, ...]) -> Iterator[Mismatch]:
    if not isinstance(value, list):
        yield Mismatch("type", place, "array", value)
        return
    if len(value) < least:
        yield Mismatch("empty", place, f"at least {least}", value)
    for index, each in enumerate(value):
        yield from mismatches(each, item, (*place, index))


def _object(value: Any, shape: Fields, place: tuple[str | int, ...]) -> Iterator[Mismatch]:
    if not isinstance(value, dict):
        yield Mismatch("type", place, "object", value)
        return
    for name, inner in shape.needed.items():
        if value.get(name) is None:
            yield Mismatch("missing", (*place, name), "anything")
        else:
            yield from mismatches(value[name], inner, (*place, name))
    for name, given in value.items():
        if name in shape.other and given is not None:
            yield from mismatches(given, shape.other[name], (*place, name))
        elif name not in shape.needed and name not in shape.other and not shape.open:
            yield Mismatch("unknown", (*place, name), "nothing", given)


def _tagged(value: Any, shape: Tagged, place: tuple[str | int, ...]) -> Iterator[Mismatch]:
    if not isinstance(value, dict):
        yield Mismatch("type", place, "object", value)
        return
    tag = value.get(shape.tag) or shape.default
    if tag is None:
        yield Mismatch("missing", (*place, shape.tag), "anything")
    elif not isinstance(tag, str) or tag not in shape.shapes:
        yield Mismatch("tag", (*place, shape.tag), ", ".join(f"'{name}'" for name in shape.shapes), tag)
    else:
        yield from mismatches(value, shape.shapes[tag], place)
