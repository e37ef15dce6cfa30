"""JSON schemas as structured outputs take them: closed objects, no bounds, no recursion. Pure.

What cannot be said as a constraint is said in a description, where the model reads it.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

import orjson

from gateway.core.call import Json

KEPT = frozenset({"type", "enum", "const", "title", "description", "default", "required", "$ref"})
KINDS = frozenset({"type", "enum", "const", "properties", "anyOf", "oneOf", "allOf", "$ref"})
"""Each of these says what a value may be. What has none allows anything."""
FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
DEFINITIONS = ("$defs", "definitions")


class _Open(Exception):
    """The schema allows what no closed one can."""


def closed(schema: Json) -> Json | None:
    """The schema as the API takes it; None for one that it cannot take without changing what is asked for.

    Such are objects of any content, maps, and types that hold themselves.
    """
    try:
        _check_recursion(schema)
        return _closed(schema)
    except (
        _Open,
        AttributeError,
        TypeError,
    ):  # the last two: no schema at all, which the model may still make sense of
        return None


def _closed(schema: Any) -> Json:
    if not isinstance(schema, dict) or KINDS.isdisjoint(schema):
        raise _Open
    kept: Json = {}
    told: Json = {}
    for name, value in schema.items():
        if name in DEFINITIONS or name == "properties":
            kept[name] = {key: _closed(inner) for key, inner in value.items()}
        elif name in ("anyOf", "oneOf", "allOf"):
            kept["anyOf" if name == "oneOf" else name] = [_closed(inner) for inner in value]
        elif name == "items":
            kept[name] = _closed(value)
        elif name in KEPT or (name == "format" and value in FORMATS) or (name == "minItems" and value in (0, 1)):
            kept[name] = value
        elif name != "additionalProperties":
            told[name] = value
    if schema.get("type") == "object" or "properties" in schema or "object" in _alternatives(schema):
        _check_closable(schema)
        kept["additionalProperties"] = False
    if told:
        kept["description"] = "\n\n".join(_words([schema.get("description"), orjson.dumps(told).decode()]))
    return kept


def _alternatives(schema: Json) -> list[Any]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else []


def _check_closable(schema: Json) -> None:
    others = schema.get("additionalProperties")
    if others not in (None, False) or (others is None and not schema.get("properties")):
        raise _Open


def _words(texts: Iterable[Any]) -> Iterator[str]:
    return (text for text in texts if text and isinstance(text, str))


def _check_recursion(schema: Json) -> None:
    definitions = {
        f"#/{place}/{name}": inner for place in DEFINITIONS for name, inner in (schema.get(place) or {}).items()
    }
    graph = {name: set(_references(inner)) for name, inner in definitions.items()}
    graph["#"] = set(_references({name: inner for name, inner in schema.items() if name not in DEFINITIONS}))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        raise _Open from None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)
