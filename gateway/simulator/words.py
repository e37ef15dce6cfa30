"""
What a simulated model reads and says: the texts of a message, words for tokens, an example for any JSON schema.

Everything here is a function of its arguments alone, so that the same question always gets the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from gateway.core.call import Json

_PIECE = re.compile(r"\s*\S{1,12}|\s+")

DEEPEST = 6
"""Levels of nesting after which an example leaves out what it may. A schema may contain itself without end."""
LONGEST = 1000
"""Items or characters of one value. A schema may ask for any number of them."""


Maker = Callable[[Json, Any, int], Any]
"""A schema, the whole schema it is part of, and how deep in it: what follows from that."""


def pieces(text: str) -> list[str]:
    """A text cut into tokens: words with the space before them, long ones in parts. Joined, they are the text again."""
    return _PIECE.findall(text)


def texts(message: Json) -> list[str]:
    """The texts of a message: what it says, and the arguments of the calls it makes."""
    content = message.get("content")
    parts = [{"text": content}] if isinstance(content, str) else objects(content)
    called = objects([call.get("function") for call in objects(message.get("tool_calls"))])
    said = [part.get("text") for part in parts] + [function.get("arguments") for function in called]
    return [text for text in said if isinstance(text, str)]


def images(message: Json) -> int:
    """How many images a message shows."""
    return sum(part.get("type") == "image_url" for part in objects(message.get("content")))


def objects(value: Any) -> list[Json]:
    """The objects of a list; none where it is no list. What clients write inside a message is not ours to trust."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def example(schema: Any) -> str:
    """JSON that the schema allows, the same each time.

    Covers what tool parameters and structured outputs use. `pattern`, `not` and `if` are ignored, and a schema that
    makes no sense has an empty object for its example.
    """
    try:
        return orjson.dumps(_example(schema, schema, 0)).decode()
    except (TypeError, ValueError, LookupError, AttributeError):
        return "{}"


def _example(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return "example"
    if depth > 4 * DEEPEST:
        return None
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    for word, follow in _FOLLOWED.items():
        if schema.get(word):
            return _example(follow(schema, root, depth), root, depth + 1)
    make: Maker = _MAKERS.get(_type(schema), _string)
    return make(schema, root, depth)


def _referred(schema: Json, root: Any, depth: int) -> Any:
    found = root
    for step in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found if found is not None else {}


def _merged(schema: Json, root: Any, depth: int) -> Json:
    """All parts of an `allOf` as one schema: enough where they name different properties."""
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        resolved = _referred(part, root, depth) if "$ref" in part else part
        for key, value in resolved.items():
            known = whole.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                whole[key] = known | value
            elif isinstance(known, list) and isinstance(value, list):
                whole[key] = known + value
            else:
                whole[key] = value
    return whole


def _one_of(word: str) -> Maker:
    def choose(schema: Json, root: Any, depth: int) -> Any:
        branches = [branch for branch in schema[word] if isinstance(branch, dict)]
        ends = [branch for branch in branches if branch.get("type") == "null"]
        goes_on = [branch for branch in branches if branch not in ends]
        order = ends + goes_on if depth >= DEEPEST else goes_on + ends
        return order[0] if order else {}

    return choose


_FOLLOWED: dict[str, Maker] = {
    "$ref": _referred,
    "allOf": _merged,
    "anyOf": _one_of("anyOf"),
    "oneOf": _one_of("oneOf"),
}
"""Words of a schema that point to another one."""


def _type(schema: Json) -> str:
    named = schema.get("type")
    if isinstance(named, list):
        named = next((name for name in named if name != "null"), "null")
    if named is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(named)


def _object(schema: Json, root: Any, depth: int) -> Json:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    wanted = required if depth >= DEEPEST else [*properties, *(name for name in required if name not in properties)]
    return {name: _example(properties.get(name, {}), root, depth + 1) for name in wanted}


def _array(schema: Json, root: Any, depth: int) -> list[Any]:
    least = schema.get("minItems", 0 if depth >= DEEPEST else 1)
    length = min(least, schema.get("maxItems", least), LONGEST)
    first = schema.get("prefixItems", [])
    made = [_example(part, root, depth + 1) for part in first]
    item = schema.get("items", {})
    return made + [_example(item, root, depth + 1) for _ in range(length - len(made))]


_FORMATS = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def _string(schema: Json, root: Any, depth: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), "example")
    if "format" in schema:
        return text
    return text.ljust(min(schema.get("minLength", 0), LONGEST), "-")[: schema.get("maxLength")]


def _number(schema: Json, root: Any, depth: int) -> float:
    return next((number for number in _numbers(schema) if _allowed(number, schema)), 1)


def _numbers(schema: Json) -> Iterator[float]:
    """Candidates: the plain ones, the bounds and their neighbours, the middle, and multiples near the lower bound."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    yield from (1, 0)
    if low is not None:
        yield from (low, low + 1)
    if high is not None:
        yield from (high, high - 1)
    if low is not None and high is not None:
        yield (low + high) / 2
    if step := schema.get("multipleOf"):
        start = -(-(low if low is not None else step) // step) * step
        yield from (start, start + step, 0)


def _allowed(number: float, schema: Json) -> bool:
    return (
        (schema.get("type") != "integer" or number == int(number))
        and number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and ("exclusiveMinimum" not in schema or number > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or number < schema["exclusiveMaximum"])
        and (not schema.get("multipleOf") or number % schema["multipleOf"] == 0)
    )


def _whole_number(schema: Json, root: Any, depth: int) -> int:
    return int(_number({**schema, "type": "integer"}, root, depth))


def _boolean(schema: Json, root: Any, depth: int) -> bool:
    return True


def _null(schema: Json, root: Any, depth: int) -> None:
    return None


_MAKERS: dict[str, Maker] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _whole_number,
    "boolean": _boolean,
    "null": _null,
}
