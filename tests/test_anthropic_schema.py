"""JSON schemas as Anthropic's structured outputs take them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.dialects.anthropic_schema import closed

TEXT: Json = {"type": "string"}


def test_objects_are_closed_at_every_depth() -> None:
    inner: Json = {"type": "object", "properties": {"b": TEXT}, "required": ["b"]}
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": inner}, "c": {"anyOf": [inner, TEXT]}}}
    shut = {**inner, "additionalProperties": False}
    assert closed(schema) == {
        "type": "object",
        "properties": {"a": {"type": "array", "items": shut}, "c": {"anyOf": [shut, TEXT]}},
        "additionalProperties": False,
    }


def test_bounds_are_told_in_the_description() -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."}
    assert closed(schema) == {"type": "integer", "description": 'How many.\n\n{"minimum":1,"maximum":9}'}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "date-time"},
        {"type": "string", "enum": ["ebb", "flood"]},
        {"type": ["string", "null"], "title": "Port", "default": None},
        {"const": 3},
        {"type": "array", "items": TEXT, "minItems": 1},
    ],
)
def test_what_the_api_knows_is_kept(schema: Json) -> None:
    assert closed(schema) == schema


def test_definitions_are_kept_and_closed() -> None:
    port = {"type": "object", "properties": {"name": TEXT}}
    schema = {"$ref": "#/$defs/Port", "$defs": {"Port": port}}
    assert closed(schema) == {"$ref": "#/$defs/Port", "$defs": {"Port": {**port, "additionalProperties": False}}}


def test_one_of_several_is_any_of_them() -> None:
    assert closed({"oneOf": [TEXT, {"type": "null"}]}) == {"anyOf": [TEXT, {"type": "null"}]}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"description": "anything"},
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": True},
        {"type": ["object", "null"]},
        {"type": "array", "items": True},
        {
            "$ref": "#/$defs/Node",
            "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        },
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        {"type": "object", "properties": []},
        {"anyOf": 3},
    ],
)
def test_what_no_closed_schema_can_say_is_not_said(schema: Json) -> None:
    assert closed(schema) is None


schemas: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([TEXT, {"type": "integer", "minimum": 2}, {"enum": ["a", "b"]}, {"type": "object"}, {}]),
    lambda inner: (
        st.builds(
            lambda properties, more: {"type": "object", "properties": properties, **more},
            st.dictionaries(st.text(max_size=3), inner, max_size=3),
            st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": True}]),
        )
        | st.builds(lambda items: {"type": "array", "items": items, "maxItems": 3}, inner)
        | st.builds(lambda first, second: {"anyOf": [first, second]}, inner, inner)
    ),
    max_leaves=6,
)


@given(schemas)
def test_a_closed_schema_is_a_schema_and_closing_it_again_changes_nothing(schema: Json) -> None:
    shut = closed(schema)
    if shut is not None:
        jsonschema.Draft202012Validator.check_schema(shut)
        assert closed(shut) == shut
